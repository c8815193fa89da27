//! Keys: what is taken, what is refused, and that nothing of them is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer as _;
use tempfile::TempDir;
use twzrd_chain::keys::{KeyError, MAX_FILE_BYTES, Signer};

struct Place {
    _folder: TempDir,
    path: PathBuf,
}

fn file(content: &[u8], mode: u32) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Place {
        _folder: folder,
        path,
    }
}

fn json(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(","))
}

fn key() -> Keypair {
    Keypair::new_from_array([7; 32])
}

#[test]
fn a_file_and_both_texts_of_a_key_sign_alike() {
    let key = key();
    let place = file(format!(" {}\n", json(&key.to_bytes())).as_bytes(), 0o600);
    let all = [
        Signer::from_file(&place.path).unwrap(),
        Signer::from_text("TWZRD_KEY", &json(&key.to_bytes())).unwrap(),
        Signer::from_text("TWZRD_KEY", &format!("{}\n", key.to_base58_string())).unwrap(),
    ];
    for signer in all {
        assert_eq!(signer.pubkey(), key.pubkey());
        assert_eq!(signer.sign(b"message"), key.sign_message(b"message"));
        assert_eq!(format!("{signer:?}"), format!("Signer({})", key.pubkey()));
    }
}

#[test]
fn a_file_that_others_may_use_is_refused_by_its_mode() {
    let content = json(&key().to_bytes());
    for mode in [0o640, 0o604, 0o660, 0o644, 0o620, 0o601, 0o700] {
        let place = file(content.as_bytes(), mode);
        let error = Signer::from_file(&place.path).unwrap_err();
        let path = place.path.display().to_string();
        assert_eq!(
            error,
            KeyError::Open {
                path: path.clone(),
                mode
            }
        );
        assert_eq!(
            error.to_string(),
            format!("the key file {path} has mode {mode:04o}; expected 0600 or stricter")
        );
    }
    let place = file(content.as_bytes(), 0o400);
    assert!(Signer::from_file(&place.path).is_ok(), "stricter is fine");
}

#[test]
fn what_is_no_regular_file_of_a_sane_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    assert_eq!(
        Signer::from_file(folder.path()).unwrap_err(),
        KeyError::NoFile { path }
    );
    assert!(matches!(
        Signer::from_file(&folder.path().join("none")).unwrap_err(),
        KeyError::Unreadable { .. }
    ));
    let long = MAX_FILE_BYTES;
    let padded = format!("{:long$}", json(&key().to_bytes()));
    assert!(Signer::from_file(&file(padded.as_bytes(), 0o600).path).is_ok());
    let place = file(format!("{padded} ").as_bytes(), 0o600);
    assert!(matches!(
        Signer::from_file(&place.path).unwrap_err(),
        KeyError::TooLong { .. }
    ));
}

#[test]
fn what_is_no_key_is_refused_without_a_byte_of_it() {
    let good = key().to_bytes();
    let mut other_half = good;
    other_half[63] ^= 1;
    let secret = json(&good);
    let numbers = secret.trim_matches(['[', ']']);
    let wrong = [
        String::new(),
        json(&good[..63]),
        json(&other_half),
        format!("[{numbers},7]"),
        format!("[{numbers}"),
        format!("[{numbers}] x"),
        format!("[{},256]", json(&good[..63]).trim_matches(['[', ']'])),
        format!("[{},\"{}\"]", 7, "letmein777"),
        format!("{{\"key\":[{numbers}]}}"),
        key().to_base58_string()[1..].to_owned(),
        format!("{}z", key().to_base58_string()),
        "0OIl-letmein777".to_owned(),
    ];
    for text in wrong {
        let from_text = Signer::from_text("TWZRD_KEY", &text).unwrap_err();
        assert_eq!(
            from_text,
            KeyError::NoKey {
                from: "the environment variable TWZRD_KEY".to_owned()
            }
        );
        let place = file(text.as_bytes(), 0o600);
        let from_file = Signer::from_file(&place.path).unwrap_err();
        for shown in [
            from_text.to_string(),
            from_file.to_string(),
            format!("{from_file:?}"),
        ] {
            let shown = shown.replace(&place.path.display().to_string(), "");
            assert!(!shown.contains("letmein"), "{shown}");
            assert!(text.len() < 8 || !shown.contains(&text[..8]), "{shown}");
            assert!(
                shown.contains("64") || shown.starts_with("NoKey"),
                "{shown}"
            );
        }
    }
    let binary = file(&[0xff; 64], 0o600);
    assert!(matches!(
        Signer::from_file(&binary.path).unwrap_err(),
        KeyError::NoKey { .. }
    ));
}
