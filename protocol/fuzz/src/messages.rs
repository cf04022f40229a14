//! Every message of every sub-protocol and extension: decoded, encoded again, compared.
//!
//! An input is the message's place in [`ALL`], then flags (bit 0: extension 0x0002 was negotiated), then a payload.

use std::fmt::Debug;

use protocol::codec::Reader;
use protocol::framing::{HEADER_LEN, Header};
use protocol::messages::extensions::WORKER_SPECIFIC_HASHRATE_TRACKING;
use protocol::messages::mining::NewExtendedMiningJob;
use protocol::messages::template_distribution::NewTemplate;
use protocol::messages::{
    Message, MessageError, MessageSet, common, extensions, job_declaration, mining, name_of, template_distribution,
};

/// A message type, and what can be done with payloads for it.
pub struct Kind {
    /// The specification's name.
    pub name: &'static str,
    /// The header of such a message, of a payload of this length.
    pub header: fn(usize) -> Option<Header>,
    /// Decodes a payload and encodes it again, without what follows the message's own fields; `None` if it does not
    /// decode. Panics if anything is lost or made up.
    pub round_trip: fn(&[u8]) -> Option<Vec<u8>>,
}

macro_rules! kinds {
    ($($module:ident { $($message:ident,)* })*) => {
        /// All messages that the crate knows.
        pub const ALL: &[Kind] = &[$($(
            Kind {
                name: <$module::$message as Message>::NAME,
                header: Header::of::<$module::$message>,
                round_trip: round_trip::<$module::$message>,
            },
        )*)*];
    };
}

kinds! {
    common {
        SetupConnection, SetupConnectionSuccess, SetupConnectionError, ChannelEndpointChanged, Reconnect,
    }
    mining {
        OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, OpenMiningChannelError,
        OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, NewMiningJob, UpdateChannel, UpdateChannelError,
        CloseChannel, SetExtranoncePrefix, SubmitSharesStandard, SubmitSharesExtended, SubmitSharesSuccess,
        SubmitSharesError, NewExtendedMiningJob, SetNewPrevHash, SetTarget, SetCustomMiningJob,
        SetCustomMiningJobSuccess, SetCustomMiningJobError, SetGroupChannel,
    }
    job_declaration {
        AllocateMiningJobToken, AllocateMiningJobTokenSuccess, ProvideMissingTransactions,
        ProvideMissingTransactionsSuccess, DeclareMiningJob, DeclareMiningJobSuccess, DeclareMiningJobError,
        PushSolution,
    }
    template_distribution {
        CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash, RequestTransactionData,
        RequestTransactionDataSuccess, RequestTransactionDataError, SubmitSolution,
    }
    extensions { RequestExtensions, RequestExtensionsSuccess, RequestExtensionsError, }
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let [place, flags, payload @ ..] = data else { return };
    let kind = &ALL[usize::from(*place) % ALL.len()];
    let written = (kind.round_trip)(payload);
    let Some(header) = (kind.header)(payload.len()) else { return };
    assert_eq!(name_of(header), Some(kind.name));
    let negotiated: &[u16] = if flags & 1 == 1 { &[WORKER_SPECIFIC_HASHRATE_TRACKING] } else { &[] };
    let sets = sets(header, payload, negotiated);
    match &written {
        Some(_) => assert!(sets.iter().all(|set| !matches!(set, Err(MessageError::Decode { .. }))), "{sets:?}"),
        None => assert!(sets.iter().all(Result::is_err), "{sets:?}"),
    }
    if let Ok(Some(worker)) = &sets[0] {
        check_worker(worker, &payload[written.map_or(0, |written| written.len())..]);
    }
    check_unknown(payload);
}

/// Decodes the payload as each of the six sets would; `Ok` has the worker's name, if there is one.
fn sets(header: Header, payload: &[u8], negotiated: &[u16]) -> [Result<Option<String>, MessageError>; 6] {
    fn set<S: MessageSet + Debug>(
        header: Header,
        payload: &[u8],
        negotiated: &[u16],
    ) -> Result<Option<String>, MessageError> {
        S::decode(header, payload, negotiated).map(|_| None)
    }
    let from_miner = mining::ClientMessage::decode(header, payload, negotiated).map(|message| match message {
        // The fields behind a share can be at fault where its own are not.
        mining::ClientMessage::SubmitSharesExtended(_, worker) => {
            worker.ok().flatten().map(|worker| worker.as_str().to_owned())
        }
        _ => None,
    });
    [
        from_miner,
        set::<mining::ServerMessage>(header, payload, negotiated),
        set::<job_declaration::ClientMessage>(header, payload, negotiated),
        set::<job_declaration::ServerMessage>(header, payload, negotiated),
        set::<template_distribution::ClientMessage>(header, payload, negotiated),
        set::<template_distribution::ServerMessage>(header, payload, negotiated),
    ]
}

/// The name must stand behind the share, marked as the worker's in either order of bytes, and be no longer than the
/// extension allows.
fn check_worker(worker: &str, behind: &[u8]) {
    assert!(worker.len() <= 32);
    let len = worker.len() as u8;
    let stands = [[0x00, 0x02, 0x01, 0x00, len], [0x02, 0x00, 0x01, len, 0x00]].iter().any(|head| {
        let field = [head, worker.as_bytes()].concat();
        behind.windows(field.len()).any(|window| window == field)
    });
    assert!(stands, "{worker:?} is nowhere in {behind:02x?}");
}

/// A header without a name is of no set, whatever the payload; one with a name is of [`ALL`].
fn check_unknown(payload: &[u8]) {
    let Some(bytes) = payload.first_chunk::<HEADER_LEN>() else { return };
    let header = Header::from_bytes(*bytes);
    match name_of(header) {
        Some(name) => assert!(ALL.iter().any(|kind| kind.name == name), "{name} is not fuzzed"),
        None => {
            for set in sets(header, payload, &[]) {
                assert_eq!(set, Err(MessageError::NotOfThisSet));
            }
        }
    }
}

fn round_trip<M: Message>(payload: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(payload);
    let message = M::decode_fields(&mut reader);
    assert_eq!(M::decode(payload).is_ok(), message.is_ok());
    let message = message.ok()?;
    let mut read = payload[..payload.len() - reader.rest().len()].to_vec();
    assert!(M::decode(&read[..read.len() - 1]).is_err(), "{} decodes without its last byte", M::NAME);
    let mut written = Vec::new();
    message.encode(&mut written);
    if let Some(bool_at) = bool_at::<M>(&read) {
        // The one thing that need not come back: the upper seven bits of a BOOL are padding (SV2 3.1).
        read[bool_at] &= 1;
    }
    assert_eq!(written, read, "{} changes on its way", M::NAME);
    Some(written)
}

/// Where the message has its BOOL, if it has one.
fn bool_at<M: Message>(payload: &[u8]) -> Option<usize> {
    match M::NAME {
        NewExtendedMiningJob::NAME => Some(8 + 1 + 4 * usize::from(payload[8]) + 4),
        NewTemplate::NAME => Some(8),
        _ => None,
    }
}
