//! Bytes as the settings file: settings or faults, each fault with its place; what is printed is
//! what holds; and a secret changes nothing of what is told, so nothing of it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use crate::program::settings::layers::{Fault, Faults, Flags, Layers};
use crate::program::settings::{Line, Settings};

/// The most faults that are told at once.
const MAX_FAULTS: usize = 100;

/// Files beside the settings, which channel groups may name.
const LISTS: [(&str, &str); 3] = [
    ("channels.txt", "one\n# none\ntwo\n"),
    ("channels.json", "[\"three\", \"four\"]"),
    ("bad.txt", "not good\nfine\n\u{7}\n"),
];

/// Two secrets between which nobody may see a difference.
const SECRETS: [&str; 2] = ["9f0c2b7e51a84d63", "c3d1e7a90b42586f"];

thread_local! {
    static PLACE: (tempfile::TempDir, PathBuf) = {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in LISTS {
            fs::write(folder.path().join(name), text).expect("a list");
        }
        let file = folder.path().join("supervision.toml");
        fs::write(&file, "").expect("a file");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file, mode).expect("a mode");
        (folder, file)
    };
}

pub(crate) fn check(data: &[u8]) {
    PLACE.with(|(_, file)| {
        let told = told(file, data);
        match &told {
            Ok((settings, lines)) => {
                lines
                    .iter()
                    .for_each(|line| line_is_sound(line, file, data));
                what_is_printed_holds(file, settings, lines);
            }
            Err(faults) => {
                assert!(
                    (1..=MAX_FAULTS).contains(&faults.len()),
                    "{} faults",
                    faults.len()
                );
                faults
                    .iter()
                    .for_each(|fault| fault_is_sound(fault, file, data));
            }
        }
        secrets_stay(file, data);
    });
}

type Told = Result<(Box<Settings>, Vec<Line>), Vec<Fault>>;

/// What `twzrd check --print` tells of a file.
fn told(file: &Path, bytes: &[u8]) -> Told {
    fs::write(file, bytes).expect("a file that can be written");
    let flags = Flags {
        file: Some(file.to_owned()),
        ..Flags::default()
    };
    let layers = Layers::read(&flags).map_err(|Faults(faults)| faults)?;
    // A reload asks for these, also of settings at fault.
    assert!(layers.channel_files().iter().all(|path| path.is_absolute()));
    assert_eq!(layers.fixed().differences(&layers.fixed()), [""; 0]);
    let settings = layers.settings().map_err(|Faults(faults)| faults)?;
    Ok((Box::new(settings), layers.lines()))
}

fn is_one_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// A place is a line that there is, or a layer.
fn place_is_sound(place: &str, file: &Path, data: &[u8]) {
    assert!(is_one_line(place), "{place:?}");
    let Some(line) = place.strip_prefix(&format!("{}:", file.display())) else {
        let folder = file.parent().unwrap_or(file);
        let lies_beside = place.starts_with(&folder.display().to_string());
        assert!(
            lies_beside || place == "default" || place.starts_with('/'),
            "{place}"
        );
        return;
    };
    let lines = data.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line: usize = line.parse().expect("a number");
    assert!((1..=lines).contains(&line), "line {line} of {lines}");
}

fn fault_is_sound(fault: &Fault, file: &Path, data: &[u8]) {
    assert!(!fault.problem.is_empty(), "{fault}");
    assert!(is_one_line(&fault.to_string()), "{:?}", fault.to_string());
    place_is_sound(&fault.place, file, data);
}

fn line_is_sound(line: &Line, file: &Path, data: &[u8]) {
    assert!(
        is_one_line(&line.key) && is_one_line(&line.value),
        "{line:?}"
    );
    assert!(!line.key.is_empty() && !line.value.is_empty(), "{line:?}");
    place_is_sound(&line.source, file, data);
}

/// The printed lines, taken for a file, are settings of the same meaning.
fn what_is_printed_holds(file: &Path, settings: &Settings, lines: &[Line]) {
    let shown = lines.iter().filter(|line| line.key != "store.url");
    let text: String = shown
        .map(|line| format!("{} = {}\n", line.key, line.value))
        .collect();
    match told(file, text.as_bytes()) {
        Ok((again, printed)) => {
            let mut again = *again;
            again.database_url.clone_from(&settings.database_url);
            assert_eq!(format!("{again:?}"), format!("{settings:?}"));
            let values = |lines: &[Line]| -> Vec<_> {
                let kept = lines.iter().filter(|line| line.key != "store.url");
                kept.map(|line| (line.key.clone(), line.value.clone()))
                    .collect()
            };
            assert_eq!(values(&printed), values(lines));
        }
        Err(faults) => panic!("{text}\nis refused: {}", Faults(faults)),
    }
}

/// Whatever the secret is, the same is told.
fn secrets_stay(file: &Path, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for form in ["postgres://me:SECRET@db/x", "mysql://SECRET", "SECRET"] {
        let mut all = Vec::new();
        for secret in SECRETS {
            let Some(text) = with_url(text, &form.replace("SECRET", secret)) else {
                return;
            };
            let told = match told(file, text.as_bytes()) {
                Ok((settings, lines)) => format!("{settings:?}\n{lines:?}"),
                Err(faults) => Faults(faults).to_string(),
            };
            assert!(!told.contains(secret), "{told}");
            all.push(told);
        }
        assert_eq!(all[0], all[1], "a secret makes a difference");
    }
}

/// The settings with another `store.url`; none where they have none.
fn with_url(text: &str, url: &str) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let store = document.get_mut("store")?.as_table_like_mut()?;
    let found = store.get_mut("url")?;
    *found = Item::Value(url.into());
    Some(document.to_string())
}
