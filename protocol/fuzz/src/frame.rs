//! Well-encrypted frames of any header and payload, in arbitrary pieces, to an end that is set up.
//!
//! What an end makes of them is foretold from the plaintext alone, and must not depend on the pieces.
//!
//! An input is the role (bit 0: the frames go to a client), a [`Setting`], four lengths of pieces in steps of 16, and
//! then frames: a byte that is the message's place in [`messages::ALL`], or at least 128 before three bytes of header;
//! the number of the following bytes that are one turn of the payload; how often they are repeated (two bytes).

use std::fmt::Debug;

use arbitrary::{Result, Unstructured};
use protocol::connection::{ClientEvent, ConnectionError, ServerEvent};
use protocol::framing::{HEADER_LEN, Header};
use protocol::messages::common::{ChannelEndpointChanged, Reconnect, SetupConnectionSuccess};
use protocol::messages::extensions::{
    EXTENSIONS_NEGOTIATION, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
    WORKER_SPECIFIC_HASHRATE_TRACKING,
};
use protocol::messages::{Message, MessageError, MessageSet, mining, name_of};

use super::ends::{Bare, Client, READ_LEN, START, Server, Setting, setup_connection};
use super::messages;

/// Just over what the largest limit lets through, so that this limit is tried too.
const MAX_PAYLOAD_LEN: usize = 150 * 1024;
const MAX_FRAMES: usize = 8;

/// Runs the target.
pub fn run(data: &[u8]) {
    // Whatever is missing at the end of an input is zero, so that reading cannot fail.
    let _ = read_and_run(&mut Unstructured::new(data));
}

fn read_and_run(input: &mut Unstructured<'_>) -> Result<()> {
    let (to_client, setting) = (input.arbitrary::<u8>()? & 1 == 1, Setting(input.arbitrary::<u8>()? & 7));
    let pieces: [u8; 4] = input.arbitrary()?;
    let mut frames = vec![];
    while !input.is_empty() && frames.len() < MAX_FRAMES {
        frames.push(read_frame(input)?);
    }
    if to_client {
        to_client_end(setting, pieces, &frames)
    } else {
        to_server_end(setting, pieces, &frames)
    }
    Ok(())
}

/// Reads a frame. Its header never lies: what comes of that is the connection target's to find.
pub fn read_frame(input: &mut Unstructured<'_>) -> Result<([u8; HEADER_LEN], Vec<u8>)> {
    let kind = input.arbitrary::<u8>()?;
    let mut header = if kind < 0x80 {
        let kind = &messages::ALL[usize::from(kind) % messages::ALL.len()];
        (kind.header)(0).expect("an empty payload has a header").to_bytes()
    } else {
        let [extension_low, extension_high, message_type] = input.arbitrary()?;
        [extension_low, extension_high, message_type, 0, 0, 0]
    };
    let turn = usize::from(input.arbitrary::<u8>()?).min(input.len().saturating_sub(2));
    let turns = usize::from(input.arbitrary::<u16>()?);
    let turn = input.bytes(turn.min(input.len()))?;
    let turns = turns.min(MAX_PAYLOAD_LEN / turn.len().max(1)).max(1);
    let payload = turn.repeat(turns);
    header[3..].copy_from_slice(&payload.len().to_le_bytes()[..3]);
    Ok((header, payload))
}

fn to_server_end(setting: Setting, pieces: [u8; 4], frames: &[([u8; HEADER_LEN], Vec<u8>)]) {
    let mut server = Server::new(setting);
    let mut bare = Bare::client_of(&mut server);
    server.receive(&bare.message(&setup_connection(0)));
    assert_eq!(server.poll(*START).len(), 1);
    let mut oracle = ServerOracle { setting, negotiable: true, negotiated: vec![] };
    let (mut events, mut foretold, mut error) = (vec![], vec![], None);
    let mut wire = vec![];
    for (header, payload) in frames {
        wire.extend(bare.frame(*header, payload));
        if error.is_none() {
            match oracle.foretell(Header::from_bytes(*header), payload) {
                Ok(event) => foretold.extend(event),
                Err(reason) => error = Some(reason),
            }
        }
    }
    for piece in cut(&wire, pieces) {
        server.receive(piece);
        events.extend(server.poll(*START));
        bare.read(&server.take_output(usize::MAX));
    }
    compare(&events, &foretold, server.error(), error.as_ref());
}

fn to_client_end(setting: Setting, pieces: [u8; 4], frames: &[([u8; HEADER_LEN], Vec<u8>)]) {
    let mut client = Client::new(setting);
    let mut bare = Bare::server_of(&mut client);
    client.receive(&bare.message(&SetupConnectionSuccess { used_version: 2, flags: 0 }));
    assert_eq!(client.poll(*START).len(), 1);
    let (mut events, mut foretold, mut error) = (vec![], vec![], None);
    let mut wire = vec![];
    for (header, payload) in frames {
        wire.extend(bare.frame(*header, payload));
        if error.is_none() {
            match foretell_client(setting, Header::from_bytes(*header), payload) {
                Ok(event) => foretold.extend(event),
                Err(reason) => error = Some(reason),
            }
        }
    }
    for piece in cut(&wire, pieces) {
        client.receive(piece);
        events.extend(client.poll(*START));
    }
    compare(&events, &foretold, client.error(), error.as_ref());
    bare.read(&client.take_output(usize::MAX));
}

/// Compares what is shown, because a hash rate that is not a number does not equal itself.
fn compare<E: Debug>(
    events: &[E],
    foretold: &[E],
    error: Option<&ConnectionError>,
    foretold_error: Option<&ConnectionError>,
) {
    if let Some(ConnectionError::OutputFull { .. }) = error {
        // Many answers at once. The oracle keeps no account of them; what came before must be right all the same.
        assert!(events.len() <= foretold.len());
        return assert_eq!(format!("{events:?}"), format!("{:?}", &foretold[..events.len()]));
    }
    assert_eq!(format!("{events:?}"), format!("{foretold:?}"));
    assert_eq!(error, foretold_error);
}

/// Cuts the wire into pieces of 16 to 4,096 bytes; if the first length is zero, into reads of the greatest length.
fn cut(wire: &[u8], [a, b, c, d]: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let lengths = if a == 0 { [READ_LEN; 4] } else { [a, b, c, d].map(|len| 16 * (usize::from(len) + 1)) };
    let (mut rest, mut lengths) = (wire, lengths.into_iter().cycle());
    std::iter::from_fn(move || {
        let (piece, left) = rest.split_at(lengths.next()?.min(rest.len()));
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What a server must make of frames after setup, told from the specification and not from its states.
struct ServerOracle {
    setting: Setting,
    negotiable: bool,
    negotiated: Vec<u16>,
}

impl ServerOracle {
    fn foretell(&mut self, header: Header, payload: &[u8]) -> Outcome<ServerEvent> {
        check_len(self.setting, payload)?;
        match header.extension_type {
            0 => {
                let message = mining::ClientMessage::decode(header, payload, &self.negotiated);
                let message = message.map_err(|error| of_set(error, header))?;
                if self.negotiable && self.demands() && self.negotiated.is_empty() {
                    return Err(ConnectionError::RequiredExtensionsMissing);
                }
                self.negotiable = false;
                Ok(Some(ServerEvent::Message(message)))
            }
            EXTENSIONS_NEGOTIATION if self.negotiable && header.is::<RequestExtensions>() => {
                let request: RequestExtensions = decode(payload)?;
                let requested = request.requested_extensions.as_slice();
                let knows = self.setting.0 & 6 != 0;
                let granted = knows && requested.contains(&WORKER_SPECIFIC_HASHRATE_TRACKING);
                if !granted && (self.demands() || !requested.is_empty()) {
                    return Ok(None);
                }
                self.negotiated = if granted { vec![WORKER_SPECIFIC_HASHRATE_TRACKING] } else { vec![] };
                Ok(Some(ServerEvent::ExtensionsNegotiated(self.negotiated.clone())))
            }
            EXTENSIONS_NEGOTIATION => Err(unexpected(header, "when extensions cannot be negotiated")),
            _ => Ok(None),
        }
    }

    fn demands(&self) -> bool {
        self.setting.0 & 4 != 0
    }
}

/// What a client that has asked for nothing must make of a frame after setup.
fn foretell_client(setting: Setting, header: Header, payload: &[u8]) -> Outcome<ClientEvent> {
    check_len(setting, payload)?;
    if header.extension_type > EXTENSIONS_NEGOTIATION {
        return Ok(None);
    }
    if header.is::<RequestExtensionsSuccess>() {
        let RequestExtensionsSuccess { request_id, .. } = decode(payload)?;
        return Err(ConnectionError::UnaskedAnswer { request_id });
    }
    if header.is::<RequestExtensionsError>() {
        let RequestExtensionsError { request_id, .. } = decode(payload)?;
        return Err(ConnectionError::UnaskedAnswer { request_id });
    }
    if header.is::<Reconnect>() {
        return decode(payload).map(ClientEvent::Reconnect).map(Some);
    }
    if header.is::<ChannelEndpointChanged>() {
        return decode(payload).map(ClientEvent::ChannelEndpointChanged).map(Some);
    }
    let message = mining::ServerMessage::decode(header, payload, &[]).map_err(|error| of_set(error, header))?;
    Ok(Some(ClientEvent::Message(message)))
}

/// An event, or none, or the end.
type Outcome<E> = std::result::Result<Option<E>, ConnectionError>;

fn check_len(setting: Setting, payload: &[u8]) -> std::result::Result<(), ConnectionError> {
    let (payload_len, max) = (payload.len(), setting.limits().max_frame_payload);
    if payload_len > max { Err(ConnectionError::FrameTooLarge { payload_len, max }) } else { Ok(()) }
}

fn decode<M: Message>(payload: &[u8]) -> std::result::Result<M, ConnectionError> {
    M::decode(payload).map_err(|source| ConnectionError::Decode { message: M::NAME, source })
}

fn of_set(error: MessageError, header: Header) -> ConnectionError {
    match error {
        MessageError::NotOfThisSet => unexpected(header, "on a connection that is set up"),
        MessageError::Decode { message, source } => ConnectionError::Decode { message, source },
    }
}

fn unexpected(header: Header, state: &'static str) -> ConnectionError {
    let Header { extension_type, message_type, .. } = header;
    match name_of(header) {
        Some(message) => ConnectionError::UnexpectedMessage { message, state },
        None => ConnectionError::UnknownMessage { extension_type, message_type },
    }
}
