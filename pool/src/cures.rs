//! The codes that miners are told, each with what is wrong and the cure: the one place that pages take them from.
//!
//! `docs/errors.md` has the same for readers; a test compares both with each other and with the codes in the program. A
//! text may have code in it, between backticks.

/// A code that the pool answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cure {
    /// The code, as it is on the wire.
    pub code: &'static str,
    /// What is refused with it.
    pub of: Refused,
    /// What is wrong.
    pub meaning: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// What can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A connection's setup: the connection is closed then.
    Setup,
    /// The opening or the update of a channel.
    Channel,
    /// A share.
    Share,
    /// A job that the client has made itself.
    Job,
}

/// Returns what a code means; nothing for one that the pool does not use.
pub fn find(code: &str) -> Option<&'static Cure> {
    CURES.iter().find(|cure| cure.code == code)
}

const fn setup(code: &'static str, meaning: &'static str, cure: &'static str) -> Cure {
    Cure { code, of: Refused::Setup, meaning, cure }
}

const fn channel(code: &'static str, meaning: &'static str, cure: &'static str) -> Cure {
    Cure { code, of: Refused::Channel, meaning, cure }
}

const fn share(code: &'static str, meaning: &'static str, cure: &'static str) -> Cure {
    Cure { code, of: Refused::Share, meaning, cure }
}

/// All codes, in the order of a connection's life.
pub const CURES: &[Cure] = &[
    setup(
        "unsupported-protocol",
        "the client wants another protocol than mining, such as template distribution",
        "correct the client's pool entry: this port serves miners and proxies only",
    ),
    setup("protocol-version-mismatch", "the client does not speak version 2", "update its firmware"),
    setup(
        "unsupported-feature-flags",
        "the client requires something that the pool does not offer; the flags in the answer say what",
        "turn the feature off in the client",
    ),
    channel(
        "unknown-user",
        "no such account, an address of another network, or registration is closed",
        "correct the user, or `adit account add NAME ADDRESS`",
    ),
    channel(
        "invalid-user-identity",
        "neither address nor name, over 127 characters, a worker over 32, an unknown option; of a share: a worker's name \
         that cannot be read",
        "write `ADDRESS.WORKER`; give a long Taproot address a name",
    ),
    channel("invalid-nominal-hashrate", "the declared hash rate is negative or not a number", "update the firmware"),
    channel(
        "max-target-out-of-range",
        "the client's easiest target is zero, or harder than the pool's range; also in `UpdateChannel.Error`",
        "take a wish for a difficulty out of the device's settings",
    ),
    channel(
        "min-extranonce-size-too-large",
        "the client asks for more than 16 bytes",
        "lower the extranonce size of the proxy",
    ),
    channel(
        "channel-capacity-exhausted",
        "more channels than `stratum.max_channels_per_connection`, or the pool is full",
        "raise the setting: a proxy without `aggregate_channels` opens a channel for each miner",
    ),
    channel(
        "extended-channels-not-supported-for-standard-jobs",
        "the client has said at setup that it takes standard jobs only",
        "correct the client: it contradicts itself",
    ),
    channel(
        "standard-channels-not-supported-for-custom-work",
        "the client has said at setup that it makes its own jobs",
        "let it open an extended channel",
    ),
    share(
        "stale-share",
        "the share is for a block that has been found already",
        "none if it is below one in a hundred; else look at the network's delay to the pool",
    ),
    share(
        "invalid-job-id",
        "the job is unknown, or too old",
        "the device kept work over a reconnection; restart it if that goes on",
    ),
    share(
        "invalid-channel-id",
        "there is no such channel on this connection; also in `UpdateChannel.Error`",
        "the device kept a channel over a reconnection; restart it",
    ),
    share(
        "difficulty-too-low",
        "the hash is above the target of its job",
        "lower an overclock that makes errors; update firmware that rounds difficulties",
    ),
    share(
        "duplicate-share",
        "the same share was handed in before",
        "update the firmware; two devices behind one proxy may search the same space",
    ),
    share(
        "invalid-share",
        "the time is outside of what the job allows, or the channel has handed in more shares for this job than are \
         remembered",
        "set the device's clock; raise `limits.shares_per_job` for a very fast proxy",
    ),
    share(
        "invalid-non-rollable-version-bit",
        "a version bit was changed that may not be (BIP 323)",
        "correct the version mask of the device or proxy",
    ),
    share("bad-extranonce-size", "the extranonce has another length than was granted", "update the proxy"),
    share(
        "share-not-stored",
        "the database cannot be written, and too many shares wait for it",
        "the operator's: see `database` in runbook.md. Blocks are sent to the network all the same",
    ),
    Cure {
        code: "jd-not-supported",
        of: Refused::Job,
        meaning: "the pool makes all jobs itself",
        cure: "turn job declaration off, or let the client fall back to pool templates",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_and_one_that_there_is_not_is_none() {
        assert_eq!(find("stale-share").map(|cure| cure.of), Some(Refused::Share));
        assert_eq!(find("no-such-code"), None);
    }
}
