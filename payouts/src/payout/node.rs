//! What payouts ask of the node: a price, and to pass a transaction on.

use std::str::FromStr;

use bitcoin::{Amount, FeeRate, Transaction, consensus::encode::serialize_hex};
use bitcoincore_rpc::{Client, RpcApi, jsonrpc};
use serde_json::{Value, json};

use crate::{crash_point, payout::PayoutPolicy};

/// Bitcoin Core's code for a transaction whose outputs are already in the chain.
const RPC_VERIFY_ALREADY_IN_UTXO_SET: i32 = -27;
/// Bitcoin Core's codes for a transaction that it does not take, for what the transaction is.
const RPC_VERIFY_REFUSED: [i32; 3] = [-22, -25, -26];

/// What the node said to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// The node has it, in the mempool or in the chain.
    Accepted,
    /// The node does not take it, for this reason.
    Refused(String),
    /// No usable answer: the node may have it or not.
    Unknown(String),
}

/// Gives a transaction to the node. The same one can be given any number of times.
pub(super) fn submit(rpc: &Client, transaction: &Transaction) -> Submission {
    crash_point::reach(format_args!("before sendrawtransaction"));
    let answer = rpc.call::<Value>("sendrawtransaction", &[json!(serialize_hex(transaction))]);
    crash_point::reach(format_args!("after sendrawtransaction"));
    match answer {
        Ok(_) => Submission::Accepted,
        Err(bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error))) => {
            let known =
                ["txn-already-in-mempool", "txn-already-known"].iter().any(|known| error.message.contains(known));
            if known || error.code == RPC_VERIFY_ALREADY_IN_UTXO_SET {
                Submission::Accepted
            } else if RPC_VERIFY_REFUSED.contains(&error.code) {
                Submission::Refused(error.message)
            } else {
                Submission::Unknown(error.message)
            }
        }
        Err(error) => Submission::Unknown(error.to_string()),
    }
}

/// Returns the fee rate for a payout now: the node's estimate, or the policy's fallback if there is none; never under
/// what the mempool asks or the policy's minimum, unless that is over its maximum.
pub(super) fn fee_rate(rpc: &Client, policy: &PayoutPolicy) -> FeeRate {
    let estimate = rpc
        .call::<Value>("estimatesmartfee", &[json!(policy.confirm_within_blocks)])
        .ok()
        .and_then(|answer| rate(&answer, "feerate"))
        .unwrap_or(policy.fallback_fee_rate);
    let least = rpc
        .call::<Value>("getmempoolinfo", &[])
        .ok()
        .and_then(|answer| rate(&answer, "mempoolminfee"))
        .unwrap_or(FeeRate::BROADCAST_MIN);
    estimate.max(least).max(policy.min_fee_rate).min(policy.max_fee_rate)
}

/// Returns by how much, at least, a replacement must pay more than what it replaces, for its own size (BIP 125).
pub(super) fn incremental_fee_rate(rpc: &Client) -> FeeRate {
    let answer = rpc.call::<Value>("getmempoolinfo", &[]).ok();
    answer.and_then(|answer| rate(&answer, "incrementalrelayfee")).unwrap_or(FeeRate::BROADCAST_MIN)
}

/// Reads a rate in BTC per 1,000 virtual bytes, rounded up to whole satoshis per 1,000 weight units.
fn rate(answer: &Value, field: &str) -> Option<FeeRate> {
    let per_kvb = decimal(&answer.get(field)?.as_number()?.to_string())?;
    Some(FeeRate::from_sat_per_kwu(per_kvb.to_sat().div_ceil(4)))
}

/// Reads a decimal amount of bitcoin as it stands in JSON, also with an exponent as in `1e-05`.
fn decimal(text: &str) -> Option<Amount> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = u64::from_str(&format!("{whole}{fraction}")).ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(8)?;
    let scale = 10u64.checked_pow(shift.unsigned_abs())?;
    let sat = if shift < 0 { number.div_ceil(scale) } else { number.checked_mul(scale)? };
    Some(Amount::from_sat(sat))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rates_are_read_exactly_and_rounded_up() {
        let rate = |text: &str| rate(&serde_json::from_str(text).unwrap(), "feerate");
        assert_eq!(rate(r#"{"feerate":0.00001000}"#), Some(FeeRate::from_sat_per_kwu(250)));
        assert_eq!(rate(r#"{"feerate":0.00012345,"blocks":6}"#), Some(FeeRate::from_sat_per_kwu(3_087)));
        assert_eq!(rate(r#"{"feerate":1e-6}"#), Some(FeeRate::from_sat_per_kwu(25)));
        assert_eq!(rate(r#"{"feerate":1}"#), Some(FeeRate::from_sat_per_kwu(25_000_000)));
        assert_eq!(rate(r#"{"errors":["Insufficient data or no feerate found"],"blocks":0}"#), None);
        assert_eq!(rate(r#"{"feerate":-1}"#), None);
    }
}
