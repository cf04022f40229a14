//! A map by channel id, for the few channels of one connection.

use std::ops::Index;

/// What a connection keeps for each of its channels, in the order of their ids.
///
/// Nearly every connection has one channel. A tree would reserve room for eleven and a hash table for four, which for
/// thousands of connections is most of what they cost; this takes one entry, and as many more as come. Ids are given
/// out in ascending order, so that what is new comes last. Values are boxed, so that to take one out of thousands moves
/// little.
#[derive(Clone, Debug)]
pub struct ByChannel<T> {
    entries: Vec<(u32, Box<T>)>,
}

impl<T> ByChannel<T> {
    /// Starts with none.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Returns how many channels have a value.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether none has one.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a channel's value. Returns the one that it had, if any.
    pub fn insert(&mut self, channel_id: u32, value: T) -> Option<T> {
        match self.position(channel_id) {
            Ok(index) => Some(std::mem::replace(&mut *self.entries[index].1, value)),
            Err(index) => {
                if self.entries.is_empty() {
                    self.entries.reserve_exact(1);
                }
                self.entries.insert(index, (channel_id, Box::new(value)));
                None
            }
        }
    }

    /// Returns a channel's value.
    pub fn get(&self, channel_id: &u32) -> Option<&T> {
        self.position(*channel_id).ok().map(|index| &*self.entries[index].1)
    }

    /// Returns a channel's value, to change it.
    pub fn get_mut(&mut self, channel_id: &u32) -> Option<&mut T> {
        self.position(*channel_id).ok().map(|index| &mut *self.entries[index].1)
    }

    /// Takes a channel's value out.
    pub fn remove(&mut self, channel_id: &u32) -> Option<T> {
        let index = self.position(*channel_id).ok()?;
        Some(*self.entries.remove(index).1)
    }

    /// Returns the ids in ascending order.
    pub fn keys(&self) -> impl Iterator<Item = &u32> {
        self.entries.iter().map(|(channel_id, _)| channel_id)
    }

    /// Returns the ids in ascending order, and lets go of the values.
    pub fn into_keys(self) -> impl Iterator<Item = u32> {
        self.entries.into_iter().map(|(channel_id, _)| channel_id)
    }

    /// Returns the values in the order of the ids.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| &**value)
    }

    /// Returns the values in the order of the ids, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| &mut **value)
    }

    fn position(&self, channel_id: u32) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&channel_id, |(id, _)| *id)
    }
}

// Not derived: that would ask `T: Default`.
impl<T> Default for ByChannel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<&u32> for ByChannel<T> {
    type Output = T;

    /// # Panics
    ///
    /// If the channel has no value.
    fn index(&self, channel_id: &u32) -> &T {
        self.get(channel_id).expect("the channel has a value")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes and goes, it holds what a map of the standard library would.
        #[test]
        fn it_is_a_map_in_the_order_of_ids(steps in prop::collection::vec((any::<bool>(), 0..8_u32, any::<u8>()), 0..60)) {
            let (mut ours, mut model) = (ByChannel::new(), BTreeMap::new());
            for (comes, channel_id, value) in steps {
                match comes {
                    true => prop_assert_eq!(ours.insert(channel_id, value), model.insert(channel_id, value)),
                    false => prop_assert_eq!(ours.remove(&channel_id), model.remove(&channel_id)),
                }
                prop_assert_eq!(ours.get(&channel_id), model.get(&channel_id));
                prop_assert_eq!(ours.get_mut(&channel_id), model.get_mut(&channel_id));
                prop_assert_eq!((ours.len(), ours.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(ours.keys().eq(model.keys()) && ours.values().eq(model.values()));
            }
            prop_assert!(ours.values_mut().eq(model.values_mut()));
            prop_assert!(ours.into_keys().eq(model.into_keys()));
        }
    }
}
