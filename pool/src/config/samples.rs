//! Keys and passwords that stand in the examples of others, and so are known to everybody.

use protocol::noise::AuthoritySecretKey;
use secrecy::{ExposeSecret, SecretString};

/// The authority keys of examples: that of the reference implementation's programs, and the one of this project's pages.
const AUTHORITIES: [&str; 2] =
    ["9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72", "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"];

/// The passwords of examples and habits, in small letters.
const PASSWORDS: [&str; 18] = [
    "123",
    "1234",
    "12345",
    "123456",
    "12345678",
    "admin",
    "adit",
    "bitcoin",
    "bitcoinrpc",
    "changeme",
    "pass",
    "password",
    "postgres",
    "rpcpassword",
    "satoshi",
    "secret",
    "test",
    "x",
];

/// Whether a key is one of an example, or was made by hand of one or two different bytes.
pub(super) fn is_sample_authority(key: &AuthoritySecretKey) -> bool {
    let public = key.public_key().to_string();
    let secret = key.to_secret_bytes();
    let mut bytes = secret.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    AUTHORITIES.contains(&public.as_str()) || bytes.len() <= 2
}

/// Whether a password is one of an example, or there is none.
pub(super) fn is_sample_password(password: &SecretString) -> bool {
    let password = password.expose_secret().trim().to_ascii_lowercase();
    password.is_empty() || PASSWORDS.contains(&password.as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn key_of_the_reference_examples_is_known() {
        // The secret key that belongs to the first of the list, as those examples have it: base58check.
        let key: AuthoritySecretKey = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n".parse().unwrap();
        assert_eq!(key.public_key().to_string(), AUTHORITIES[0]);
        assert!(is_sample_authority(&key));
        assert!(is_sample_authority(&"01".repeat(32).parse().unwrap()));
        assert!(!is_sample_authority(&AuthoritySecretKey::generate()));
    }

    #[test]
    fn passwords_of_examples_are_known_in_any_letters() {
        for password in ["password", "Password", " changeme\n", ""] {
            assert!(is_sample_password(&SecretString::from(password)), "{password}");
        }
        assert!(!is_sample_password(&SecretString::from("a5Jp0ZkYc3QH")));
    }
}
