//! Takes credentials out of texts that others wrote.

/// The text without what stands between `://` and `@`: user names and passwords of addresses.
pub(super) fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>');
        let (address, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        // A password may hold a slash or an at sign that nobody escaped: the last one counts.
        match address.rfind('@') {
            Some(end) => {
                clean.push_str("***");
                clean.push_str(&address[end..]);
            }
            None => clean.push_str(address),
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_an_address_are_not_told() {
        for (text, clean) in [
            ("away", "away"),
            (
                "cannot reach postgres://me:s3cret@db:5432/x: refused",
                "cannot reach postgres://***@db:5432/x: refused",
            ),
            ("a://u:p@ss/w@rd@h/x b://c", "a://***@h/x b://c"),
            ("https://example.org/a", "https://example.org/a"),
            ("\"redis://:pw@h\" x@y", "\"redis://***@h\" x@y"),
            ("://", "://"),
        ] {
            assert_eq!(without_credentials(text), clean);
        }
    }
}
