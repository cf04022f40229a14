//! Open files: how many connections fit into what the system allows this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

/// Open files beside those of miners: the database, the node, found blocks, commands. They must never fail for want of a
/// descriptor, least of all the file and the call that a found block needs.
const RESERVED: u64 = 128;

/// Has the system allow so many connections, and returns how many fit: all, or fewer if the system allows no more.
pub(crate) fn fit(connections: usize) -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            warn!(%error, "it is not known how many files may be open");
            return connections;
        }
    };
    let wanted = RESERVED.saturating_add(connections as u64);
    let raised = wanted.clamp(soft.min(hard), hard);
    let allowed = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(error) => {
            warn!(%error, "no more files may be open");
            soft
        }
    };
    let fitting = fitting(connections, allowed);
    if fitting < connections {
        warn!(
            files = allowed,
            connections = fitting,
            "the system allows too few open files for stratum.max_connections: raise its limit (ulimit -n, LimitNOFILE)"
        );
    } else if allowed > soft {
        info!(files = allowed, "limit of open files raised");
    }
    fitting
}

/// Returns how many connections leave room for everything else; at least one.
pub(crate) fn fitting(connections: usize, files: u64) -> usize {
    let room = usize::try_from(files.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    connections.min(room).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        assert_eq!(fitting(10_000, 20_000), 10_000);
        assert_eq!(fitting(10_000, 1_024), 1_024 - 128);
        assert_eq!(fitting(10_000, 64), 1);
    }
}
