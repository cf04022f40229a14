//! What people write into the record: names and reasons.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name or a reason for the record: one line of 1 to [`Words::MAX_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

/// A text that is no line of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be one line of 1 to {} characters", Words::MAX_CHARS)]
pub struct NotWords;

impl Words {
    /// The most characters.
    pub const MAX_CHARS: usize = 200;

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Words {
    type Error = NotWords;

    fn try_from(text: String) -> Result<Words, NotWords> {
        let text = text.trim();
        let fits = (1..=Words::MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits { Ok(Words(text.to_owned())) } else { Err(NotWords) }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Words {
    type Err = NotWords;

    fn from_str(text: &str) -> Result<Words, NotWords> {
        Words::try_from(text.to_owned())
    }
}

impl From<Words> for String {
    fn from(words: Words) -> String {
        words.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_line_of_bounded_length() {
        assert_eq!(" alice ".parse::<Words>().unwrap().as_str(), "alice");
        assert_eq!("\u{e9}".repeat(Words::MAX_CHARS).parse::<Words>().map(|_| ()), Ok(()));
        for wrong in ["", "  ", "two\nlines", "\u{1b}[31mred", &"a".repeat(Words::MAX_CHARS + 1)] {
            assert_eq!(wrong.parse::<Words>(), Err(NotWords), "{wrong:?}");
            assert!(serde_json::from_value::<Words>(wrong.into()).is_err(), "{wrong:?}");
        }
    }
}
