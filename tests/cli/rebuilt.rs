//! A database that is gone is built anew from the journal; what was published stood in it alone.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use crate::support::{Place, finish_soon, signal, six};

/// Settings with a target whose node nobody asks here, and a key.
fn settings(place: &Place, auto_publish: bool) {
    // A secret of 32 bytes that are one, and the address that belongs to it.
    let mut key = vec![1u8; 32];
    key.extend(hex::decode(ADDRESS).unwrap());
    let path = place.write("key.json", serde_json::to_vec(&key).unwrap());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[chain]\ntarget = \"memo\"\nrpc_urls = [\"http://127.0.0.1:9\"]\nkeypair_file = \"key.json\"\n\
         [publisher]\nauto_publish = {auto_publish}\n\
         [twitch]\nhost = \"127.0.0.1\"\nport = 9\ntls = false\n[gateway]\nlisten = \"127.0.0.1:0\"\n"
    );
    place.write("supervision.toml", text);
}

const ADDRESS: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// Takes the database away and leaves the journal.
fn lose_database(place: &Place) {
    for name in place.names("data") {
        if name.starts_with("twzrd.sqlite") {
            std::fs::remove_file(place.path("data").join(name)).unwrap();
        }
    }
}

/// Runs the service until it says that it runs, and stops it.
#[track_caller]
fn runs(place: &Place) {
    let mut child = place.command(&["run", "--data", "data"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut all, mut line) = (String::new(), String::new());
    while !line.contains("\"message\":\"running\"") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {all}");
        all += &line;
    }
    signal(child.id(), "-TERM");
    assert_eq!(finish_soon(child).code, 0);
}

#[test]
fn a_database_that_is_built_anew_publishes_nothing_before_an_operator_says_so() {
    let place = Place::new();
    place.write("six.irc", six());
    place.replay("data", &["six.irc"]);
    settings(&place, true);
    // With the database that knows what was published all goes on.
    runs(&place);
    lose_database(&place);
    let refused = place.run(&["run", "--data", "data"]);
    assert_eq!(refused.code, 78, "{}", refused.err);
    for part in [
        "publisher.auto_publish: the database is empty, and the journal holds sealed epochs",
        "expected a copy of the old database, or false for this start",
        "`twzrd settlement list` and `twzrd publish --dry-run`",
    ] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    // It is refused again, and not only once.
    assert_eq!(place.run(&["run", "--data", "data"]).code, 78);
    settings(&place, false);
    runs(&place);
    settings(&place, true);
    runs(&place);
}

#[test]
fn a_journal_without_a_sealed_epoch_has_nothing_that_could_be_published_again() {
    let place = Place::new();
    settings(&place, true);
    runs(&place);
    lose_database(&place);
    runs(&place);
}
