//! The key that signs.
//!
//! It comes from a keypair file or from the text of an environment variable, never from settings.
//! Nothing here shows more of it than its public half, and no error holds a byte of what was read.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::{Signer as _, SignerError};

/// A keypair file may be this long. One is about 230 bytes.
pub const MAX_FILE_BYTES: usize = 4096;

/// What is expected of a key, in errors.
const EXPECTED: &str = "a JSON array of 64 numbers from 0 to 255, or their base58 text, \
                        of which the last 32 are the public half of the first";

/// A key cannot be used. Names where it came from and what was expected, and nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// It is no regular file.
    #[error("the key file {path} is no regular file; expected one")]
    NoFile {
        /// The file.
        path: String,
    },
    /// Others than its owner may use it.
    #[error("the key file {path} has mode {mode:04o}; expected 0600 or stricter")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too long.
    #[error("the key file {path} is longer than {MAX_FILE_BYTES} bytes; expected {EXPECTED}")]
    TooLong {
        /// The file.
        path: String,
    },
    /// What was read is no key.
    #[error("{from} does not hold a key; expected {EXPECTED}")]
    NoKey {
        /// Where it came from.
        from: String,
    },
}

/// The key that signs.
#[derive(Clone)]
pub struct Signer {
    keypair: Arc<Keypair>,
}

impl Signer {
    /// Reads a keypair file.
    ///
    /// # Errors
    /// Where it cannot be read, others may use it, or it holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let unreadable = |error: std::io::Error| KeyError::Unreadable {
            path: shown(),
            reason: error.kind().to_string(),
        };
        // Opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(KeyError::NoFile { path: shown() });
        }
        let file = File::open(path).map_err(unreadable)?;
        let opened = file.metadata().map_err(unreadable)?;
        if !opened.is_file() {
            return Err(KeyError::NoFile { path: shown() });
        }
        let mode = opened.permissions().mode() & 0o7777;
        if mode & 0o177 != 0 {
            return Err(KeyError::Open {
                path: shown(),
                mode,
            });
        }
        let mut read = Erased([0; MAX_FILE_BYTES + 1]);
        let length = fill(file, &mut read.0).map_err(unreadable)?;
        let Some(content) = read.0.get(..length).filter(|_| length < read.0.len()) else {
            return Err(KeyError::TooLong { path: shown() });
        };
        Self::parse(content).ok_or_else(|| KeyError::NoKey {
            from: format!("the key file {}", shown()),
        })
    }

    /// Takes the text of the environment variable `name`.
    ///
    /// # Errors
    /// Where it is no key.
    pub fn from_text(name: &str, text: &str) -> Result<Self, KeyError> {
        Self::parse(text.as_bytes()).ok_or_else(|| KeyError::NoKey {
            from: format!("the environment variable {name}"),
        })
    }

    /// The public half.
    #[must_use]
    pub fn pubkey(&self) -> Pubkey {
        self.keypair.pubkey()
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.keypair.sign_message(message)
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let content = content.trim_ascii();
        let mut key = Erased([0; 64]);
        if content.starts_with(b"[") {
            let mut json = serde_json::Deserializer::from_slice(content);
            json.deserialize_seq(Sink(&mut key.0)).ok()?;
            json.end().ok()?;
        } else if bs58::decode(content).onto(&mut key.0).ok()? != key.0.len() {
            return None;
        }
        let keypair = Keypair::try_from(key.0.as_slice()).ok()?;
        Some(Self {
            keypair: Arc::new(keypair),
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.pubkey())
    }
}

impl solana_sdk::signer::Signer for Signer {
    fn try_pubkey(&self) -> Result<Pubkey, SignerError> {
        Ok(self.pubkey())
    }

    fn try_sign_message(&self, message: &[u8]) -> Result<Signature, SignerError> {
        Ok(self.sign(message))
    }

    fn is_interactive(&self) -> bool {
        false
    }
}

/// Bytes that are overwritten when they are no longer needed.
struct Erased<const N: usize>([u8; N]);

impl<const N: usize> Drop for Erased<N> {
    fn drop(&mut self) {
        self.0.fill(0);
        // What is looked at afterwards is not optimised away.
        black_box(&self.0);
    }
}

/// Reads a file into a buffer, until one of them ends.
fn fill(mut file: File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// Reads exactly 64 numbers, without a copy elsewhere.
struct Sink<'a>(&'a mut [u8; 64]);

impl<'de> Visitor<'de> for Sink<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        use serde::de::Error as _;
        for (read, place) in self.0.iter_mut().enumerate() {
            *place = all
                .next_element()?
                .ok_or_else(|| A::Error::invalid_length(read, &"64 numbers"))?;
        }
        match all.next_element::<u8>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::invalid_length(65, &"64 numbers")),
        }
    }
}
