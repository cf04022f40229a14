//! Which known key or section a mistaken one looks most like.

use super::settings::{KEYS, MAX_NAME_LENGTH, NAMED};

/// What stands for the operator's own name of a section.
const ANY_NAME: &str = "NAME";

/// The known key that looks most like `key`. A key in the wrong section looks like the one of that name in the right one.
pub(super) fn nearest_key(key: &str) -> String {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    candidates(key)
        .min_by_key(|known| {
            let whole = strsim::osa_distance(key, known);
            let name_alone = strsim::osa_distance(&name(key), &name(known)) + 1;
            (whole.min(name_alone), whole)
        })
        .expect("there are settings")
}

/// The section that looks most like `key`.
pub(super) fn nearest_section(key: &str) -> &'static str {
    sections().min_by_key(|section| strsim::osa_distance(key, section)).expect("there are sections")
}

/// Whether settings, or sections that the operator names, stand below `key`.
pub(super) fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

/// The key of a setting whose variable was written with single underscores throughout, such as `STRATUM_LISTEN`.
pub(super) fn key_of_single_underscores(variable: &str) -> Option<&'static str> {
    let flat = |key: &str| key.replace(['.', '_'], "_").to_ascii_uppercase();
    let variable = variable.replace("__", "_").to_ascii_uppercase();
    KEYS.iter().copied().find(|key| flat(key) == variable)
}

/// All keys there are. In the sections that the operator names, those of the section that `key` seems to be in.
fn candidates(key: &str) -> impl Iterator<Item = String> {
    let name = key.split('.').nth(2).filter(|_| key.split('.').count() > 3).map_or_else(
        || ANY_NAME.to_owned(),
        |name| {
            let letters = name.chars().take(MAX_NAME_LENGTH).map(|letter| letter.to_ascii_lowercase());
            letters.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
        },
    );
    let named = NAMED.iter().flat_map(move |(above, settings)| {
        let name = name.clone();
        settings.iter().map(move |setting| format!("{above}.{name}.{setting}"))
    });
    KEYS.iter().map(|key| (*key).to_owned()).chain(named)
}

fn sections() -> impl Iterator<Item = &'static str> {
    let above = |key: &'static str| key.rsplit_once('.').map(|(section, _)| section);
    let named = NAMED.iter().flat_map(move |(section, _)| [Some(*section), above(section)]);
    KEYS.iter().map(move |key| above(key)).chain(named).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{ffi::OsString, fs};

    use crate::config::settings::Settings;

    /// What is said of a config file, with the folder cut away.
    fn complaint(text: &str, environment: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("adit.toml");
        fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let said = Settings::read(&file, environment).unwrap_err().to_string();
        said.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn mistaken_key_is_named_with_its_line_and_the_nearest() {
        for (text, said) in [
            ("# first\n\n[stratum]\nlistn = 1\n", "stratum.listn in adit.toml, line 4|stratum.listen"),
            ("netwrok = \"regtest\"\n", "netwrok in adit.toml, line 1|network"),
            (
                "[payout]\nfee_bp = 1\nschemes = \"\"\"\na\nb\"\"\"\n",
                "payout.schemes in adit.toml, line 3|payout.scheme",
            ),
            (
                "[bitcoind.bakup.paris]\nuser = \"u\"\n",
                "bitcoind.bakup.paris.user in adit.toml, line 2|bitcoind.backup.paris.user",
            ),
            (
                "[bitcoind.backup.paris]\nulr = \"u\"\n",
                "bitcoind.backup.paris.ulr in adit.toml, line 2|bitcoind.backup.paris.url",
            ),
            (
                "[screening.lists]\nfile = \"u\"\n",
                "screening.lists.file in adit.toml, line 2|screening.lists.NAME.file",
            ),
            (
                "[screening]\nmax_age_hours = 3\n",
                "screening.max_age_hours in adit.toml, line 2|screening.lists.NAME.max_age_hours",
            ),
            ("\n[screning.list]\n", "[screning.list] in adit.toml, line 2|[screening.lists]"),
            ("bitcoind = { cokie_file = \"c\" }\n", "bitcoind.cokie_file in adit.toml, line 1|bitcoind.cookie_file"),
        ] {
            let (key, nearest) = said.split_once('|').unwrap();
            assert_eq!(complaint(text, &[]), format!("{key} is not a setting; the nearest one is {nearest}"), "{text}");
        }
    }

    #[test]
    fn variable_with_single_underscores_is_not_passed_over() {
        for (variable, meant) in [
            ("ADIT_STRATUM_LISTEN", "ADIT__STRATUM__LISTEN"),
            ("ADIT_STRATUM__LISTEN", "ADIT__STRATUM__LISTEN"),
            ("ADIT_PAYOUT_FEE_BP", "ADIT__PAYOUT__FEE_BP"),
            ("ADIT_NETWORK", "ADIT__NETWORK"),
        ] {
            let said = complaint("", &[("ADIT_CONFIG", "adit.toml"), (variable, "1")]);
            assert_eq!(said, format!("{variable} is not a setting; the nearest one is {meant}"));
        }
        let said = complaint("", &[("ADIT__BITCOIND__BAKUP__OSLO__URL", "http://x:1")]);
        assert!(said.ends_with("the nearest one is ADIT__BITCOIND__BACKUP__OSLO__URL"), "{said}");
    }

    #[test]
    fn section_without_settings_says_what_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("adit.toml");
        fs::write(&file, "[stratum]\n[screening]\n[bitcoind.backup]\n").unwrap();
        assert_eq!(Settings::read(&file, []).unwrap().keys().count(), 0);
        let said = complaint("[[screening.lists]]\nfile = \"a\"\n", &[]);
        assert!(said.ends_with("line 1: is a section: write [screening.lists.NAME] and its settings below"), "{said}");
        let said = complaint("[bitcoind.backup.oslo]\n", &[]);
        assert_eq!(said, "[bitcoind.backup.oslo] in adit.toml, line 1: has no settings: it needs url at least");
    }

    #[test]
    fn secret_in_the_file_is_named_with_its_line_and_not_repeated() {
        let said = complaint("[bitcoind]\nuser = \"pool\"\npassword = \"correct-horse\"\n", &[]);
        assert!(said.starts_with("bitcoind.password is a secret and may not stand in adit.toml, line 3: "), "{said}");
        assert!(!said.contains("correct-horse"), "{said}");
    }
}
