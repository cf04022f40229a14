//! Who a channel mines for, as the client writes it when it opens the channel: `USER[;d=DIFFICULTY][.WORKER]`.
//!
//! Owns the grammar. Whether the pool knows the user is said by [`super::registry`].
//!
//! The options stand behind the user and not at the end, because firmware cuts what is too long at its end, and proxies
//! replace what is behind the first dot, or put something more there. Behind the worker they are read as well.

use std::{fmt, num::NonZeroU128, str::FromStr};

use payouts::account::User;
use thiserror::Error;

use crate::mining::difficulty::Difficulty;

/// Longest identity that is taken: firmware overflows above this.
const MAX_IDENTITY_SIZE: usize = 127;
/// Longest worker name, in bytes: what the worker TLV holds.
pub const MAX_WORKER_SIZE: usize = 32;

/// A user, the worker that mines for him, and what he wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who is credited.
    pub user: User,
    /// Name of the worker; may be empty.
    pub worker: String,
    /// The least difficulty that the channel shall have.
    pub least_difficulty: Option<Difficulty>,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Too long, or not printable ASCII.
    #[error("user identity {0:?} is not printable ASCII of at most {MAX_IDENTITY_SIZE} characters")]
    Text(String),
    /// The user can be none.
    #[error(transparent)]
    User(#[from] payouts::account::NoUser),
    /// The worker's name is too long.
    #[error("worker {0:?} has more than {MAX_WORKER_SIZE} characters")]
    Worker(String),
    /// An option that there is not, or the same one twice.
    #[error("option {0:?} is not d=DIFFICULTY, once")]
    Option(String),
    /// A difficulty that is none.
    #[error("d={0} is not a whole number above 0, with or without K, M, G or T")]
    Difficulty(String),
}

impl IdentityError {
    /// The code for `OpenMiningChannel.Error`.
    pub const CODE: &str = "invalid-user-identity";
}

impl Identity {
    /// Reads what a client has written. Some firmware writes other characters than letters, digits, `.`, `_` and `~` as
    /// codes such as `%3B`: these are read as what they stand for.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes = percent_decoded(bytes);
        if bytes.len() > MAX_IDENTITY_SIZE || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(IdentityError::Text(String::from_utf8_lossy(&bytes).into_owned()));
        }
        let text = String::from_utf8(bytes).expect("ASCII is UTF-8");
        let mut parts = text.split(';');
        let (user, worker) = split_worker(parts.next().unwrap_or_default());
        let mut worker = worker.to_owned();
        let mut least_difficulty = None;
        for part in parts {
            let (option, more) = split_worker(part);
            match option.split_once('=') {
                Some(("d" | "D", number)) if least_difficulty.is_none() => {
                    let read = difficulty(number).ok_or_else(|| IdentityError::Difficulty(number.to_owned()))?;
                    least_difficulty = Some(read);
                }
                _ => return Err(IdentityError::Option(option.to_owned())),
            }
            if !worker.is_empty() && !more.is_empty() {
                worker.push('.');
            }
            worker.push_str(more);
        }
        if worker.len() > MAX_WORKER_SIZE {
            return Err(IdentityError::Worker(worker));
        }
        Ok(Self { user: user.parse()?, worker, least_difficulty })
    }
}

impl fmt::Display for Identity {
    /// Writes the identity so that it is read as the same again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, worker, least_difficulty } = self;
        write!(f, "{user}")?;
        if let Some(difficulty) = least_difficulty {
            write!(f, ";d={}", 1_u128 << difficulty.log2())?;
        }
        if !worker.is_empty() {
            write!(f, ".{}", worker.replace('%', "%25"))?;
        }
        Ok(())
    }
}

/// Splits at the first dot; without one, there is no worker.
fn split_worker(text: &str) -> (&str, &str) {
    text.split_once('.').unwrap_or((text, ""))
}

/// Puts bytes in the place of their codes (RFC 3986, 2.1). A `%` that begins no code stands for itself.
fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        let code = behind.first_chunk::<2>().filter(|_| *first == b'%').and_then(|digits| hex_byte(*digits));
        decoded.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    decoded
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

/// Reads a whole number such as `4096`, `64K` or `2M`, rounded up to a power of two. With fractions, a dot would not say
/// where the worker begins.
fn difficulty(text: &str) -> Option<Difficulty> {
    let (digits, unit) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        b'G' => (&text[..text.len() - 1], 1_000_000_000),
        b'T' => (&text[..text.len() - 1], 1_000_000_000_000),
        _ => (text, 1),
    };
    // FromStr would take a sign too.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = u128::from_str(digits).ok()?.checked_mul(unit)?;
    NonZeroU128::new(number).map(Difficulty::at_least)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    /// There is none that is longer.
    const LONGEST: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

    fn parse(text: impl AsRef<[u8]>) -> Result<Identity, IdentityError> {
        Identity::parse(text.as_ref())
    }

    /// User, worker and the binary logarithm of the difficulty.
    fn parts(text: &str) -> (String, String, Option<i8>) {
        let Identity { user, worker, least_difficulty } = parse(text).unwrap();
        (user.to_string(), worker, least_difficulty.map(Difficulty::log2))
    }

    #[test]
    fn worker_follows_the_first_dot() {
        for user in [ADDRESS, "farm"] {
            assert_eq!(parts(user), (user.to_owned(), String::new(), None));
            assert_eq!(parts(&format!("{user}.rack.7")), (user.to_owned(), "rack.7".to_owned(), None));
            assert_eq!(parts(&format!("{user}.")), (user.to_owned(), String::new(), None));
        }
    }

    /// The longest address of the main network has 62 characters, so such firmware cuts off workers and no more.
    #[test]
    fn identity_that_firmware_has_cut_at_63_characters_names_the_same_address() {
        const TAPROOT: &str = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
        let cut = &format!("{TAPROOT}.rack7")[..63];
        assert_eq!(parts(cut), (TAPROOT.to_owned(), String::new(), None));
    }

    #[test]
    fn one_user_in_capitals_is_the_same_user() {
        assert_eq!(parts(&ADDRESS.to_ascii_uppercase()).0, ADDRESS);
        assert_eq!(parts("FARM.Rig"), ("farm".to_owned(), "Rig".to_owned(), None));
    }

    #[test]
    fn difficulty_is_rounded_up_to_a_power_of_two() {
        for (written, log2) in [
            ("1", 0),
            ("3", 2),
            ("4096", 12),
            ("4097", 13),
            ("1K", 10),
            ("64k", 16),
            ("1M", 20),
            ("2G", 31),
            ("1T", 40),
        ] {
            assert_eq!(parts(&format!("farm;d={written}.rig")).2, Some(log2), "{written}");
        }
        assert_eq!(parts(&format!("farm;D={}", u128::MAX)).2, Some(Difficulty::MAX.log2()));
    }

    #[test]
    fn options_are_read_before_and_behind_the_worker() {
        let expected = ("farm".to_owned(), "rig".to_owned(), Some(10));
        for written in ["farm;d=1024.rig", "farm.rig;d=1024", "farm%3Bd%3d1024.rig", "f%61rm%3bd=1024%2erig"] {
            assert_eq!(parts(written), expected, "{written}");
        }
        // As proxies do, which put their own number behind all.
        assert_eq!(parts("farm.rig;d=1024.miner7"), ("farm".to_owned(), "rig.miner7".to_owned(), Some(10)));
        assert_eq!(parts("farm;d=1024.rig.miner7").1, "rig.miner7");
    }

    #[test]
    fn percent_sign_without_a_code_stands_for_itself() {
        for (written, worker) in [("farm.100%", "100%"), ("farm.%g1", "%g1"), ("farm.%4", "%4"), ("farm.%2541", "%41")]
        {
            assert_eq!(parts(written).1, worker);
        }
    }

    #[test]
    fn text_is_printable_and_of_bounded_length() {
        for wrong in [&"x".repeat(128), "farm.a b", "farm.\u{e9}", "farm.%20", "farm.%00", "farm.\n"] {
            assert!(matches!(parse(wrong), Err(IdentityError::Text(_))), "{wrong:?}");
        }
        assert!(matches!(parse([0xff]), Err(IdentityError::Text(_))));
        assert_eq!(parts(&format!("farm.{}", "w".repeat(32))).1.len(), 32);
        for wrong in [format!("farm.{}", "w".repeat(33)), format!("farm.{};d=1.w", "w".repeat(31))] {
            assert!(matches!(parse(&wrong), Err(IdentityError::Worker(_))), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_neither_address_nor_name_is_no_user() {
        // The last is an address with a letter too few.
        for wrong in ["", ".rig", ";d=1", "7up", "a$b", &ADDRESS[..ADDRESS.len() - 1]] {
            assert!(matches!(parse(wrong), Err(IdentityError::User(_))), "{wrong:?}");
        }
    }

    #[test]
    fn options_are_known_and_given_once() {
        for wrong in ["farm;", "farm;d", "farm;x=1", "farm;d=1;", "farm;d=1;d=2", "farm;dd=1", "farm;.rig", "farm;=1"] {
            assert!(matches!(parse(wrong), Err(IdentityError::Option(_))), "{wrong:?}");
        }
        for wrong in ["", "0", "0K", "-1", "+1", "K", "1e3", "1KK", "x", "1=1", "0x10", &"9".repeat(40)] {
            assert!(matches!(parse(format!("farm;d={wrong}")), Err(IdentityError::Difficulty(_))), "{wrong:?}");
        }
    }

    #[test]
    fn longest_identity_is_read_again() {
        let text = format!("{LONGEST};d={}.{}", 1_u128 << 87, "w".repeat(MAX_WORKER_SIZE));
        assert_eq!(text.len(), MAX_IDENTITY_SIZE);
        assert_eq!(parse(&text).unwrap().to_string(), text);
    }

    fn identity() -> impl Strategy<Value = Identity> {
        let name = string_regex("[a-z][a-z0-9_-]{0,31}")
            .unwrap()
            .prop_filter_map("like an address", |name| name.parse().ok().map(User::Name));
        let address = prop::sample::select(vec![ADDRESS, LONGEST, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"]);
        let user = prop_oneof![name, address.prop_map(|address| address.parse().unwrap())];
        // All that is printable but the semicolon, which begins an option.
        let worker = string_regex("([!-:<-~]{1,32})?").unwrap();
        let difficulty = prop::option::of((0..=70).prop_map(Difficulty::from_log2));
        (user, worker, difficulty).prop_map(|(user, worker, least_difficulty)| Identity {
            user,
            worker,
            least_difficulty,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(identity in identity()) {
            prop_assert_eq!(parse(identity.to_string()), Ok(identity));
        }

        #[test]
        fn nothing_that_is_read_makes_it_panic(bytes: Vec<u8>) {
            let _ = parse(bytes);
        }

        #[test]
        fn whatever_is_read_is_read_as_the_same_again(
            text in "(farm|bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080)(\\.[ -~]{0,9})?(;[dD]=[0-9]{1,6}[kKMGT]?)?(\\.[ -~]{0,9})?"
        ) {
            if let Ok(identity) = parse(&text) {
                prop_assert_eq!(parse(identity.to_string()), Ok(identity));
            }
        }
    }
}
