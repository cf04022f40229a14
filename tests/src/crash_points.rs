//! The points at which a pool of a debug build can be made to die, as its `payouts::crash_point` knows them.

/// The variable that arms points in a pool that is started with it. With `panic ` before its name, a point has the task of the
/// pool panic that reaches it.
pub const VARIABLE: &str = "ADIT_CRASH_POINT";

/// The steps of a pool's life that must last. The pool can die `before` and `after` each.
pub const STEPS: [&str; 19] = [
    "begin session",
    "keep block",
    "submitblock",
    "forget block",
    "append shares",
    "step history",
    "append wallet change",
    "append journal",
    "commit block_found",
    "commit orphaned",
    "commit reconnected",
    "commit matured",
    "commit unmatured",
    "commit payout_created",
    "store signed",
    "sendrawtransaction",
    "commit broadcast",
    "commit confirmed",
    "commit reversed",
];

/// Further steps, of what an operator says about parties.
pub const OF_PARTIES: [&str; 2] = ["save party", "erase party"];

/// Further steps, of what is asked for by the API and of who may ask.
pub const OF_THE_API: [&str; 6] =
    ["add token", "revoke token", "begin audit", "end audit", "claim answer", "keep answer"];

/// Steps that a death can halve, with `amid` before them too.
pub const HALVED: [&str; 2] = ["amid keep block", "amid forget block"];
