//! The coinbase of an extended job: whether a block could begin with it.

use bitcoin::{Transaction, consensus::deserialize};

use super::{channel::Form, check::Check, report::Findings};

/// What a coinbase's script may be long, in bytes (consensus).
const SCRIPT_SIZES: std::ops::RangeInclusive<usize> = 2..=100;
/// Where a script's length byte stands without witness: behind version, input count and outpoint.
const SCRIPT_LENGTH_AT: usize = 4 + 1 + 36;
/// What stands behind the version of a transaction with witness (BIP 144).
const WITNESS_MARKER: [u8; 2] = [0, 1];

/// Checks the coinbase of a job.
pub(super) fn check(form: &Form, findings: &mut Findings) {
    let Form::Coinbase { prefix, size, suffix, .. } = form else { return };
    let has_witness = prefix.get(4..6) == Some(&WITNESS_MARKER);
    let seen = || "marker and flag of BIP 144".to_owned();
    findings.judge(Check::WitnessStripped, !has_witness, "a coinbase without witness", seen);
    if has_witness {
        return;
    }
    let bytes = [prefix.as_slice(), &vec![0; *size], suffix].concat();
    match judge(&bytes, prefix.len() + size) {
        Ok(()) => findings.held(Check::CoinbaseScript),
        Err(seen) => findings.broken(Check::CoinbaseScript, "a coinbase whose script holds the extranonce", seen),
    }
}

/// Says what is wrong with a coinbase whose extranonce ends at `extranonce_end`.
fn judge(bytes: &[u8], extranonce_end: usize) -> Result<(), String> {
    let coinbase: Transaction = deserialize(bytes).map_err(|error| format!("no transaction: {error}"))?;
    if !coinbase.is_coinbase() {
        return Err("a transaction that is no coinbase".into());
    }
    let script = coinbase.input[0].script_sig.len();
    if !SCRIPT_SIZES.contains(&script) {
        return Err(format!("a script of {script} bytes"));
    }
    if extranonce_end > SCRIPT_LENGTH_AT + 1 + script {
        return Err("a script that ends before the extranonce does".into());
    }
    Ok(())
}
