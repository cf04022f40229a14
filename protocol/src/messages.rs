//! Every message of the core protocols and of the extensions 0x0001 and 0x0002, in the specification's order and words.
//!
//! Each message is a struct whose fields stand in wire order; a dot in a name of the specification is left out
//! (`SetupConnection.Success` is [`common::SetupConnectionSuccess`]). When a message may be sent, and what its values
//! mean together, is not decided here.

use crate::codec::{DecodeError, Reader};
use crate::framing::Header;

/// States a module's messages once: documentation, name, type, channel bit and fields in wire order.
///
/// `connection` messages have the channel bit unset, `channel` messages set.
macro_rules! messages {
    (@channel_msg connection) => { false };
    (@channel_msg channel) => { true };
    (extension $extension:literal; $(
        $(#[$doc:meta])*
        $name:ident = $spec_name:literal, $message_type:literal, $scope:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name {
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl $crate::messages::Message for $name {
                const NAME: &'static str = $spec_name;
                const EXTENSION_TYPE: u16 = $extension;
                const MESSAGE_TYPE: u8 = $message_type;
                const CHANNEL_MSG: bool = messages!(@channel_msg $scope);

                fn encode(&self, out: &mut Vec<u8>) {
                    $( $crate::codec::Field::encode(&self.$field, out); )*
                }

                fn decode_fields(
                    reader: &mut $crate::codec::Reader<'_>,
                ) -> Result<Self, $crate::codec::DecodeError> {
                    // Struct fields are evaluated in the order in which they are written, here the wire's.
                    Ok(Self { $( $field: $crate::codec::Field::decode(reader)?, )* })
                }
            }

            #[cfg(test)]
            impl $crate::codec::sample::Sample for $name {
                fn sample() -> proptest::strategy::BoxedStrategy<Self> {
                    use proptest::strategy::{Just, Strategy};
                    $crate::messages::tests::pairs!(
                        (Just(())) $( (<$type as $crate::codec::sample::Sample>::sample()) )*
                    )
                    .prop_map(|$crate::messages::tests::pairs!((()) $( ($field) )*)| Self { $( $field, )* })
                    .boxed()
                }
            }
        )*

        /// Returns the specification's name of a message of this module.
        pub(super) fn name_of(extension_type: u16, message_type: u8) -> Option<&'static str> {
            match (extension_type, message_type) {
                $( ($extension, $message_type) => Some($spec_name), )*
                _ => None,
            }
        }

        #[cfg(test)]
        #[test]
        fn every_message_survives_encoding() {
            $( $crate::messages::tests::survives::<$name>(); )*
        }
    };
}

/// Makes enums of what one role sends in one protocol, with a variant for each of the messages listed.
macro_rules! message_sets {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($message:ident,)* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub enum $name {
                $( #[doc = concat!("A [`", stringify!($message), "`].")] $message($message), )*
            }

            impl $crate::messages::MessageSet for $name {
                fn decode(
                    header: $crate::framing::Header,
                    payload: &[u8],
                    _extensions: &[u16],
                ) -> Result<Self, $crate::messages::MessageError> {
                    use $crate::messages::{Message, MessageError};
                    match (header.extension_type, header.message_type) {
                        $(
                            ($message::EXTENSION_TYPE, $message::MESSAGE_TYPE) => $message::decode(payload)
                                .map(Self::$message)
                                .map_err(MessageError::decode::<$message>),
                        )*
                        _ => Err(MessageError::NotOfThisSet),
                    }
                }
            }
        )*

        #[cfg(test)]
        #[test]
        fn every_message_has_its_variant() {
            $( $( $crate::messages::tests::decodes_as($name::$message); )* )*
        }
    };
}

pub mod common;
#[cfg(test)]
mod differential;
pub mod extensions;
pub mod job_declaration;
pub mod mining;
pub mod template_distribution;

/// A message: what it is called, how it is marked in a header, and its payload.
pub trait Message: Sized {
    /// The specification's name, such as `SetupConnection.Success`.
    const NAME: &'static str;
    /// The extension that defines the message; zero for the core protocols.
    const EXTENSION_TYPE: u16;
    /// The message's type within its extension (SV2 8).
    const MESSAGE_TYPE: u8;
    /// Whether the header's channel bit is set.
    const CHANNEL_MSG: bool;

    /// Appends the payload, without a header.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the message's own fields and leaves the reader behind them.
    ///
    /// # Errors
    ///
    /// If a field is cut short or breaks its type's bounds.
    fn decode_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads a payload. What follows the message's own fields are type-length-value fields of extensions, which
    /// whoever does not know them must ignore (SV2 3.4.3).
    ///
    /// # Errors
    ///
    /// If a field is cut short or breaks its type's bounds.
    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_fields(&mut Reader::new(payload))
    }
}

/// The messages that one role sends in one protocol, as an enum.
pub trait MessageSet: Sized {
    /// Reads the message of a frame, with the fields that the negotiated `extensions` add to it.
    ///
    /// # Errors
    ///
    /// If the frame holds no message of this set, or one that does not decode.
    fn decode(header: Header, payload: &[u8], extensions: &[u16]) -> Result<Self, MessageError>;
}

/// Reports why a frame yields no message of a [`MessageSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The header names a message that the peer's role does not send in this protocol, or none at all.
    #[error("not a message that the peer may send")]
    NotOfThisSet,
    /// The payload is not what the header says.
    #[error("cannot decode {message}: {source}")]
    Decode {
        /// The specification's name of the message.
        message: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl MessageError {
    fn decode<M: Message>(source: DecodeError) -> Self {
        Self::Decode { message: M::NAME, source }
    }
}

/// Returns the specification's name of the message that a header announces, if it is one that this crate knows.
pub fn name_of(header: Header) -> Option<&'static str> {
    let (extension_type, message_type) = (header.extension_type, header.message_type);
    common::name_of(extension_type, message_type)
        .or_else(|| mining::name_of(extension_type, message_type))
        .or_else(|| job_declaration::name_of(extension_type, message_type))
        .or_else(|| template_distribution::name_of(extension_type, message_type))
        .or_else(|| extensions::name_of(extension_type, message_type))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::sample::Sample;

    /// Nests any number of expressions or patterns into pairs, because proptest's tuples end at twelve.
    macro_rules! pairs {
        (($($last:tt)*)) => { $($last)* };
        (($($last:tt)*) ($($head:tt)*) $($tail:tt)*) => {
            ($($head)*, $crate::messages::tests::pairs!(($($last)*) $($tail)*))
        };
    }
    pub(crate) use pairs;

    pub(crate) fn survives<M: Message + Sample + PartialEq>() {
        proptest!(ProptestConfig::with_cases(64), |(message in M::sample(), tlv in any::<Vec<u8>>())| {
            let mut payload = Vec::new();
            message.encode(&mut payload);
            for len in 0..payload.len() {
                prop_assert!(M::decode(&payload[..len]).is_err());
            }
            payload.extend_from_slice(&tlv);
            let mut reader = Reader::new(&payload);
            prop_assert_eq!(M::decode_fields(&mut reader).unwrap(), message);
            prop_assert_eq!(reader.rest(), &tlv[..]);
        });
    }

    pub(crate) fn decodes_as<M, S>(variant: impl Fn(M) -> S)
    where
        M: Message + Sample + Clone,
        S: MessageSet + Debug + PartialEq,
    {
        proptest!(ProptestConfig::with_cases(8), |(message in M::sample())| {
            let mut payload = Vec::new();
            message.encode(&mut payload);
            let header = Header::of::<M>(payload.len()).unwrap();
            prop_assert_eq!(name_of(header), Some(M::NAME));
            prop_assert_eq!(S::decode(header, &payload, &[]).unwrap(), variant(message));
        });
    }

    proptest! {
        #[test]
        fn random_payloads_never_panic(
            message_type in 0_u8..0x80,
            extension in 0_u8..3,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = Header::from_bytes([extension, 0, message_type, 0, 0, 0]);
            let extensions = [extensions::WORKER_SPECIFIC_HASHRATE_TRACKING];
            let _ = mining::ClientMessage::decode(header, &payload, &extensions);
            let _ = mining::ServerMessage::decode(header, &payload, &extensions);
            let _ = job_declaration::ClientMessage::decode(header, &payload, &extensions);
            let _ = job_declaration::ServerMessage::decode(header, &payload, &extensions);
            let _ = template_distribution::ClientMessage::decode(header, &payload, &extensions);
            let _ = template_distribution::ServerMessage::decode(header, &payload, &extensions);
            let _ = common::SetupConnection::decode(&payload);
            let _ = extensions::RequestExtensions::decode(&payload);
        }
    }
}
