//! The frame around a message (SV2 3.2): its header, the channel bit, and how long frames are once encrypted (SV2 4.6).
//!
//! Encryption itself is [`crate::noise`]; the buffers in which frames lie belong to [`crate::connection`].

use crate::messages::Message;

/// The length of a header in plaintext.
pub const HEADER_LEN: usize = 6;
/// The length of the authentication code behind each encrypted block.
pub const MAC_LEN: usize = 16;
/// The length of a header once encrypted.
pub const ENCRYPTED_HEADER_LEN: usize = HEADER_LEN + MAC_LEN;
/// The longest block that Noise encrypts, with its authentication code.
pub const MAX_BLOCK_LEN: usize = 65_535;
/// The longest plaintext of one block: a longer payload takes several.
pub const MAX_CHUNK_LEN: usize = MAX_BLOCK_LEN - MAC_LEN;
/// The longest payload that a header can announce.
pub const MAX_PAYLOAD_LEN: usize = 0xff_ffff;

/// The bit of `extension_type` that marks a message as belonging to one channel.
const CHANNEL_BIT: u16 = 0x8000;

/// Says what a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The extension that defines the message, without the channel bit. Zero for the core protocols.
    pub extension_type: u16,
    /// The channel bit: the payload starts with the id of the channel that it concerns.
    pub channel_msg: bool,
    /// The message's type within its extension.
    pub message_type: u8,
    payload_len: u32,
}

impl Header {
    /// Makes the header of a message of type `M` whose payload is `payload_len` bytes; `None` if that is over
    /// [`MAX_PAYLOAD_LEN`].
    pub fn of<M: Message>(payload_len: usize) -> Option<Self> {
        (payload_len <= MAX_PAYLOAD_LEN).then_some(Self {
            extension_type: M::EXTENSION_TYPE,
            channel_msg: M::CHANNEL_MSG,
            message_type: M::MESSAGE_TYPE,
            payload_len: payload_len as u32,
        })
    }

    /// Makes a header without the channel bit by the message's numbers, which need not be those of a message that exists;
    /// `None` if the payload is over [`MAX_PAYLOAD_LEN`].
    pub fn new(extension_type: u16, message_type: u8, payload_len: usize) -> Option<Self> {
        (payload_len <= MAX_PAYLOAD_LEN).then_some(Self {
            extension_type,
            channel_msg: false,
            message_type,
            payload_len: payload_len as u32,
        })
    }

    /// Returns the length of the payload in plaintext.
    pub fn payload_len(&self) -> usize {
        self.payload_len as usize
    }

    /// Returns true if the frame carries an `M`, whatever its channel bit says: some clients never set it.
    pub fn is<M: Message>(&self) -> bool {
        self.extension_type == M::EXTENSION_TYPE && self.message_type == M::MESSAGE_TYPE
    }

    /// Lays the header out for the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let channel_bit = if self.channel_msg { CHANNEL_BIT } else { 0 };
        let [extension_low, extension_high] = (self.extension_type | channel_bit).to_le_bytes();
        let [len_low, len_middle, len_high, _] = self.payload_len.to_le_bytes();
        [extension_low, extension_high, self.message_type, len_low, len_middle, len_high]
    }

    /// Reads a header; all bytes are valid ones.
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [extension_low, extension_high, message_type, len_low, len_middle, len_high] = bytes;
        let extension_type = u16::from_le_bytes([extension_low, extension_high]);
        Self {
            extension_type: extension_type & !CHANNEL_BIT,
            channel_msg: extension_type & CHANNEL_BIT != 0,
            message_type,
            payload_len: u32::from_le_bytes([len_low, len_middle, len_high, 0]),
        }
    }
}

/// Returns the length of a payload once it is cut into chunks and encrypted (SV2 4.6).
pub fn encrypted_payload_len(payload_len: usize) -> usize {
    payload_len + payload_len.div_ceil(MAX_CHUNK_LEN) * MAC_LEN
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::messages::common::SetupConnection;
    use crate::messages::extensions::RequestExtensionsError;
    use crate::messages::mining::SubmitSharesStandard;

    #[test]
    fn header_lays_out_as_specified() {
        let header = Header::of::<SubmitSharesStandard>(24).unwrap();
        assert_eq!(header.to_bytes(), [0x00, 0x80, 0x1a, 24, 0, 0]);
        let header = Header::of::<SetupConnection>(0x01_02_03).unwrap();
        assert_eq!(header.to_bytes(), [0x00, 0x00, 0x00, 3, 2, 1]);
        let header = Header::of::<RequestExtensionsError>(6).unwrap();
        assert_eq!(header.to_bytes(), [0x01, 0x00, 0x02, 6, 0, 0]);
    }

    #[test]
    fn a_payload_over_24_bits_of_length_has_no_header() {
        assert!(Header::of::<SetupConnection>(MAX_PAYLOAD_LEN).is_some());
        assert!(Header::of::<SetupConnection>(MAX_PAYLOAD_LEN + 1).is_none());
    }

    #[test]
    fn the_channel_bit_does_not_decide_which_message_it_is() {
        let header = Header::from_bytes([0x00, 0x00, 0x1a, 24, 0, 0]);
        assert!(header.is::<SubmitSharesStandard>());
        assert!(!header.channel_msg);
    }

    #[test]
    fn each_chunk_of_a_payload_has_its_own_mac() {
        assert_eq!(encrypted_payload_len(0), 0);
        assert_eq!(encrypted_payload_len(1), 17);
        assert_eq!(encrypted_payload_len(65_519), 65_535);
        assert_eq!(encrypted_payload_len(65_520), 65_535 + 17);
        assert_eq!(encrypted_payload_len(2 * 65_519), 2 * 65_535);
    }

    proptest! {
        #[test]
        fn any_six_bytes_are_a_header_and_come_back(bytes: [u8; 6]) {
            prop_assert_eq!(Header::from_bytes(bytes).to_bytes(), bytes);
        }
    }
}
