//! What is read of sockets: into one buffer for each thread, from where it is taken at once.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use protocol::connection::ServerConnection;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use super::{end::End, roster::Opening};

/// Bytes that one read takes at most.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// One for each thread, not for each connection.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads what is there, and returns how many bytes that were. It goes on within the same poll, so that giving up the
/// wait loses nothing. A read that did not fill the buffer has emptied the socket, and tokio asks it no more until it
/// hears of more.
pub(super) fn poll_read(
    socket: &mut TcpStream,
    opening: &mut Opening,
    protocol: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<Result<u32, End>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(socket).poll_read(cx, &mut read))?;
        match read.filled() {
            [] => Poll::Ready(Err(End::Closed)),
            bytes => {
                opening.note(bytes);
                protocol.receive(bytes);
                Poll::Ready(Ok(bytes.len() as u32))
            }
        }
    })
}

/// Reads away what is there, and tells how much; none at the end.
pub(super) fn discard(socket: &TcpStream) -> io::Result<Option<usize>> {
    match READ_BUFFER.with_borrow_mut(|buffer| socket.try_read(buffer)) {
        Ok(size) => Ok((size > 0).then_some(size)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}
