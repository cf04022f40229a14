//! The books of acknowledgements: which submissions of a channel wait for an answer, and since when.

use std::collections::VecDeque;

/// Submissions of one channel that were not answered yet, in the order of their sequence numbers.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    waiting: VecDeque<Submitted>,
}

#[derive(Clone, Copy, Debug)]
struct Submitted {
    sequence_number: u32,
    /// In microseconds of the caller's clock.
    at_us: u64,
}

impl Unanswered {
    /// Returns how many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a submission. Sequence numbers grow.
    pub(super) fn submit(&mut self, sequence_number: u32, at_us: u64) {
        self.waiting.push_back(Submitted { sequence_number, at_us });
    }

    /// Takes the submissions that an acknowledgement up to `last_sequence_number` settles, each with its time, and returns
    /// how many they are. All before it that were not refused count as acknowledged (SV2 5.3.13).
    pub(super) fn acknowledge(&mut self, last_sequence_number: u32, mut each: impl FnMut(u64)) -> u64 {
        let mut count = 0;
        while let Some(oldest) = self.waiting.front()
            && oldest.sequence_number <= last_sequence_number
        {
            each(oldest.at_us);
            self.waiting.pop_front();
            count += 1;
        }
        count
    }

    /// Takes one submission, which was refused. Tells whether it was waiting.
    pub(super) fn refuse(&mut self, sequence_number: u32) -> bool {
        let found = self.waiting.binary_search_by_key(&sequence_number, |submitted| submitted.sequence_number);
        found.is_ok_and(|index| self.waiting.remove(index).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sequence_numbers: std::ops::RangeInclusive<u32>) -> Unanswered {
        let mut unanswered = Unanswered::default();
        sequence_numbers.for_each(|number| unanswered.submit(number, u64::from(number) * 100));
        unanswered
    }

    fn times(unanswered: &mut Unanswered, last_sequence_number: u32) -> Vec<u64> {
        let mut times = Vec::new();
        let count = unanswered.acknowledge(last_sequence_number, |at_us| times.push(at_us));
        assert_eq!(count, times.len() as u64);
        times
    }

    #[test]
    fn an_acknowledgement_settles_all_up_to_its_number_and_none_behind() {
        let mut unanswered = with(1..=12);
        assert_eq!(times(&mut unanswered, 3), [100, 200, 300]);
        assert!(times(&mut unanswered, 3).is_empty());
        assert_eq!((times(&mut unanswered, 10).len(), unanswered.count()), (7, 2));
    }

    #[test]
    fn a_refused_submission_is_not_acknowledged_by_a_later_one() {
        let mut unanswered = with(1..=5);
        assert!(unanswered.refuse(2));
        assert!(!unanswered.refuse(2) && !unanswered.refuse(77));
        assert_eq!(times(&mut unanswered, 4), [100, 300, 400]);
        assert!(!unanswered.refuse(4), "it was acknowledged");
        assert_eq!(unanswered.count(), 1);
    }
}
