//! The token that the admin routes take.

use std::fmt;

use subtle::ConstantTimeEq;

/// The shortest token that is taken, in bytes.
const MIN_BYTES: usize = 16;

/// The longest token that is taken, in bytes: a header has room for it.
const MAX_BYTES: usize = 1024;

/// A bearer token. Only its hash is kept, and it is never shown.
#[derive(Clone)]
pub struct Token(blake3::Hash);

/// A text is no usable token. It is not repeated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is too short to be hard to guess, or too long for a header.
    #[error("the token has {0} bytes; expected {MIN_BYTES} to {MAX_BYTES}")]
    Length(usize),
    /// A header cannot carry it.
    #[error("the token holds a character other than visible ASCII")]
    Character,
}

impl Token {
    /// Takes a token.
    ///
    /// # Errors
    /// Where it is too short, too long, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        if !(MIN_BYTES..=MAX_BYTES).contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        Ok(Self(blake3::hash(text.as_bytes())))
    }

    /// True where the value of an `Authorization` header carries this token.
    ///
    /// Hashes of equal length are compared, in a time that does not depend on where they differ,
    /// so neither the token's bytes nor its length can be measured.
    pub(super) fn is_in(&self, authorization: &[u8]) -> bool {
        const SCHEME: usize = "Bearer ".len();
        let Some((scheme, given)) = authorization.split_at_checked(SCHEME) else {
            return false;
        };
        let given = blake3::hash(given.trim_ascii());
        scheme.eq_ignore_ascii_case(b"Bearer ")
            & bool::from(given.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    #[test]
    fn only_the_whole_token_is_taken() {
        let token = Token::new(TEXT).unwrap();
        for (header, is_right) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcdeg", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Basic 0123456789abcdef", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(token.is_in(header.as_bytes()), is_right, "{header:?}");
        }
    }

    #[test]
    fn a_token_that_protects_nothing_is_refused() {
        let refused = |text: &str| Token::new(text).unwrap_err();
        assert_eq!(refused(""), TokenError::Length(0));
        assert_eq!(refused("0123456789abcde"), TokenError::Length(15));
        assert_eq!(refused(&"a".repeat(1025)), TokenError::Length(1025));
        assert_eq!(refused("0123456789 abcdef"), TokenError::Character);
        assert_eq!(refused("0123456789abcdeé"), TokenError::Character);
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}", Token::new(TEXT).unwrap());
        assert_eq!(shown, "Token(***)");
    }
}
