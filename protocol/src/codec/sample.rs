//! Random field values for the round-trip properties of this crate's messages.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A type of which tests can draw values that span its whole range.
pub(crate) trait Sample: Sized + fmt::Debug {
    fn sample() -> BoxedStrategy<Self>;
}

macro_rules! sample {
    ($($type:ty => $strategy:expr;)*) => {$(
        impl Sample for $type {
            fn sample() -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )*};
}

sample! {
    bool => any::<bool>();
    u8 => any::<u8>();
    u16 => any::<u16>();
    u32 => any::<u32>();
    u64 => any::<u64>();
    f32 => any::<f32>().prop_filter("NaN does not equal itself", |number| !number.is_nan());
    U256 => any::<[u8; 32]>().prop_map(U256);
    B0_32 => vec(any::<u8>(), 0..=32).prop_map(|bytes| B0_32::new(&bytes).unwrap());
    B0_255 => vec(any::<u8>(), 0..=255).prop_map(|bytes| B0_255::new(bytes).unwrap());
    B0_64K => vec(any::<u8>(), 0..=600).prop_map(|bytes| B0_64K::new(bytes).unwrap());
    B0_16M => vec(any::<u8>(), 0..=600).prop_map(|bytes| B0_16M::new(bytes).unwrap());
    Str0_255 => vec(any::<u8>(), 0..=255).prop_map(|bytes| Str0_255::from_bytes(&bytes).unwrap());
}

impl<T: Sample + Clone + 'static> Sample for Option<T> {
    fn sample() -> BoxedStrategy<Self> {
        proptest::option::of(T::sample()).boxed()
    }
}

impl<T: Sample + Clone + 'static> Sample for Seq0_255<T> {
    fn sample() -> BoxedStrategy<Self> {
        vec(T::sample(), 0..=20).prop_map(|elements| Self::new(elements).unwrap()).boxed()
    }
}

impl<T: Sample + Clone + 'static> Sample for Seq0_64K<T> {
    fn sample() -> BoxedStrategy<Self> {
        vec(T::sample(), 0..=20).prop_map(|elements| Self::new(elements).unwrap()).boxed()
    }
}
