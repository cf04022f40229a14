//! Names of report files, from names that others chose. No name leads out of its folder or hides another.

use sha2::{Digest, Sha256};

/// How much of a miner's name goes into a file name. Far under the 255 bytes that file systems allow.
const NAME_CHARS: usize = 48;
/// How many bytes of a name's hash tell names apart that look the same once they are cleaned; so many that
/// finding two names with the same ones takes some billions of tries, and gains no more than an error.
const TAG_BYTES: usize = 8;

/// Returns a miner's name as a part of a file name: lower-case letters, digits, `-` and `_`.
///
/// A name that is not written so already is cleaned and gets the start of its SHA-256, so that two names never give the
/// same file, also where capital letters do not count. The hash follows a point, which no plain name has.
pub fn miner(name: &str) -> String {
    part(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Returns a period's label as a part of a file name: letters, digits, `-` and `_`. Other labels are cleaned like
/// names.
pub fn period(label: &str) -> String {
    part(label, |c| c.is_ascii_alphanumeric())
}

/// Returns whether a name is one that a report may have: letters, digits, `-`, `_` and points, beginning with a letter.
pub fn is_report(name: &str) -> bool {
    let fits = name.len() <= 200 && name.starts_with(|c: char| c.is_ascii_alphabetic());
    fits && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) && !name.contains("..")
}

fn part(name: &str, plain: fn(char) -> bool) -> String {
    let allowed = |c: char| plain(c) || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().count() <= NAME_CHARS && name.chars().all(allowed) {
        return name.to_owned();
    }
    let clean = |c: char| Some(c).filter(|&c| allowed(c)).or(Some(c.to_ascii_lowercase()).filter(|&c| allowed(c)));
    let cleaned: String = name.chars().take(NAME_CHARS).map(|c| clean(c).unwrap_or('_')).collect();
    let hash = Sha256::digest(name.as_bytes());
    format!("{cleaned}.{}", hex::encode(&hash[..TAG_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(miner("miner-7_a"), "miner-7_a");
        assert_eq!(period("2026-01"), "2026-01");
        assert_eq!(period("2026-Q1"), "2026-Q1");
    }

    #[test]
    fn a_hostile_name_stays_in_its_folder() {
        for name in ["../../etc/passwd", "a/b", "c:\\x", "", ".", "nul\0", "=HYPERLINK(\"x\")", "\u{202e}gpj.exe", "ä"]
        {
            let part = miner(name);
            assert!(part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')), "{part}");
            assert!(is_report(&format!("statement_{part}_2026-01.csv")), "{part}");
        }
        assert!(miner(&"x".repeat(10_000)).len() < 70);
    }

    #[test]
    fn different_names_give_different_files_also_without_capitals() {
        let names = ["alice", "Alice", "ALICE", "a/b", "a_b", "a\\b", "a b"];
        let mut parts: Vec<String> = names.iter().map(|name| miner(name).to_ascii_lowercase()).collect();
        parts.sort();
        parts.dedup();
        assert_eq!(parts.len(), names.len());
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_reports() {
        for name in ["", ".hidden", "../x.csv", "a/b.csv", "a\\b.csv", "a..b", "a b.csv", "x\u{202e}.csv", "1.csv"] {
            assert!(!is_report(name), "{name}");
        }
    }
}
