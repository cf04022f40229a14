//! Every message against the reference implementation's crates: the same fields must be the same bytes, and the same
//! bytes the same fields or a refusal by both.
//!
//! Where the two differ, [`KNOWN`] says how, who is right, and by which section. The test fails on a difference that is
//! not listed, and on a listed one that no longer exists.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use binary_sv2::{B016M, B032, B064K, B0255, Seq064K, Seq0255, Sv2Option};
use extensions_sv2::UserIdentity;
use parsers_sv2::{AnyMessage, IsSv2Message, Tlv, TlvField, TlvList};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::extensions::WorkerIdentity;
use super::*;
use crate::codec::sample::Sample;
use crate::codec::{B0_16M, B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255, Str0_255, U256};

/// Messages of each type that are made up.
const CASES: usize = 100;
/// How often each of them is altered.
const ALTERATIONS: usize = 20;

/// A way in which the two implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The same fields become different bytes.
    Encoding,
    /// Both decode, to different fields.
    Decoding,
    /// We decode what the reference refuses.
    OnlyOursDecodes,
    /// The reference decodes what we refuse.
    OnlyTheirsDecodes,
    /// The reference panics.
    TheirsPanics,
    /// The headers differ.
    Header,
}

/// A difference that is understood.
struct Known {
    /// The specification's name of the message, or of the field where it is not the message's own.
    name: &'static str,
    kind: Kind,
    /// Whether it is the reason in the case of these bytes, our own ones.
    explains: fn(&[u8]) -> bool,
    /// The specification's word on it, and who follows it.
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        name: "SetupConnection",
        kind: Kind::OnlyOursDecodes,
        explains: |payload| payload[0] > 2,
        why: "The protocol is a U8 (SV2 3.6.1), and to one that is unknown the answer is SetupConnection.Error with \
              unsupported-protocol (SV2 3.6.3), for which the message must be read. The reference cannot decode it.",
    },
    Known {
        name: "TLV",
        kind: Kind::Encoding,
        explains: |fields| !fields.is_empty(),
        why: "Type and length are big-endian in the examples of SV2 3.4.3 and of extension 0x0002, 1.1 and 2, byte for \
              byte, which we write. The reference writes them little-endian, as SV2 3.1 has all other numbers, and \
              does not find a field written otherwise. We find both.",
    },
    Known {
        name: "TLV cut short",
        kind: Kind::OnlyTheirsDecodes,
        explains: |fields| !fields.is_empty(),
        why: "The length defines the size of the value (SV2 3.4.3), so a list that ends within a field is none, and we \
              refuse the message as one that ends within any other field. The reference ignores the last field.",
    },
    Known {
        name: "user_identity",
        kind: Kind::OnlyTheirsDecodes,
        explains: |fields| std::str::from_utf8(fields).is_err(),
        why: "The name is UTF-8 (extension 0x0002, 1.1), which we check. The reference takes any bytes.",
    },
];

/// What was found: an example of each difference, by whether it is explained.
#[derive(Default)]
struct Differences(BTreeMap<(&'static str, Kind, bool), String>);

impl Differences {
    fn note(&mut self, name: &'static str, kind: Kind, bytes: &[u8], found: impl Debug) {
        let mut known = KNOWN.iter().filter(|known| (known.name, known.kind) == (name, kind));
        let is_explained = known.any(|known| (known.explains)(bytes));
        self.0.entry((name, kind, is_explained)).or_insert_with(|| format!("{found:02x?} in {bytes:02x?}"));
    }

    /// Compares what was found with what is known.
    fn check(&self, names: &[&str]) {
        let unexplained: Vec<_> = self.0.iter().filter(|((.., is_explained), _)| !is_explained).collect();
        assert!(unexplained.is_empty(), "differences that nobody has explained: {unexplained:#?}");
        for known in KNOWN.iter().filter(|known| names.contains(&known.name)) {
            let exists = self.0.contains_key(&(known.name, known.kind, true));
            assert!(exists, "{} and the reference no longer differ; it was said: {}", known.name, known.why);
        }
    }
}

/// A field as the reference has it, and back.
trait AsReference<'a> {
    type Reference: 'a;

    fn to_reference(&'a self) -> Self::Reference;

    fn of_reference(reference: Self::Reference) -> Self;
}

macro_rules! same {
    ($($number:ty)*) => {$(
        impl AsReference<'_> for $number {
            type Reference = $number;

            fn to_reference(&self) -> $number {
                *self
            }

            fn of_reference(reference: $number) -> Self {
                reference
            }
        }
    )*};
}

same! { bool u8 u16 u32 u64 f32 }

macro_rules! bytes {
    ($($ours:ty, $theirs:ident, $bytes:ident, $new:expr;)*) => {$(
        impl<'a> AsReference<'a> for $ours {
            type Reference = $theirs<'a>;

            fn to_reference(&'a self) -> $theirs<'a> {
                $theirs::new(self.$bytes()).unwrap()
            }

            fn of_reference(reference: $theirs<'a>) -> Self {
                let new: fn(&[u8]) -> Self = $new;
                new(reference.as_bytes())
            }
        }
    )*};
}

bytes! {
    B0_32, B032, as_slice, |bytes| Self::new(bytes).unwrap();
    B0_255, B0255, as_slice, |bytes| Self::new(bytes).unwrap();
    B0_64K, B064K, as_slice, |bytes| Self::new(bytes).unwrap();
    B0_16M, B016M, as_slice, |bytes| Self::new(bytes).unwrap();
    // The reference's Str0255 is its B0255.
    Str0_255, B0255, as_bytes, |bytes| Self::from_bytes(bytes).unwrap();
}

impl<'a> AsReference<'a> for U256 {
    type Reference = binary_sv2::U256<'a>;

    fn to_reference(&'a self) -> Self::Reference {
        (&self.0).into()
    }

    fn of_reference(reference: Self::Reference) -> Self {
        Self(reference.to_array())
    }
}

macro_rules! sequences {
    ($($ours:ident, $theirs:ident;)*) => {$(
        impl<'a, T: AsReference<'a> + 'a> AsReference<'a> for $ours<T> {
            type Reference = $theirs<'a, T::Reference>;

            fn to_reference(&'a self) -> Self::Reference {
                $theirs::new(self.as_slice().iter().map(T::to_reference).collect()).unwrap()
            }

            fn of_reference(reference: Self::Reference) -> Self {
                Self::new(reference.into_inner().into_iter().map(T::of_reference).collect::<Vec<_>>()).unwrap()
            }
        }
    )*};
}

sequences! {
    Seq0_255, Seq0255;
    Seq0_64K, Seq064K;
}

impl<'a, T: AsReference<'a> + 'a> AsReference<'a> for Option<T>
where
    T::Reference: Clone,
{
    type Reference = Sv2Option<'a, T::Reference>;

    fn to_reference(&'a self) -> Self::Reference {
        Sv2Option::new(self.as_ref().map(T::to_reference))
    }

    fn of_reference(reference: Self::Reference) -> Self {
        reference.into_inner().map(T::of_reference)
    }
}

/// A message that the reference has too.
trait Reference: Message + Sample {
    /// Has the reference encode the message's fields; `None` if it has no way to say them.
    fn encode_by_reference(&self) -> Option<Vec<u8>>;

    /// Has the reference decode a payload, and takes the fields over; `None` if it refuses.
    fn decode_by_reference(payload: &[u8]) -> Option<Self>;
}

macro_rules! references {
    // The number of a protocol is an enum there, so that others cannot be said.
    (@to protocol $value:expr) => { common_messages_sv2::Protocol::try_from(*$value).ok()? };
    (@to $field:ident $value:expr) => { AsReference::to_reference($value) };
    (@of protocol $value:expr) => { $value as u8 };
    (@of $field:ident $value:expr) => { AsReference::of_reference($value) };
    ($($crate_name:ident / $module:ident { $($message:ident { $($field:ident $(= $theirs:ident)?,)* })* })*) => {
        $($(
            impl Reference for $module::$message {
                fn encode_by_reference(&self) -> Option<Vec<u8>> {
                    let Self { $($field,)* } = self;
                    let message = references!(@build ($crate_name $message) [] $($field $(= $theirs)?,)*);
                    Some(binary_sv2::to_bytes(message).unwrap())
                }

                fn decode_by_reference(payload: &[u8]) -> Option<Self> {
                    let mut payload = payload.to_vec();
                    let message: $crate_name::$message = binary_sv2::from_bytes(&mut payload).ok()?;
                    Some(Self { $($field: references!(@of $field references!(@field message $field $($theirs)?)),)* })
                }
            }
        )*)*

        /// Compares all messages, and returns their names.
        fn compare_all(differences: &mut Differences, runner: &mut TestRunner) -> Vec<&'static str> {
            let mut names = vec![];
            $($(
                compare::<$module::$message>(differences, runner);
                names.push($module::$message::NAME);
            )*)*
            names
        }
    };
    (@build ($crate_name:ident $message:ident) [$($built:tt)*] $field:ident = $theirs:ident, $($rest:tt)*) => {
        references!(@build ($crate_name $message) [$($built)* $theirs: references!(@to $field $field),] $($rest)*)
    };
    (@build ($crate_name:ident $message:ident) [$($built:tt)*] $field:ident, $($rest:tt)*) => {
        references!(@build ($crate_name $message) [$($built)* $field: references!(@to $field $field),] $($rest)*)
    };
    (@build ($crate_name:ident $message:ident) [$($built:tt)*]) => { $crate_name::$message { $($built)* } };
    (@field $message:ident $field:ident) => { $message.$field };
    (@field $message:ident $field:ident $theirs:ident) => { $message.$theirs };
}

references! {
    common_messages_sv2 / common {
        SetupConnection {
            protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version,
            firmware, device_id,
        }
        SetupConnectionSuccess { used_version, flags, }
        SetupConnectionError { flags, error_code, }
        ChannelEndpointChanged { channel_id, }
        Reconnect { new_host, new_port, }
    }
    mining_sv2 / mining {
        OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, }
        OpenStandardMiningChannelSuccess { request_id, channel_id, target, extranonce_prefix, group_channel_id, }
        OpenMiningChannelError { request_id, error_code, }
        OpenExtendedMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size, }
        OpenExtendedMiningChannelSuccess {
            request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id,
        }
        NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root, }
        UpdateChannel { channel_id, nominal_hash_rate, maximum_target, }
        UpdateChannelError { channel_id, error_code, }
        CloseChannel { channel_id, reason_code, }
        SetExtranoncePrefix { channel_id, extranonce_prefix, }
        SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version, }
        SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce, }
        SubmitSharesSuccess { channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum, }
        SubmitSharesError { channel_id, sequence_number, error_code, }
        NewExtendedMiningJob {
            channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path, coinbase_tx_prefix,
            coinbase_tx_suffix,
        }
        SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits, }
        SetTarget { channel_id, maximum_target, }
        SetCustomMiningJob {
            channel_id, request_id, mining_job_token = token, version, prev_hash, min_ntime, nbits,
            coinbase_tx_version, coinbase_prefix, coinbase_tx_input_nsequence = coinbase_tx_input_n_sequence,
            coinbase_tx_outputs, coinbase_tx_locktime, merkle_path,
        }
        SetCustomMiningJobSuccess { channel_id, request_id, job_id, }
        SetCustomMiningJobError { channel_id, request_id, error_code, }
        SetGroupChannel { group_channel_id, channel_ids, }
    }
    job_declaration_sv2 / job_declaration {
        AllocateMiningJobToken { user_identifier, request_id, }
        AllocateMiningJobTokenSuccess { request_id, mining_job_token, coinbase_tx_outputs = coinbase_outputs, }
        ProvideMissingTransactions { request_id, unknown_tx_position_list, }
        ProvideMissingTransactionsSuccess { request_id, transaction_list, }
        DeclareMiningJob {
            request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data,
        }
        DeclareMiningJobSuccess { request_id, new_mining_job_token, }
        DeclareMiningJobError { request_id, error_code, error_details, }
        PushSolution { extranonce, prev_hash, nonce, ntime, nbits, version, }
    }
    template_distribution_sv2 / template_distribution {
        CoinbaseOutputConstraints { coinbase_output_max_additional_size, coinbase_output_max_additional_sigops, }
        NewTemplate {
            template_id, future_template, version, coinbase_tx_version, coinbase_prefix, coinbase_tx_input_sequence,
            coinbase_tx_value_remaining, coinbase_tx_outputs_count, coinbase_tx_outputs, coinbase_tx_locktime,
            merkle_path,
        }
        SetNewPrevHash { template_id, prev_hash, header_timestamp, nbits = n_bits, target, }
        RequestTransactionData { template_id, }
        RequestTransactionDataSuccess { template_id, excess_data, transaction_list, }
        RequestTransactionDataError { template_id, error_code, }
        SubmitSolution { template_id, version, header_timestamp, header_nonce, coinbase_tx, }
    }
    extensions_sv2 / extensions {
        RequestExtensions { request_id, requested_extensions, }
        RequestExtensionsSuccess { request_id, supported_extensions, }
        RequestExtensionsError { request_id, unsupported_extensions, required_extensions, }
    }
}

fn encoded(message: &impl Message) -> Vec<u8> {
    let mut payload = vec![];
    message.encode(&mut payload);
    payload
}

fn compare<M: Reference + Debug + 'static>(differences: &mut Differences, runner: &mut TestRunner) {
    let strategy = M::sample();
    for _ in 0..CASES {
        let message = strategy.new_tree(runner).unwrap().current();
        let payload = encoded(&message);
        if let Some(theirs) = message.encode_by_reference()
            && theirs != payload
        {
            differences.note(M::NAME, Kind::Encoding, &payload, theirs);
        }
        compare_header::<M>(differences, &payload);
        compare_payload::<M>(differences, &payload);
        for _ in 0..ALTERATIONS {
            compare_payload::<M>(differences, &altered(&payload, runner.rng()));
        }
    }
}

/// Truncates, extends, overwrites, or makes up a payload.
fn altered(payload: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let mut altered = payload.to_vec();
    let at = rng.random_range(0..payload.len());
    match rng.random_range(0..6) {
        0 => altered.truncate(at),
        1 => altered.extend((0..rng.random_range(1..40)).map(|_| rng.random::<u8>())),
        // Lengths stand near the front, and their extremes matter most.
        2 => altered[at % 64.min(payload.len())] = [0, 1, 2, 32, 33, 0xff][rng.random_range(0..6)],
        3 => altered[at] ^= 1 << rng.random_range(0..8),
        4 => {
            altered.truncate(at);
            altered.extend((0..rng.random_range(0..80)).map(|_| rng.random::<u8>()));
        }
        _ => altered = (0..rng.random_range(0..200)).map(|_| rng.random::<u8>() & rng.random::<u8>()).collect(),
    }
    altered
}

fn compare_payload<M: Reference>(differences: &mut Differences, payload: &[u8]) {
    let ours = M::decode(payload);
    // A panic of the reference is a finding, not the end of the test.
    let Ok(theirs) = catch_unwind(AssertUnwindSafe(|| M::decode_by_reference(payload))) else {
        return differences.note(M::NAME, Kind::TheirsPanics, payload, "a panic");
    };
    let kind = match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) if encoded(ours) == encoded(theirs) => return,
        (Err(_), None) => return,
        (Ok(_), Some(_)) => Kind::Decoding,
        (Ok(_), None) => Kind::OnlyOursDecodes,
        (Err(_), Some(_)) => Kind::OnlyTheirsDecodes,
    };
    let found = (ours.map(|ours| encoded(&ours)), theirs.map(|theirs| encoded(&theirs)));
    differences.note(M::NAME, kind, payload, found);
}

/// Our header must lead the reference to the same message, and have the channel bit that it would set.
fn compare_header<M: Message>(differences: &mut Differences, payload: &[u8]) {
    let ours = Header::of::<M>(payload.len()).unwrap().to_bytes();
    let header = framing_sv2::header::Header::from_bytes(&ours).unwrap();
    assert_eq!(header.payload_length(), payload.len());
    let mut payload = payload.to_vec();
    let Ok(message) = AnyMessage::try_from((header, &mut payload[..])) else { return };
    let theirs = (message.extension_type(), message.message_type(), message.channel_bit());
    if theirs != (M::EXTENSION_TYPE, M::MESSAGE_TYPE, M::CHANNEL_MSG) || header.channel_msg() != M::CHANNEL_MSG {
        differences.note(M::NAME, Kind::Header, &ours, theirs);
    }
}

/// A runner whose seed is printed; `DIFFERENTIAL_SEED` repeats one.
fn runner() -> TestRunner {
    let mut seed = [0; 32];
    match std::env::var("DIFFERENTIAL_SEED") {
        Ok(text) => hex::decode_to_slice(text, &mut seed).unwrap(),
        Err(_) => secp256k1::rand::RngCore::fill_bytes(&mut secp256k1::rand::thread_rng(), &mut seed),
    }
    println!("DIFFERENTIAL_SEED={}", hex::encode(seed));
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

#[test]
fn every_message_is_the_same_to_the_reference() {
    let mut differences = Differences::default();
    let names = compare_all(&mut differences, &mut runner());
    // All that have a name, and none of them twice. Two protocols each have a `SetNewPrevHash`.
    let all =
        (0..=2).flat_map(|extension| (0..=u8::MAX).map(move |message_type| [extension, 0, message_type, 0, 0, 0]));
    let all: Vec<_> = all.filter_map(|header| name_of(Header::from_bytes(header))).collect();
    assert_eq!(BTreeSet::from_iter(&names), BTreeSet::from_iter(&all));
    assert_eq!(names.len(), all.len());
    differences.check(&names);
}

#[test]
fn setups_of_each_protocol_are_the_same_to_the_reference() {
    let mut runner = runner();
    let strategy = (common::SetupConnection::sample(), 0_u8..3);
    for _ in 0..CASES {
        let (setup, protocol) = strategy.new_tree(&mut runner).unwrap().current();
        let setup = common::SetupConnection { protocol, ..setup };
        let payload = encoded(&setup);
        assert_eq!(setup.encode_by_reference().unwrap(), payload);
        assert_eq!(common::SetupConnection::decode_by_reference(&payload).unwrap(), setup);
    }
}

/// A type-length-value field, before it has an order of bytes.
#[derive(Clone, Debug)]
struct Field {
    extension: u16,
    number: u8,
    value: Vec<u8>,
}

impl Field {
    fn sample() -> impl Strategy<Value = Self> {
        let value = prop_oneof![vec(any::<u8>(), 0..40), "[a-z]{0,33}".prop_map(String::into_bytes)];
        (0_u16..4, 0_u8..3, value).prop_map(|(extension, number, value)| Self { extension, number, value })
    }

    /// As the specification's examples have it.
    fn big_endian(&self) -> Vec<u8> {
        let Self { extension, number, value } = self;
        let len = value.len() as u16;
        [&extension.to_be_bytes()[..], &[*number], &len.to_be_bytes(), value].concat()
    }

    fn by_reference(&self) -> Vec<u8> {
        Tlv::new(self.extension, self.number, self.value.clone()).encode().unwrap()
    }
}

#[test]
fn a_workers_field_is_the_same_to_the_reference() {
    let (mut differences, mut runner) = (Differences::default(), runner());
    let strategy = (vec(Field::sample(), 0..4), 0_usize..50);
    for _ in 0..10 * CASES {
        let (fields, cut) = strategy.new_tree(&mut runner).unwrap().current();
        let mut ours = fields.iter().flat_map(Field::big_endian).collect::<Vec<_>>();
        let mut theirs = fields.iter().flat_map(Field::by_reference).collect::<Vec<_>>();
        if ours != theirs {
            differences.note("TLV", Kind::Encoding, &ours, &theirs);
        }
        // Some lists end within a field. The order of bytes aside, both lists are the same.
        let is_cut = cut < 10 && cut < ours.len();
        ours.truncate(ours.len() - if is_cut { cut } else { 0 });
        theirs.truncate(ours.len());
        compare_fields(&mut differences, &ours, &theirs);
    }
    for name in ["w", "Worker_001", &"x".repeat(32)] {
        let by_reference = UserIdentity::new(name).unwrap().to_bytes().unwrap();
        assert_eq!(WorkerIdentity::find(&by_reference), Ok(Some(WorkerIdentity::new(name).unwrap())));
        let mut ours = vec![];
        WorkerIdentity::new(name).unwrap().encode_field(&mut ours);
        assert_eq!(TlvList::from_bytes(&ours).find(UserIdentity::EXTENSION_TYPE, UserIdentity::FIELD_TYPE), None);
    }
    differences.check(&["TLV", "TLV cut short", "user_identity"]);
}

fn compare_fields(differences: &mut Differences, big_endian: &[u8], by_reference: &[u8]) {
    let ours = WorkerIdentity::find(big_endian);
    let field = TlvList::from_bytes(by_reference).find(UserIdentity::EXTENSION_TYPE, UserIdentity::FIELD_TYPE);
    let theirs = field.map(|field| UserIdentity::from_tlv(&field)).transpose();
    let (name, kind) = match (&ours, &theirs) {
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => return,
        (Ok(Some(ours)), Ok(Some(theirs))) if ours.as_str().as_bytes() == theirs.as_bytes() => return,
        (Err(DecodeError::Truncated { .. }), Ok(None)) => ("TLV cut short", Kind::OnlyTheirsDecodes),
        (Err(_), Ok(_)) => ("user_identity", Kind::OnlyTheirsDecodes),
        (Ok(_), Err(_)) => ("user_identity", Kind::OnlyOursDecodes),
        (Ok(_), Ok(_)) => ("user_identity", Kind::Decoding),
    };
    differences.note(name, kind, big_endian, (ours, theirs));
}
