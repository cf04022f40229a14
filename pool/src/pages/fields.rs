//! The fields of a form, as handlers take them: whatever cannot be read is refused in words.

use std::{collections::HashMap, convert::Infallible, fmt::Display, str::FromStr};

use axum::{extract::FromRequestParts, http::request::Parts};
use bitcoin::{Amount, Denomination};

use crate::operations::{Refusal, RefusalCode};

/// The fields that a browser has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    /// Reads a body or a query. Of a field that comes twice, the last counts.
    pub(super) fn read(text: &[u8]) -> Fields {
        Fields(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Returns a field's text without blanks around it; nothing if it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text.trim())
    }

    /// Tells whether a box was ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns what a field says, if it says something.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |error| Refusal::new(RefusalCode::Invalid, format!("{}: {error}", name.replace('_', " ")));
        text.parse().map(Some).map_err(invalid)
    }

    /// Returns an amount of bitcoin in satoshis, if a field says one.
    ///
    /// # Errors
    ///
    /// When it is no amount, or of less than a satoshi.
    pub(super) fn amount(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |error| Refusal::new(RefusalCode::Invalid, format!("{}: {error}", name.replace('_', " ")));
        Amount::from_str_in(text, Denomination::Bitcoin).map(|amount| Some(amount.to_sat())).map_err(invalid)
    }

    /// Returns what a field says.
    ///
    /// # Errors
    ///
    /// When it says nothing, or it cannot be read.
    pub(super) fn required<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Refusal> {
        let missing = || Refusal::new(RefusalCode::Invalid, format!("{} is missing", name.replace('_', " ")));
        self.optional(name)?.ok_or_else(missing)
    }
}

/// The fields of the form, which the door has read; without one, those of the query.
impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Fields, Infallible> {
        let of_query = || Fields::read(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(parts.extensions.remove().unwrap_or_else(of_query))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let fields = Fields::read(b"reason=wrong+wallet%3F&rate=25&all=on&empty=+");
        assert_eq!(fields.text("reason"), "wrong wallet?");
        assert_eq!(fields.required::<u32>("rate"), Ok(25));
        assert_eq!((fields.is_ticked("all"), fields.is_ticked("none")), (true, false));
        assert_eq!(fields.optional::<u32>("empty"), Ok(None));
        assert!(fields.required::<u32>("empty").unwrap_err().reason.contains("empty is missing"));
        assert!(fields.required::<u32>("reason").unwrap_err().reason.starts_with("reason: "));
    }

    #[test]
    fn amounts_are_bitcoin_to_the_satoshi() {
        let of = |text: &str| Fields::read(format!("sum={text}").as_bytes()).amount("sum").map_err(|_| ());
        assert_eq!((of(""), of("0.00000001"), of("1.5")), (Ok(None), Ok(Some(1)), Ok(Some(150_000_000))));
        for wrong in ["-1", "0.000000001", "1e3", "x", "21000000000000"] {
            assert_eq!(of(wrong), Err(()), "{wrong}");
        }
    }
}
