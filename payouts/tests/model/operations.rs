//! What can happen to a pool. Operations name blocks, branches and groups by numbers that wrap around, so that any list
//! of them can be run, and one that fails can be cut down.

use proptest::prelude::*;

use crate::{
    bench::MINERS,
    faults::{self, Fault},
};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A miner's shares are stored; after a fault they are handed in again.
    /// They are cut off by a job, or the next come to the same segment.
    Shares { miner: usize, count: u8, log2: i8, network_log2: u8, cut: bool, fault: Option<Fault> },
    /// The newest shares are handed in once more.
    SharesAgain,
    /// The pool finds a block, whose job was made some groups of shares ago.
    Find { finder: usize, stale: u8, value_sat: u64, filled: bool, news: News, rival: bool, fault: Option<Fault> },
    /// Others find blocks.
    Mine { blocks: u8, filled: bool },
    /// Others find blocks enough to make a coinbase spendable.
    Bury { filled: bool },
    /// The newest blocks are replaced by one more. The first of them may be the pool's own.
    Reorganise { depth: u32, ours: bool, filled: bool, forgotten: bool, finder: usize, value_sat: u64 },
    /// A branch that was left becomes the best again.
    Return { branch: usize },
    /// The books hear of a block that was found, for the first time or once more.
    Tell { block: usize, fault: Option<Fault> },
    /// The books hear of a block with other facts.
    Contradict { block: usize },
    /// All blocks are settled as the chain is.
    Settle { backwards: bool, fault: Option<Fault> },
    /// One block is settled as the chain was some time ago.
    SettleLate { block: usize, seen: usize, fault: Option<Fault> },
    /// The payer does what it can.
    Step { fault: Option<Fault> },
    /// The pool is stopped and started.
    Restart { fault: Option<Fault> },
    /// The node forgets what waits.
    Forget,
    /// The node's estimate and the mempool's least fee change, in satoshis per virtual byte.
    Fees { estimate: Option<u32>, floor: u32 },
    /// A batch's transaction is replaced by one that pays more, in satoshis per virtual byte.
    Bump { batch: usize, rate: u32, fault: Option<Fault> },
    /// A transaction that was replaced waits again, in the place of what replaced it, and may be mined at once.
    Recall { which: usize, mined: bool },
    /// A batch that waits for it is approved.
    Approve { batch: usize, fault: Option<Fault> },
    /// A batch is given up, if it is not signed.
    Cancel { batch: usize, fault: Option<Fault> },
    /// A miner is not paid any more.
    Restrain { miner: usize, fault: Option<Fault> },
    /// A miner is paid again.
    Lift { miner: usize, fault: Option<Fault> },
    /// All that is due is paid now, or a miner.
    Run { miner: Option<usize>, fault: Option<Fault> },
    /// A miner has a threshold of its own, or none.
    Threshold { miner: usize, sat: Option<u64>, fault: Option<Fault> },
    /// Somebody pays the pool.
    Deposit { value_sat: u64 },
    /// Somebody else spends a coin that a batch is about to spend.
    Steal { batch: usize },
    /// Books and wallet are brought to the tip, and compared with the model.
    Compare,
}

/// When the books hear of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// At once.
    Once,
    /// At once, and again.
    Twice,
    /// Some time later.
    Late,
}

/// What happens often in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Climate {
    /// A bit of everything.
    Mixed,
    /// The pool and its database fail.
    Crashes,
    /// The chain is reorganised, also deeply.
    Reorganisations,
    /// The node loses replies and transactions, and fees change.
    Node,
}

/// Lists of operations of a climate. Each begins with a pool that pays what it has earned.
pub(crate) fn operations(climate: Climate) -> impl Strategy<Value = Vec<Operation>> {
    let (fault, deep, branches, node) = match climate {
        Climate::Mixed => (20, 1, 2, 2),
        Climate::Crashes => (60, 1, 1, 1),
        Climate::Reorganisations => (10, 3, 6, 1),
        Climate::Node => (40, 1, 1, 6),
    };
    let shares = (0..MINERS, 1..6u8, -6..2i8, 0..2u8, prop::bool::weighted(0.6), faults::of_store(fault / 2)).prop_map(
        |(miner, count, log2, network_log2, cut, fault)| Operation::Shares {
            miner,
            count,
            log2,
            network_log2,
            cut,
            fault,
        },
    );
    let find = (0..MINERS, 0..4u8, value(), any::<bool>(), news(), prop::bool::weighted(0.15), faults::of_store(fault))
        .prop_map(|(finder, stale, value_sat, filled, news, rival, fault)| Operation::Find {
            finder,
            stale,
            value_sat,
            filled,
            news,
            rival,
            fault,
        });
    let mine = (1..5u8, prop::bool::weighted(0.7)).prop_map(|(blocks, filled)| Operation::Mine { blocks, filled });
    let bury = any::<bool>().prop_map(|filled| Operation::Bury { filled });
    let depth = prop_oneof![6 => 1..5u32, deep => 5..60u32, deep => 95..140u32, 1 => 140..250u32];
    let reorganise = (depth, any::<bool>(), any::<bool>(), any::<bool>(), 0..MINERS, value()).prop_map(
        |(depth, ours, filled, forgotten, finder, value_sat)| Operation::Reorganise {
            depth,
            ours,
            filled,
            forgotten,
            finder,
            value_sat,
        },
    );
    let which = || 0..64usize;
    let settle =
        (any::<bool>(), faults::of_store(fault)).prop_map(|(backwards, fault)| Operation::Settle { backwards, fault });
    let settle_late = (which(), which(), faults::of_store(fault / 2))
        .prop_map(|(block, seen, fault)| Operation::SettleLate { block, seen, fault });
    let fees = (prop::option::of(1..60u32), prop_oneof![2 => Just(1u32), 1 => 1..30u32])
        .prop_map(|(estimate, floor)| Operation::Fees { estimate, floor });
    let any = prop_oneof![
        6 => shares.clone(),
        1 => Just(Operation::SharesAgain),
        6 => find.clone(),
        6 => mine,
        3 => bury,
        branches => reorganise,
        branches => which().prop_map(|branch| Operation::Return { branch }),
        2 => (which(), faults::of_store(fault)).prop_map(|(block, fault)| Operation::Tell { block, fault }),
        1 => which().prop_map(|block| Operation::Contradict { block }),
        5 => settle,
        2 => settle_late,
        10 => faults::of_any(fault).prop_map(|fault| Operation::Step { fault }),
        2 => faults::of_any(fault).prop_map(|fault| Operation::Restart { fault }),
        node => Just(Operation::Forget),
        node => fees,
        14 => orders(fault),
        1 => (1..200_000_000u64).prop_map(|value_sat| Operation::Deposit { value_sat: value_sat + 1_000 }),
        4 => (which(), any::<bool>()).prop_map(|(which, mined)| Operation::Recall { which, mined }),
        2 => which().prop_map(|batch| Operation::Steal { batch }),
        1 => Just(Operation::Compare),
    ];
    let beginning = (shares.clone(), shares, find.clone(), find).prop_map(|(one, two, three, four)| {
        let settle = Operation::Settle { backwards: false, fault: None };
        let step = Operation::Step { fault: None };
        vec![one, two, three, four, Operation::Bury { filled: true }, settle, step]
    });
    (beginning, prop::collection::vec(any, 10..55)).prop_map(|(mut all, more)| {
        all.extend(more);
        all
    })
}

/// What an operator asks for.
fn orders(fault: u32) -> impl Strategy<Value = Operation> {
    let (which, miner, fault) = (|| 0..64usize, || 0..MINERS, || faults::of_any(fault));
    let threshold = prop::option::of(1_000..500_000_000u64);
    prop_oneof![
        10 => (which(), 2..220u32, fault()).prop_map(|(batch, rate, fault)| Operation::Bump { batch, rate, fault }),
        6 => (which(), fault()).prop_map(|(batch, fault)| Operation::Approve { batch, fault }),
        2 => (which(), fault()).prop_map(|(batch, fault)| Operation::Cancel { batch, fault }),
        2 => (miner(), fault()).prop_map(|(miner, fault)| Operation::Restrain { miner, fault }),
        2 => (miner(), fault()).prop_map(|(miner, fault)| Operation::Lift { miner, fault }),
        2 => (prop::option::weighted(0.7, miner()), fault()).prop_map(|(miner, fault)| Operation::Run { miner, fault }),
        1 => (miner(), threshold, fault()).prop_map(|(miner, sat, fault)| Operation::Threshold { miner, sat, fault }),
    ]
}

/// What a coinbase pays: the subsidy and some fees.
fn value() -> impl Strategy<Value = u64> + Clone {
    crate::world::SUBSIDY_SAT..2 * crate::world::SUBSIDY_SAT
}

fn news() -> impl Strategy<Value = News> + Clone {
    prop_oneof![4 => Just(News::Once), 1 => Just(News::Twice), 2 => Just(News::Late)]
}
