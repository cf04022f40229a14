//! The field types of SV2 3.1 and their byte representation.
//!
//! Every type here checks its bounds when it is made, so that a value that exists can always be encoded.
//! What fields make up which message is [`crate::messages`]' business.

#[cfg(test)]
pub(crate) mod sample;
mod u256;

use std::borrow::Cow;
use std::fmt;

pub use self::u256::U256;

/// Reports why bytes are not the field or message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{field_type} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field's type, as in SV2 3.1.
        field_type: &'static str,
        /// How many bytes the field needs at least.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// A length prefix exceeds what its type allows.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A field that must be UTF-8 is not.
    #[error("{field_type} is not UTF-8")]
    NotUtf8 {
        /// The field's type.
        field_type: &'static str,
    },
}

/// Reports more bytes or elements than a type can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field_type} holds up to {max}, not {len}")]
pub struct TooLong {
    /// The type, as in SV2 3.1.
    pub field_type: &'static str,
    /// The length that was asked for, in bytes or, for sequences, in elements.
    pub len: usize,
    /// The greatest length allowed.
    pub max: usize,
}

impl TooLong {
    fn check(field_type: &'static str, len: usize, max: usize) -> Result<(), Self> {
        if len > max { Err(Self { field_type, len, max }) } else { Ok(()) }
    }
}

/// Reads fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `len` bytes; `field_type` is for the error.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if there are fewer; then nothing is taken.
    pub fn take(&mut self, len: usize, field_type: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated {
            field_type,
            needed: len,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self, field_type: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated {
            field_type,
            needed: N,
            left: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// A type that a message's field can have: how it becomes bytes and comes back.
pub trait Field: Sized {
    /// The name in SV2 3.1, for errors.
    const TYPE: &'static str;

    /// The fewest bytes that a value takes. Bounds what a hostile length prefix can make a decoder reserve.
    const MIN_LEN: usize;

    /// Appends the value's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// If the bytes are too few or break the type's bounds.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

macro_rules! little_endian {
    ($($number:ty, $name:literal;)*) => {$(
        impl Field for $number {
            const TYPE: &'static str = $name;
            const MIN_LEN: usize = size_of::<$number>();

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.take_array($name).map(<$number>::from_le_bytes)
            }
        }
    )*};
}

little_endian! {
    u8, "U8";
    u16, "U16";
    u32, "U32";
    u64, "U64";
    f32, "F32";
}

impl Field for bool {
    const TYPE: &'static str = "BOOL";
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // The upper seven bits are padding that a sender may set to anything.
        u8::decode(reader).map(|byte| byte & 1 == 1)
    }
}

impl<T: Field> Field for Option<T> {
    const TYPE: &'static str = "OPTION";
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(None),
            1 => T::decode(reader).map(Some),
            len => Err(TooLong { field_type: Self::TYPE, len: len.into(), max: 1 }.into()),
        }
    }
}

/// Up to 32 bytes, held inline: extranonces and their prefixes.
// The bytes beyond `len` are always zero, so that the derived comparisons are those of the contents.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct B0_32 {
    len: u8,
    bytes: [u8; 32],
}

impl B0_32 {
    /// The greatest length, in bytes.
    pub const MAX_LEN: usize = 32;

    /// Copies `bytes`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] above 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, TooLong> {
        TooLong::check(Self::TYPE, bytes.len(), Self::MAX_LEN)?;
        let mut inline = [0; Self::MAX_LEN];
        inline[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { len: bytes.len() as u8, bytes: inline })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for B0_32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.as_slice(), f)
    }
}

impl AsRef<[u8]> for B0_32 {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Field for B0_32 {
    const TYPE: &'static str = "B0_32";
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.len);
        out.extend_from_slice(self.as_slice());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = usize::from(u8::decode(reader)?);
        TooLong::check(Self::TYPE, len, Self::MAX_LEN)?;
        Ok(Self::new(reader.take(len, Self::TYPE)?)?)
    }
}

macro_rules! byte_array {
    ($(#[$doc:meta])* $name:ident, prefix $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Hash)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// The greatest length, in bytes.
            pub const MAX_LEN: usize = (1 << (8 * $prefix)) - 1;

            /// Takes the bytes.
            ///
            /// # Errors
            ///
            /// [`TooLong`] above [`Self::MAX_LEN`].
            pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLong> {
                let bytes = bytes.into();
                TooLong::check(Self::TYPE, bytes.len(), Self::MAX_LEN)?;
                Ok(Self(bytes))
            }

            /// Returns the bytes.
            pub fn as_slice(&self) -> &[u8] {
                &self.0
            }

            /// Gives the bytes back.
            pub fn into_vec(self) -> Vec<u8> {
                self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl Field for $name {
            const TYPE: &'static str = stringify!($name);
            const MIN_LEN: usize = $prefix;

            fn encode(&self, out: &mut Vec<u8>) {
                encode_length::<$prefix>(self.0.len(), out);
                out.extend_from_slice(&self.0);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let len = decode_length::<$prefix>(reader, Self::TYPE)?;
                Ok(Self(reader.take(len, Self::TYPE)?.to_vec()))
            }
        }
    };
}

byte_array! {
    /// Up to 255 bytes.
    B0_255, prefix 1
}
byte_array! {
    /// Up to 65,535 bytes.
    B0_64K, prefix 2
}
byte_array! {
    /// Up to 16,777,215 bytes.
    B0_16M, prefix 3
}

/// A string of up to 255 bytes. Usually UTF-8, which the specification recommends but does not demand of identities.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Str0_255(Cow<'static, [u8]>);

impl Str0_255 {
    /// The greatest length, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Copies `text`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] above 255 bytes.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        Self::from_bytes(text.as_bytes())
    }

    /// Borrows `text`, such as an error code, without an allocation.
    ///
    /// # Panics
    ///
    /// Above 255 bytes; in a `const`, that fails the build.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= Self::MAX_LEN, "a static string is at most 255 bytes long");
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// Copies `bytes`, UTF-8 or not.
    ///
    /// # Errors
    ///
    /// [`TooLong`] above 255 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TooLong> {
        TooLong::check(Self::TYPE, bytes.len(), Self::MAX_LEN)?;
        Ok(Self(Cow::Owned(bytes.to_vec())))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text, if it is UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for Str0_255 {
    /// Shows U+FFFD for what is not UTF-8, and for control characters, with which a peer could forge lines of a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        f.pad(&text.replace(char::is_control, "\u{fffd}"))
    }
}

impl fmt::Debug for Str0_255 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl Field for Str0_255 {
    const TYPE: &'static str = "STR0_255";
    const MIN_LEN: usize = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        encode_length::<1>(self.0.len(), out);
        out.extend_from_slice(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = decode_length::<1>(reader, Self::TYPE)?;
        Ok(Self(Cow::Owned(reader.take(len, Self::TYPE)?.to_vec())))
    }
}

macro_rules! sequence {
    ($(#[$doc:meta])* $name:ident, $type:literal, prefix $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name<T>(Vec<T>);

        impl<T> $name<T> {
            /// The greatest number of elements.
            pub const MAX_LEN: usize = (1 << (8 * $prefix)) - 1;

            /// Takes the elements.
            ///
            /// # Errors
            ///
            /// [`TooLong`] above [`Self::MAX_LEN`] elements.
            pub fn new(elements: impl Into<Vec<T>>) -> Result<Self, TooLong> {
                let elements = elements.into();
                TooLong::check($type, elements.len(), Self::MAX_LEN)?;
                Ok(Self(elements))
            }

            /// Returns the elements.
            pub fn as_slice(&self) -> &[T] {
                &self.0
            }

            /// Gives the elements back.
            pub fn into_vec(self) -> Vec<T> {
                self.0
            }
        }

        // Not derived: that would ask `T: Default`.
        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(Vec::new())
            }
        }

        impl<T: Field> Field for $name<T> {
            const TYPE: &'static str = $type;
            const MIN_LEN: usize = $prefix;

            fn encode(&self, out: &mut Vec<u8>) {
                encode_length::<$prefix>(self.0.len(), out);
                for element in &self.0 {
                    element.encode(out);
                }
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let len = decode_length::<$prefix>(reader, Self::TYPE)?;
                let needed = len * T::MIN_LEN;
                if needed > reader.rest().len() {
                    let left = reader.rest().len();
                    return Err(DecodeError::Truncated { field_type: Self::TYPE, needed, left });
                }
                (0..len).map(|_| T::decode(reader)).collect::<Result<_, _>>().map(Self)
            }
        }
    };
}

sequence! {
    /// Up to 255 elements of one type.
    Seq0_255, "SEQ0_255", prefix 1
}
sequence! {
    /// Up to 65,535 elements of one type.
    Seq0_64K, "SEQ0_64K", prefix 2
}

/// Appends `len` as a little-endian number of `N` bytes. The caller's type guarantees that it fits.
fn encode_length<const N: usize>(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&len.to_le_bytes()[..N]);
}

fn decode_length<const N: usize>(reader: &mut Reader<'_>, field_type: &'static str) -> Result<usize, DecodeError> {
    let bytes: [u8; N] = reader.take_array(field_type)?;
    Ok(bytes.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte)))
}

fn write_hex<'a>(bytes: impl IntoIterator<Item = &'a u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.into_iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::sample::Sample;
    use super::*;

    fn encoded(field: &impl Field) -> Vec<u8> {
        let mut out = Vec::new();
        field.encode(&mut out);
        out
    }

    fn decoded<T: Field>(bytes: &[u8]) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(bytes))
    }

    #[test]
    fn numbers_are_little_endian() {
        assert_eq!(encoded(&0x0102_u16), [2, 1]);
        assert_eq!(encoded(&0x0102_0304_u32), [4, 3, 2, 1]);
        assert_eq!(encoded(&0x0102_0304_0506_0708_u64), [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(encoded(&1.0_f32), [0, 0, 0x80, 0x3f]);
        assert_eq!(decoded::<u32>(&[4, 3, 2, 1]), Ok(0x0102_0304));
    }

    #[test]
    fn only_the_lowest_bit_of_a_bool_counts() {
        assert_eq!(decoded::<bool>(&[0xfe]), Ok(false));
        assert_eq!(decoded::<bool>(&[0x81]), Ok(true));
        assert_eq!(encoded(&true), [1]);
    }

    #[test]
    fn option_holds_at_most_one() {
        assert_eq!(encoded(&Some(7_u32)), [1, 7, 0, 0, 0]);
        assert_eq!(encoded(&None::<u32>), [0]);
        let two = TooLong { field_type: "OPTION", len: 2, max: 1 };
        assert_eq!(decoded::<Option<u32>>(&[2, 0, 0, 0, 0, 0, 0, 0, 0]), Err(two.into()));
    }

    #[test]
    fn length_prefixes_are_one_two_and_three_bytes() {
        assert_eq!(encoded(&B0_255::new([9]).unwrap()), [1, 9]);
        assert_eq!(encoded(&B0_64K::new([9]).unwrap()), [1, 0, 9]);
        assert_eq!(encoded(&B0_16M::new([9]).unwrap()), [1, 0, 0, 9]);
        assert_eq!(encoded(&Str0_255::new("ab").unwrap()), *b"\x02ab");
        assert_eq!(encoded(&Seq0_255::new([0x0102_u16]).unwrap()), [1, 2, 1]);
        assert_eq!(encoded(&Seq0_64K::new([0x0102_u16]).unwrap()), [1, 0, 2, 1]);
        assert_eq!(&encoded(&B0_16M::new(vec![0; 0x01_02_03]).unwrap())[..3], [3, 2, 1]);
    }

    #[test]
    fn each_type_refuses_one_more_than_it_holds() {
        assert!(B0_32::new(&[0; 32]).is_ok() && B0_32::new(&[0; 33]).is_err());
        assert!(B0_255::new([0; 255]).is_ok() && B0_255::new([0; 256]).is_err());
        assert!(B0_64K::new(vec![0; 65_535]).is_ok() && B0_64K::new(vec![0; 65_536]).is_err());
        assert!(B0_16M::new(vec![0; 0xff_ffff]).is_ok() && B0_16M::new(vec![0; 0x100_0000]).is_err());
        assert!(Str0_255::new(&"x".repeat(255)).is_ok() && Str0_255::new(&"x".repeat(256)).is_err());
        assert!(Seq0_255::new(vec![0_u8; 255]).is_ok() && Seq0_255::new(vec![0_u8; 256]).is_err());
        assert!(Seq0_64K::new(vec![0_u8; 65_535]).is_ok() && Seq0_64K::new(vec![0_u8; 65_536]).is_err());
        let mut wire = vec![33];
        wire.extend([0; 33]);
        let error = TooLong { field_type: "B0_32", len: 33, max: 32 };
        assert_eq!(decoded::<B0_32>(&wire), Err(error.into()));
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused_before_anything_is_reserved() {
        let error = DecodeError::Truncated { field_type: "SEQ0_64K", needed: 65_535 * 32, left: 1 };
        assert_eq!(decoded::<Seq0_64K<U256>>(&[0xff, 0xff, 0]), Err(error));
        let error = DecodeError::Truncated { field_type: "B0_16M", needed: 0xff_ffff, left: 0 };
        assert_eq!(decoded::<B0_16M>(&[0xff, 0xff, 0xff]), Err(error));
    }

    #[test]
    fn u256_is_ordered_as_a_number_and_shown_big_endian() {
        let (mut low, mut high) = (U256::MAX, U256::ZERO);
        low.0[31] = 1;
        high.0[31] = 2;
        assert!(low < high);
        assert_eq!(format!("{high:?}"), format!("02{}", "00".repeat(31)));
    }

    #[test]
    fn displayed_strings_cannot_break_a_line() {
        let text = Str0_255::from_bytes(b"a\nb\x1b[0m\xff").unwrap();
        assert_eq!(text.to_string(), "a\u{fffd}b\u{fffd}[0m\u{fffd}");
        assert_eq!(text.to_str(), None);
    }

    fn survives<T: Field + Sample + PartialEq>() {
        proptest!(|(value in T::sample())| {
            let bytes = encoded(&value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(T::decode(&mut reader).unwrap(), value);
            prop_assert!(reader.rest().is_empty());
            prop_assert!(bytes.len() >= T::MIN_LEN);
            // Every proper prefix is too short: nothing is read beyond the end, and nothing is made up.
            for len in 0..bytes.len() {
                prop_assert!(decoded::<T>(&bytes[..len]).is_err());
            }
        });
    }

    #[test]
    fn decode_of_encode_is_identity_and_prefixes_are_errors() {
        survives::<u64>();
        survives::<f32>();
        survives::<U256>();
        survives::<B0_32>();
        survives::<B0_255>();
        survives::<B0_64K>();
        survives::<B0_16M>();
        survives::<Str0_255>();
        survives::<Option<u32>>();
        survives::<Seq0_255<U256>>();
        survives::<Seq0_64K<B0_16M>>();
    }
}
