//! Extension 0x0001, the negotiation of extensions, and 0x0002, the worker's name on each share.
//!
//! Extension 0x0002 has no message of its own: it appends a type-length-value field to
//! [`SubmitSharesExtended`](super::mining::SubmitSharesExtended). Such a field's type and length are big-endian,
//! unlike everything else.

use std::fmt;

use crate::codec::{B0_32, DecodeError, Reader, Seq0_64K, TooLong};

/// The extension that negotiates extensions.
pub const EXTENSIONS_NEGOTIATION: u16 = 0x0001;
/// The extension that names the worker on each share of an extended channel.
pub const WORKER_SPECIFIC_HASHRATE_TRACKING: u16 = 0x0002;

messages! {
    extension 0x0001;

    /// Asks for extensions, right after setup (extension 0x0001, 2).
    RequestExtensions = "RequestExtensions", 0x00, connection {
        /// Pairs the response with the request.
        request_id: u16,
        /// The extensions that the client wishes to use.
        requested_extensions: Seq0_64K<u16>,
    }

    /// Grants extensions (extension 0x0001, 2).
    RequestExtensionsSuccess = "RequestExtensions.Success", 0x01, connection {
        /// From the request.
        request_id: u16,
        /// Those of the requested extensions that may be used.
        supported_extensions: Seq0_64K<u16>,
    }

    /// Refuses a request for extensions; the client may ask again (extension 0x0001, 2).
    RequestExtensionsError = "RequestExtensions.Error", 0x02, connection {
        /// From the request.
        request_id: u16,
        /// Those of the requested extensions that the server does not know.
        unsupported_extensions: Seq0_64K<u16>,
        /// What the server demands and the client did not request.
        required_extensions: Seq0_64K<u16>,
    }
}

/// The type of the worker's field: the extension, big-endian, and the field's number in it.
const USER_IDENTITY_FIELD: [u8; 3] = [0x00, 0x02, 0x01];
/// The same as the reference implementation writes it.
const LITTLE_ENDIAN_FIELD: [u8; 3] = [0x02, 0x00, 0x01];

/// The name of the worker that found a share: up to 32 bytes of UTF-8 (extension 0x0002, 1.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct WorkerIdentity(B0_32);

impl WorkerIdentity {
    /// Copies `name`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] above 32 bytes.
    pub fn new(name: &str) -> Result<Self, TooLong> {
        B0_32::new(name.as_bytes()).map(Self)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).expect("every constructor checks for UTF-8")
    }

    /// Appends the type-length-value field behind a share's payload.
    pub(crate) fn encode_field(&self, out: &mut Vec<u8>) {
        let name = self.0.as_slice();
        out.extend_from_slice(&USER_IDENTITY_FIELD);
        out.extend_from_slice(&[0, name.len() as u8]);
        out.extend_from_slice(name);
    }

    /// Finds the worker's field among those that follow a share's own fields, and skips all others.
    ///
    /// The reference implementation's proxies write type and length little-endian, as all other numbers are. Such
    /// fields are read too, where they are none in the specified order: a length is then over what there is.
    ///
    /// # Errors
    ///
    /// If a field is cut short, or the worker's name is over 32 bytes or not UTF-8.
    pub(crate) fn find(fields: &[u8]) -> Result<Option<Self>, DecodeError> {
        let specified = Self::find_in(fields, USER_IDENTITY_FIELD, u16::from_be_bytes);
        if let Err(DecodeError::Truncated { .. }) = specified
            && let Ok(worker) = Self::find_in(fields, LITTLE_ENDIAN_FIELD, u16::from_le_bytes)
        {
            return Ok(worker);
        }
        specified
    }

    fn find_in(fields: &[u8], user_identity: [u8; 3], order: fn([u8; 2]) -> u16) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(fields);
        while !reader.rest().is_empty() {
            let field_type = reader.take(3, "TLV type")?;
            let len = reader.take(2, "TLV length")?;
            let value = reader.take(usize::from(order([len[0], len[1]])), "TLV value")?;
            if field_type == user_identity {
                let name = std::str::from_utf8(value);
                let name = name.map_err(|_| DecodeError::NotUtf8 { field_type: "TLV user_identity" })?;
                return Ok(Some(Self::new(name)?));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for WorkerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for WorkerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// The example of extension 0x0002, 1.1.
    const WORKER_001: &[u8] =
        &[0x00, 0x02, 0x01, 0x00, 0x0a, 0x57, 0x6f, 0x72, 0x6b, 0x65, 0x72, 0x5f, 0x30, 0x30, 0x31];

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let worker = WorkerIdentity::find(WORKER_001).unwrap().unwrap();
        assert_eq!(worker.as_str(), "Worker_001");
        let mut out = Vec::new();
        worker.encode_field(&mut out);
        assert_eq!(out, WORKER_001);
    }

    #[test]
    fn unknown_fields_before_the_workers_are_skipped() {
        let mut fields = vec![0x00, 0x01, 0x07, 0x00, 0x00, 0x40, 0x00, 0x01, 0x00, 0x02, 0xaa, 0xbb];
        assert_eq!(WorkerIdentity::find(&fields).unwrap(), None);
        fields.extend_from_slice(WORKER_001);
        assert_eq!(WorkerIdentity::find(&fields).unwrap().unwrap().as_str(), "Worker_001");
    }

    #[test]
    fn an_unknown_field_is_skipped_in_the_order_of_bytes_of_the_reference_too() {
        let unknown = [0x03, 0x00, 0x01, 0x01, 0x00, 0xaa];
        assert_eq!(WorkerIdentity::find(&unknown).unwrap(), None);
        // Cut short, it is a field in neither order.
        assert!(matches!(WorkerIdentity::find(&unknown[..5]), Err(DecodeError::Truncated { .. })));
    }

    #[test]
    fn a_name_is_found_in_the_order_of_bytes_of_the_reference_too() {
        let field = |name: &[u8]| [&[0x02, 0x00, 0x01, name.len() as u8, 0x00], name].concat();
        for name in ["w", "Worker_001", &"x".repeat(32)] {
            let worker = WorkerIdentity::find(&field(name.as_bytes())).unwrap().unwrap();
            assert_eq!(worker.as_str(), name);
        }
        // Without a name there is nothing to tell the orders apart by, nor anything to find.
        assert_eq!(WorkerIdentity::find(&field(b"")).unwrap(), None);
        let after_another = [&[0x03, 0x00, 0x01, 0x01, 0x00, 0xaa][..], &field(b"w1")].concat();
        assert_eq!(WorkerIdentity::find(&after_another).unwrap().unwrap().as_str(), "w1");
        let truncated = |fields: &[u8]| matches!(WorkerIdentity::find(fields), Err(DecodeError::Truncated { .. }));
        assert!(truncated(&field(&[b'x'; 33])) && truncated(&field(b"\xff")) && truncated(&field(b"w1")[..6]));
    }

    #[test]
    fn a_name_over_32_bytes_or_not_utf8_or_cut_short_is_an_error() {
        let mut fields = vec![0x00, 0x02, 0x01, 0x00, 33];
        fields.extend([b'x'; 33]);
        assert!(matches!(WorkerIdentity::find(&fields), Err(DecodeError::TooLong(TooLong { len: 33, .. }))));
        fields[4] = 32;
        assert!(WorkerIdentity::find(&fields[..37]).unwrap().is_some());
        fields[10] = 0xff;
        assert!(matches!(WorkerIdentity::find(&fields[..37]), Err(DecodeError::NotUtf8 { .. })));
        for len in 1..WORKER_001.len() {
            assert!(matches!(WorkerIdentity::find(&WORKER_001[..len]), Err(DecodeError::Truncated { .. })));
        }
    }

    proptest! {
        #[test]
        fn a_written_name_is_found_again(name in "\\PC{0,8}") {
            let worker = WorkerIdentity::new(&name).unwrap();
            let mut out = Vec::new();
            worker.encode_field(&mut out);
            prop_assert_eq!(WorkerIdentity::find(&out).unwrap(), Some(worker));
            prop_assert_eq!(worker.as_str(), name);
        }

        #[test]
        fn random_fields_never_panic(fields: Vec<u8>) {
            let _ = WorkerIdentity::find(&fields);
        }
    }
}
