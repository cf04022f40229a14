//! Links with what they ask for.

/// Returns a path with the fields of a query that say something.
pub(super) fn with_query(path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.iter().filter(|(_, text)| !text.is_empty()));
    let query: String = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_and_others_keep_their_text() {
        assert_eq!(with_query("/ledger", &[("kind", ""), ("account", "")]), "/ledger");
        assert_eq!(with_query("/ledger", &[("kind", ""), ("account", "a&b=c d")]), "/ledger?account=a%26b%3Dc+d");
    }
}
