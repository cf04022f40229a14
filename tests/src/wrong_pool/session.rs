//! One connection of the wrong pool: handshake, setup, and the time of all it does.

mod channels;
mod jobs;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use protocol::{
    codec::{Seq0_64K, Str0_255},
    connection::{Limits, Link},
    framing::Header,
    messages::{
        Message, MessageSet,
        common::{PROTOCOL_VERSION, SetupConnection, SetupConnectionError, SetupConnectionSuccess},
        extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
        mining::{
            ClientMessage, REQUIRES_FIXED_VERSION, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING,
            REQUIRES_WORK_SELECTION, UpdateChannel,
        },
    },
    noise,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    fault::Fault,
    work::{Channel, Share},
};

/// The group of all channels.
const GROUP_ID: u32 = 1;
/// The first channel.
const FIRST_CHANNEL_ID: u32 = 2;
/// What the pool can do for a client. Custom jobs are not answered.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING | REQUIRES_WORK_SELECTION;
/// How long a connection may be without channels with [`Fault::ClosesIdleEarly`].
const EARLY: Duration = Duration::from_secs(2);

/// Serves a connection until it ends, for whatever reason.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let tip = *shared.tip.borrow();
    let mut session = Session {
        refresh_at: Instant::now() + shared.refresh,
        tip,
        shared,
        stream,
        link: Link::new(Limits::default()),
        setup: None,
        channels: BTreeMap::new(),
        next_channel_id: FIRST_CHANNEL_ID,
        next_job_id: 1,
        work_number: 0,
        late: Vec::new(),
        opened_at: Instant::now(),
    };
    // Whoever is at the other end notices by itself.
    let _ = session.run().await;
}

struct Session {
    shared: Arc<Shared>,
    stream: TcpStream,
    link: Link,
    /// The client's flags, once it is set up.
    setup: Option<u32>,
    channels: BTreeMap<u32, Channel>,
    next_channel_id: u32,
    next_job_id: u32,
    work_number: u32,
    tip: u32,
    refresh_at: Instant,
    /// Acknowledgements that are put off: when, and for which channel.
    late: Vec<(Instant, u32)>,
    opened_at: Instant,
}

/// What ended a wait.
enum Wake {
    Read(usize),
    Tip(u32),
    Timer,
}

/// The connection is closed by this side.
struct Close;

impl Session {
    fn has(&self, fault: Fault) -> bool {
        self.shared.faults.contains(&fault)
    }

    async fn run(&mut self) -> io::Result<()> {
        self.shake_hands().await?;
        let mut tips = self.shared.tip.clone();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let closing = self.process();
            self.flush().await?;
            if closing.is_err() {
                return self.stream.shutdown().await;
            }
            let timer = self.next_timer();
            let wake = tokio::select! {
                read = self.stream.read(&mut buffer) => Wake::Read(read?),
                Ok(()) = tips.changed() => Wake::Tip(*tips.borrow_and_update()),
                () = sleep_until(timer) => Wake::Timer,
            };
            match wake {
                Wake::Read(0) => return Ok(()),
                Wake::Read(len) => self.link.receive(&buffer[..len]),
                Wake::Tip(tip) => self.turn_to(tip),
                Wake::Timer if self.has(Fault::ClosesIdleEarly) && self.channels.is_empty() => return Ok(()),
                Wake::Timer => self.act_on_time(),
            }
        }
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let mut act_1 = [0; noise::ACT_1_LEN];
        self.stream.read_exact(&mut act_1).await?;
        let (act_2, transport) = noise::respond(&self.shared.identity, &act_1).map_err(io::Error::other)?;
        self.link.send_plain(&act_2);
        self.link.encrypt_with(transport);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.link.output().to_vec();
        self.stream.write_all(&output).await?;
        self.link.consume_output(output.len());
        Ok(())
    }

    fn next_timer(&self) -> Instant {
        let early = (self.has(Fault::ClosesIdleEarly) && self.channels.is_empty()).then_some(self.opened_at + EARLY);
        let late = self.late.first().map(|(at, _)| *at);
        [early, late].into_iter().flatten().fold(self.refresh_at, Instant::min)
    }

    fn act_on_time(&mut self) {
        let now = Instant::now();
        while self.late.first().is_some_and(|(at, _)| *at <= now) {
            let (_, channel_id) = self.late.remove(0);
            self.acknowledge(channel_id);
        }
        if now >= self.refresh_at {
            self.refresh_at = now + self.shared.refresh;
            if !self.has(Fault::Silence) && self.gives_jobs() {
                self.refresh();
            }
        }
    }

    /// Deals with every frame that is whole.
    fn process(&mut self) -> Result<(), Close> {
        loop {
            let frame = self.link.next_frame().map_err(|_| Close)?;
            let Some((header, payload)) = frame.map(|(header, payload)| (header, payload.to_vec())) else {
                return Ok(());
            };
            self.react(header, &payload)?;
        }
    }

    fn react(&mut self, header: Header, payload: &[u8]) -> Result<(), Close> {
        if self.setup.is_none() {
            return if header.is::<SetupConnection>() { self.set_up(payload) } else { Err(Close) };
        }
        if header.is::<RequestExtensions>() {
            return self.negotiate(payload);
        }
        if header.extension_type != 0 {
            return if self.has(Fault::DisconnectsOnUnknownExtension) { Err(Close) } else { Ok(()) };
        }
        let message = ClientMessage::decode(header, payload, &[]).map_err(|_| Close)?;
        if header.is::<UpdateChannel>() && !header.channel_msg && self.has(Fault::DemandsChannelBit) {
            return Err(Close);
        }
        self.serve_message(&message);
        Ok(())
    }

    fn set_up(&mut self, payload: &[u8]) -> Result<(), Close> {
        let setup = SetupConnection::decode(payload).map_err(|_| Close)?;
        if self.has(Fault::NoAnswerToSetup) {
            return Ok(());
        }
        let unsupported = setup.flags & !SUPPORTED_FLAGS;
        let speaks = (setup.min_version..=setup.max_version).contains(&PROTOCOL_VERSION);
        let refusal = if setup.protocol != 0 && !self.has(Fault::AcceptsAnyProtocol) {
            Some((0, "unsupported-protocol"))
        } else if !speaks && !self.has(Fault::AcceptsAnyVersion) {
            Some((0, "protocol-version-mismatch"))
        } else if unsupported != 0 {
            let flags = if self.has(Fault::ErrorWithoutFlags) { 0 } else { unsupported };
            Some((flags, "unsupported-feature-flags"))
        } else {
            None
        };
        if let Some((flags, code)) = refusal {
            if !self.has(Fault::ClosesWithoutError) {
                self.send(&SetupConnectionError { flags, error_code: self.code(code) });
            }
            return Err(Close);
        }
        let used_version = if self.has(Fault::VersionNotOffered) { 7 } else { PROTOCOL_VERSION };
        let flags = match () {
            () if self.has(Fault::EchoesFlags) => setup.flags,
            () if self.has(Fault::FixesVersion) => REQUIRES_FIXED_VERSION,
            () => 0,
        };
        self.send(&SetupConnectionSuccess { used_version, flags });
        self.setup = Some(setup.flags);
        Ok(())
    }

    fn negotiate(&mut self, payload: &[u8]) -> Result<(), Close> {
        let request = RequestExtensions::decode(payload).map_err(|_| Close)?;
        let request_id = request.request_id + u16::from(self.has(Fault::WrongExtensionRequestId));
        if self.has(Fault::GrantsUnaskedExtension) {
            let supported_extensions = Seq0_64K::new([0x0003]).expect("one fits");
            self.send(&RequestExtensionsSuccess { request_id, supported_extensions });
        } else {
            let unsupported_extensions = request.requested_extensions;
            let required_extensions = Seq0_64K::default();
            self.send(&RequestExtensionsError { request_id, unsupported_extensions, required_extensions });
        }
        Ok(())
    }

    fn serve_message(&mut self, message: &ClientMessage) {
        match message {
            ClientMessage::OpenStandardMiningChannel(open) => self.open(open.request_id, open.max_target, None),
            ClientMessage::OpenExtendedMiningChannel(open) => {
                self.open(open.request_id, open.max_target, Some(open.min_extranonce_size));
            }
            ClientMessage::UpdateChannel(update) => self.update(update),
            ClientMessage::CloseChannel(close) => {
                if !self.has(Fault::IgnoresClose) {
                    self.channels.retain(|id, _| ![*id, GROUP_ID].contains(&close.channel_id));
                }
            }
            ClientMessage::SubmitSharesStandard(share) => {
                let (job_id, nonce, ntime, version) = (share.job_id, share.nonce, share.ntime, share.version);
                let submission = Share { job_id, nonce, ntime, version, extranonce: &[] };
                self.submit(share.channel_id, share.sequence_number, submission);
            }
            ClientMessage::SubmitSharesExtended(share, _) => {
                let (job_id, nonce, ntime, version) = (share.job_id, share.nonce, share.ntime, share.version);
                let submission = Share { job_id, nonce, ntime, version, extranonce: share.extranonce.as_slice() };
                self.submit(share.channel_id, share.sequence_number, submission);
            }
            ClientMessage::SetCustomMiningJob(_) => {}
        }
    }

    fn code(&self, code: &'static str) -> Str0_255 {
        match () {
            () if self.has(Fault::ControlCharacters) => Str0_255::new(&format!("{code}\n")).expect("codes are short"),
            () if self.has(Fault::OwnCodes) => Str0_255::from_static("E42"),
            () => Str0_255::from_static(code),
        }
    }

    fn requires_standard_jobs(&self) -> bool {
        self.setup.is_some_and(|flags| flags & REQUIRES_STANDARD_JOBS != 0)
    }

    fn gives_jobs(&self) -> bool {
        let selects_work = self.setup.is_some_and(|flags| flags & REQUIRES_WORK_SELECTION != 0);
        !self.has(Fault::NoJob) && (!selects_work || self.has(Fault::JobsDespiteWorkSelection))
    }

    fn send<M: Message>(&mut self, message: &M) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        let mut header = Header::of::<M>(payload.len()).expect("the messages of this pool fit");
        header.channel_msg &= !self.has(Fault::ChannelBitMissing);
        self.link.send_frame(header, &payload);
    }
}
