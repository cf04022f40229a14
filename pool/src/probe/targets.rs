//! Targets: those that channels open with, and their changes by `UpdateChannel`.

use bitcoin::Target;
use protocol::{
    codec::U256,
    framing::Header,
    messages::{
        Message,
        mining::{ServerMessage, UpdateChannel},
    },
};

use super::{
    ProbeConfig,
    board::show_target,
    check::Check,
    peer::{Incoming, Lost, Peer},
    report::Findings,
};

/// Zero bits at the top of a target beyond which nothing is ever found.
const MAX_ZERO_BITS: usize = 112;
/// How much of a difficulty may be lost by cutting its fraction off.
const NEGLIGIBLE: f64 = 0.001;

/// The target of difficulty 2^`log2`.
pub(super) fn difficulty(log2: usize) -> U256 {
    let mut bytes = [0; 32];
    let bit = 208 - log2;
    let mantissa = 0xffff_u32 << (bit % 8);
    bytes[bit / 8..bit / 8 + 4].copy_from_slice(&mantissa.to_le_bytes());
    U256(bytes)
}

/// Judges the target that a channel opens with.
pub(super) fn judge_first(target: U256, max_target: U256, findings: &mut Findings) {
    let mut reversed = target;
    reversed.0.reverse();
    // A number with ones at the low end and zeros at the high end, the wrong way round.
    let looks_reversed = target > max_target || !is_possible(target) || (target.0[31] != 0 && target.0[0] == 0);
    if (looks_reversed && is_possible(reversed) && reversed <= max_target) || target == U256::ZERO {
        let seen = format!("{} as a little-endian number", show_target(target));
        return findings.broken(Check::TargetByteOrder, "a target that can be met", seen);
    }
    findings.held(Check::TargetByteOrder);
    let seen = || show_target(target);
    findings.judge(Check::MaxTarget, target <= max_target, format!("at most {}", show_target(max_target)), seen);
    let difficulty = Target::from_le_bytes(target.0).difficulty_float();
    if difficulty >= 1.0 {
        let holds = difficulty.fract() <= difficulty * NEGLIGIBLE;
        findings.judge(Check::WholeDifficulty, holds, "a whole number", || format!("difficulty {difficulty:.3}"));
    }
}

fn is_possible(target: U256) -> bool {
    target.0.iter().rev().take(MAX_ZERO_BITS / 8).any(|&byte| byte != 0)
}

/// What came of an update.
enum Answer {
    Target(U256),
    Refused(String),
    Lost(Lost),
}

/// Asks a channel for a harder target. Returns the new one.
pub(super) async fn tighten(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Option<U256> {
    let maximum_target = difficulty(9);
    match update(peer, config, channel_id, maximum_target).await {
        Answer::Target(target) => {
            peer.findings.held(Check::UpdateReflected);
            let expected = format!("at most {}", show_target(maximum_target));
            let holds = target <= maximum_target;
            peer.findings.judge(Check::UpdateMaxTarget, holds, expected, || show_target(target));
            Some(target)
        }
        Answer::Refused(code) => {
            peer.findings.broken(Check::UpdateReflected, "SetTarget", format!("UpdateChannel.Error: {code}"));
            None
        }
        Answer::Lost(lost) => {
            peer.findings.broken(Check::UpdateReflected, "SetTarget", lost.to_string());
            None
        }
    }
}

/// Checks updates that no rule says must be answered, and those that cannot be fulfilled. Follows [`tighten`]; the last
/// may cost the connection.
pub(super) async fn check_updates(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) {
    match update(peer, config, channel_id, difficulty(9)).await {
        Answer::Target(_) => peer.findings.held(Check::UpdateAnswered),
        Answer::Refused(code) => peer.findings.broken(Check::UpdateAnswered, "SetTarget", code),
        Answer::Lost(lost) => peer.findings.broken(Check::UpdateAnswered, "SetTarget", lost.to_string()),
    }
    let unknown = peer.board.unused_channel_id();
    match update(peer, config, unknown, difficulty(9)).await {
        Answer::Refused(_) => peer.findings.held(Check::UpdateRefused),
        Answer::Target(_) => peer.findings.broken(Check::UpdateRefused, "UpdateChannel.Error", "SetTarget"),
        Answer::Lost(lost) => peer.findings.broken(Check::UpdateRefused, "UpdateChannel.Error", lost.to_string()),
    }
    let (nominal_hash_rate, maximum_target) = (config.hash_rate, difficulty(10));
    let message = UpdateChannel { channel_id, nominal_hash_rate, maximum_target };
    let mut payload = Vec::new();
    message.encode(&mut payload);
    let mut header = Header::of::<UpdateChannel>(payload.len()).expect("the message is short");
    header.channel_msg = false;
    peer.send_frame(header, &payload).await;
    match answer(peer, channel_id).await {
        Answer::Lost(lost) => peer.findings.broken(Check::ChannelBitOptional, "an answer", lost.to_string()),
        _ => peer.findings.held(Check::ChannelBitOptional),
    }
}

async fn update(peer: &mut Peer, config: &ProbeConfig, channel_id: u32, maximum_target: U256) -> Answer {
    peer.send(&UpdateChannel { channel_id, nominal_hash_rate: config.hash_rate, maximum_target }).await;
    answer(peer, channel_id).await
}

/// Waits for the answer to an update, for the channel or for its group.
async fn answer(peer: &mut Peer, channel_id: u32) -> Answer {
    let answer = peer.wait_for(peer.deadline(), |incoming, board| {
        let concerns = |id| id == channel_id || board.channel(channel_id).is_some_and(|channel| channel.group_id == id);
        match incoming {
            Incoming::Mining(ServerMessage::SetTarget(set)) if concerns(set.channel_id) => {
                Some(Answer::Target(set.maximum_target))
            }
            Incoming::Mining(ServerMessage::UpdateChannelError(error)) if concerns(error.channel_id) => {
                Some(Answer::Refused(error.error_code.to_string()))
            }
            _ => None,
        }
    });
    answer.await.unwrap_or_else(Answer::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::report::Outcome;

    fn outcomes(target: U256, max_target: U256) -> Vec<&'static str> {
        let mut findings = Findings::default();
        judge_first(target, max_target, &mut findings);
        let report = findings.into_report(String::new(), 0, "");
        let broken = |outcome: &Outcome| matches!(outcome, Outcome::Broken { .. });
        report.checks.iter().filter(|line| broken(&line.outcome)).map(|line| line.id).collect()
    }

    fn reversed(mut target: U256) -> U256 {
        target.0.reverse();
        target
    }

    fn number(big_endian: &str) -> U256 {
        let digits = format!("{big_endian:0<64}");
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).expect("the digits are hexadecimal");
        bytes.reverse();
        U256(bytes)
    }

    #[test]
    fn powers_of_two_are_whole_difficulties() {
        assert_eq!(difficulty(0), number("00000000ffff"));
        assert_eq!(difficulty(9), number("00000000007fff8"));
        for log2 in 0..40 {
            assert_eq!(outcomes(difficulty(log2), U256::MAX), [""; 0], "2^{log2}");
        }
        assert_eq!(outcomes(number("00000000aaaa"), U256::MAX), ["whole-difficulty"]);
    }

    #[test]
    fn target_the_wrong_way_round_is_told_from_one_that_is_too_easy() {
        let (easy, max) = (number("000fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"), difficulty(8));
        assert_eq!(outcomes(reversed(easy), U256::MAX), ["target-byte-order"]);
        assert_eq!(outcomes(reversed(max), max), ["target-byte-order"]);
        assert_eq!(outcomes(easy, max), ["max-target"]);
        assert_eq!(outcomes(difficulty(7), max), ["max-target"]);
        assert_eq!(outcomes(U256::ZERO, max), ["target-byte-order"]);
        // The easiest of all, whose low end is zero and high end is not.
        assert_eq!(outcomes(number("ffff"), U256::MAX), [""; 0]);
        assert_eq!(outcomes(U256::MAX, U256::MAX), [""; 0]);
    }
}
