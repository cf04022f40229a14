//! The protocol's extensions, as an operator writes them: by number or by name.

use protocol::messages::extensions::WORKER_SPECIFIC_HASHRATE_TRACKING;

use super::{ConfigError, settings::Settings};

/// The extensions that can be negotiated, with the specification's names. The negotiation itself, 1, is always spoken.
const KNOWN: [(u16, &str); 1] = [(WORKER_SPECIFIC_HASHRATE_TRACKING, "worker-specific-hashrate-tracking")];

/// Returns all that can be negotiated.
pub(super) fn all() -> Vec<u16> {
    KNOWN.map(|(number, _)| number).to_vec()
}

/// Reads a list of extensions.
///
/// # Errors
///
/// When it is no list, or one of them is not known.
pub(super) fn read(settings: &Settings, key: &'static str) -> Result<Option<Vec<u16>>, ConfigError> {
    let Some(items) = settings.list(key)? else { return Ok(None) };
    let find = |item: &String| {
        let number = match item.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => item.parse().ok(),
        };
        let known = KNOWN.iter().find(|(known, name)| number == Some(*known) || item == name);
        known.map(|(number, _)| *number).ok_or_else(|| {
            let known = KNOWN.map(|(number, name)| format!("{number} ({name})")).join(", ");
            settings.invalid(key, format!("{item} is not one of the extensions that can be negotiated: {known}"))
        })
    };
    items.iter().map(find).collect::<Result<_, _>>().map(Some)
}
