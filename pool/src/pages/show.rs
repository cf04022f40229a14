//! How figures are shown: amounts, rates, times and hashes. What is written here is safe in HTML as it stands.

use std::fmt::{self, Write};

use askama::filters::HtmlSafe;
use jiff::Timestamp;

/// A number with its thousands apart, by a narrow space at which no line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) i128);

/// Satoshis as bitcoin, with all eight decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Btc(pub(super) i128);

/// Hashes a second, with three figures and a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HashRate(pub(super) f64);

/// A part of a whole, as a percentage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percent(pub(super) f64);

/// A time, in milliseconds since 1970 UTC: to the minute, and to the second on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When(pub(super) i64);

/// How long ago a time was, both in milliseconds since 1970 UTC; and the time itself on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ago {
    pub(super) at_ms: i64,
    pub(super) now_ms: i64,
}

/// Something long of which its ends tell enough: a hash, an address. All of it on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends(pub(super) String);

/// A text of ours with code in it, between backticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked(pub(super) &'static str);

impl HtmlSafe for Marked {}
impl HtmlSafe for Number {}
impl HtmlSafe for Btc {}
impl HtmlSafe for HashRate {}
impl HtmlSafe for Percent {}
impl HtmlSafe for When {}
impl HtmlSafe for Ago {}
impl HtmlSafe for Ends {}

/// The space between thousands.
const THIN: char = '\u{202f}';
/// Characters of each end.
const END: usize = 8;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_char('\u{2212}')?;
        }
        let digits = self.0.unsigned_abs().to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(THIN)?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

impl fmt::Display for Btc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const COIN: u128 = 100_000_000;
        let sat = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "\u{2212}" } else { "" };
        write!(f, "{sign}{}.{:08}", sat / COIN, sat % COIN)
    }
}

impl fmt::Display for HashRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 8] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s"];
        let (mut rate, mut unit) = (self.0, 0);
        // 999.5 would be written as 1000.
        while rate >= 999.5 && unit + 1 < UNITS.len() {
            (rate, unit) = (rate / 1_000.0, unit + 1);
        }
        let decimals = match rate {
            0.0 => 0,
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        write!(f, "{rate:.decimals$}\u{a0}{}", UNITS[unit])
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let decimals = if percent >= 10.0 || percent == 0.0 { 0 } else { 2 };
        write!(f, "{percent:.decimals$}\u{a0}%")
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = Timestamp::from_millisecond(self.0) else { return f.write_str("?") };
        let (exact, long, short) =
            (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), at.strftime("%Y-%m-%d %H:%M"));
        write!(f, "<time datetime=\"{exact}\" title=\"{long}\">{short}</time>")
    }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = Timestamp::from_millisecond(self.at_ms) else { return f.write_str("?") };
        let (exact, long) = (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"));
        let seconds = self.now_ms.saturating_sub(self.at_ms).max(0) / 1_000;
        write!(f, "<time datetime=\"{exact}\" title=\"{long}\">{} ago</time>", Span(seconds))
    }
}

/// A number of seconds in the unit that suits it, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) i64);

impl HtmlSafe for Span {}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..120 => write!(f, "{seconds}\u{a0}s"),
            seconds @ 120..7_200 => write!(f, "{}\u{a0}min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{}\u{a0}h", seconds / 3_600),
            seconds => write!(f, "{}\u{a0}days", seconds / 86_400),
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        let count = text.chars().count();
        write!(f, "<code title=\"{}\">", Escaped(text))?;
        if count <= 2 * END + 3 {
            write!(f, "{}</code>", Escaped(text))
        } else {
            let first: String = text.chars().take(END).collect();
            let last: String = text.chars().skip(count - END).collect();
            write!(f, "{}\u{2026}{}</code>", Escaped(&first), Escaped(&last))
        }
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, piece) in self.0.split('`').enumerate() {
            match at % 2 {
                0 => write!(f, "{}", Escaped(piece))?,
                _ => write!(f, "<code>{}</code>", Escaped(piece))?,
            }
        }
        Ok(())
    }
}

/// A text as one part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment(pub(super) String);

impl HtmlSafe for Segment {}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => f.write_char(byte.into())?,
                other => write!(f, "%{other:02X}")?,
            }
        }
        Ok(())
    }
}

/// A text whose signs mean nothing in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sign in self.0.chars() {
            match sign {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (-1_234_567, "\u{2212}1\u{202f}234\u{202f}567"),
            (312_500_000, "312\u{202f}500\u{202f}000"),
        ] {
            assert_eq!(Number(number).to_string(), text);
        }
    }

    #[test]
    fn bitcoin_has_eight_decimals() {
        assert_eq!(Btc(312_500_001).to_string(), "3.12500001");
        assert_eq!(Btc(-5).to_string(), "\u{2212}0.00000005");
    }

    #[test]
    fn hash_rates_have_three_figures() {
        for (rate, text) in [
            (0.0, "0 H/s"),
            (1.5, "1.50 H/s"),
            (999.4, "999 H/s"),
            (999.6, "1.00 kH/s"),
            (12_345.0, "12.3 kH/s"),
            (1.234e15, "1.23 PH/s"),
            (9.99e23, "999 ZH/s"),
        ] {
            assert_eq!(HashRate(rate).to_string().replace('\u{a0}', " "), text);
        }
    }

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days")] {
            assert_eq!(Span(seconds).to_string().replace('\u{a0}', " "), text);
        }
        let ago = Ago { at_ms: 1_700_000_000_000, now_ms: 1_700_000_030_500 }.to_string();
        assert!(ago.contains("title=\"2023-11-14 22:13:20 UTC\"") && ago.contains("30\u{a0}s ago"), "{ago}");
        assert!(When(1_700_000_000_000).to_string().ends_with(">2023-11-14 22:13</time>"));
    }

    #[test]
    fn part_of_a_path_has_no_sign_of_its_own() {
        assert_eq!(Segment("2026-11-a".to_owned()).to_string(), "2026-11-a");
        assert_eq!(Segment("a b/c?d\u{e9}\"".to_owned()).to_string(), "a%20b%2Fc%3Fd%C3%A9%22");
    }

    #[test]
    fn signs_of_html_lose_their_meaning() {
        let shown = Ends("<script>alert('1')</script>\"&".to_owned()).to_string();
        assert!(!shown.contains("<script") && !shown.contains("'1'") && shown.contains("&lt;script&gt;"), "{shown}");
        assert_eq!(Marked("write `A.B`; <b>").to_string(), "write <code>A.B</code>; &lt;b&gt;");
        assert_eq!(Ends("short".to_owned()).to_string(), "<code title=\"short\">short</code>");
    }
}
