//! Prints the path of a `bitcoind`, which it builds first where there is none.
//!
//! Only the path goes to standard output, so that a script can take it from there.

/// Finds or builds `bitcoind` and prints where it is.
fn main() -> Result<(), bitcoind_regtest::Error> {
    println!("{}", bitcoind_regtest::find_or_build()?.display());
    Ok(())
}
