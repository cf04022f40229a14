//! What a connection waits for: all of it at a time, and one thing after the other is done.

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    task::Poll,
};

use tokio::sync::{mpsc, watch};

use super::{Connection, MAX_UNSENT_SIZE};
use crate::{
    accounting::{receipts::Durable, share_log::Entry},
    mining::ahead::Work,
    stratum::{channels::Channels, earner::Earner, end::End, orders::Order, reading::poll_read},
};

/// What ended a wait.
pub(super) enum Wake {
    Socket,
    Job(watch::Receiver<Work>),
    Receipts(Vec<Durable>),
    Room(mpsc::OwnedPermit<Entry>),
    Earner { channel_id: u32, earner: Earner },
    Deadline,
    Displaced,
    Drain,
    Order(Order),
}

impl Connection {
    /// Waits for the next thing to do.
    pub(super) async fn wait(
        &mut self,
        job: Pin<&mut impl Future<Output = Result<watch::Receiver<Work>, End>>>,
        drain: Pin<&mut impl Future<Output = Result<(), End>>>,
    ) -> Result<Wake, End> {
        self.set_alarm();
        let has_output = !self.protocol.output().is_empty();
        let may_read = !self.draining && self.may_process() && !self.allowance.is_slowed();
        let waits_for_room = self.channels.as_ref().is_some_and(Channels::waits_for_room);
        let room = async {
            match waits_for_room {
                true => self.upstream.share_log.place().await,
                false => pending().await,
            }
        };
        let takes_jobs = self.channels.is_some() && self.protocol.output().len() < MAX_UNSENT_SIZE;
        let earner = async {
            match &mut self.channels {
                Some(channels) => channels.earner().await,
                None => pending().await,
            }
        };
        let alarm = async {
            match &mut self.alarm {
                Some(alarm) => alarm.await,
                None => pending().await,
            }
        };
        let socket = poll_fn(|cx| {
            if may_read
                && let Poll::Ready(read) = poll_read(&mut self.socket, &mut self.opening, &mut self.protocol, cx)
            {
                return Poll::Ready(read.map(|bytes| self.asked.bytes += bytes));
            }
            if has_output { self.socket.poll_write_ready(cx).map_err(End::from) } else { Poll::Pending }
        });
        let order = poll_fn(|cx| self.seated.seat().orders().poll(&mut self.waker, cx));
        // The socket comes behind all that a peer cannot keep busy: however much it sends, the others have their turn.
        tokio::select! {
            biased;
            receipts = self.receipts.take() => Ok(Wake::Receipts(receipts)),
            jobs = job, if takes_jobs => jobs.map(Wake::Job),
            drained = drain, if !self.draining => drained.map(|()| Wake::Drain),
            order = order => Ok(Wake::Order(order)),
            earner = earner => earner.map(|(channel_id, earner)| Wake::Earner { channel_id, earner }),
            place = room => place.map(Wake::Room).ok_or(End::Orphaned),
            ready = socket => ready.map(|()| Wake::Socket),
            () = alarm => Ok(Wake::Deadline),
            () = self.place.displaced(), if self.place.gives_way() => Ok(Wake::Displaced),
        }
    }
}

/// Waits for a value that the receiver has not seen, and gives it back.
pub(super) async fn changed<T>(mut receiver: watch::Receiver<T>) -> Result<watch::Receiver<T>, End> {
    receiver.changed().await.map_err(|_| End::Orphaned)?;
    Ok(receiver)
}

/// Waits for the shutdown.
pub(super) async fn drained(mut draining: watch::Receiver<bool>) -> Result<(), End> {
    draining.wait_for(|draining| *draining).await.map_err(|_| End::Orphaned)?;
    Ok(())
}
