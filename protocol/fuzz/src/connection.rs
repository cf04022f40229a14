//! The state machines of both roles, as a sequence of operations.
//!
//! Three scenes: both ends with somebody on the wire between them, who cuts, flips, drops, repeats and makes up bytes;
//! a server and a peer with the keys that sends what it likes; a client and such a peer. Messages are sent at right
//! and wrong times, time passes, extensions are negotiated.
//!
//! An input is the scene, a [`Setting`], and then operations: a byte that chooses it, and what it needs.

mod bare;
mod wire;
mod words;

use arbitrary::{Result, Unstructured};

use self::bare::{BareClient, BareServer};
use self::wire::Wire;
use super::ends::Setting;

const MAX_OPERATIONS: usize = 64;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Whatever is missing at the end of an input is zero, so that reading cannot fail.
    let _ = read_and_run(&mut input);
}

fn read_and_run(input: &mut Unstructured<'_>) -> Result<()> {
    let (scene, setting) = (input.arbitrary::<u8>()?, Setting(input.arbitrary()?));
    match scene % 3 {
        0 => Wire::new(setting).run(input),
        1 => BareClient::new(setting).run(input),
        _ => BareServer::new(setting).run(input),
    }
}
