//! What a reload refuses, and that the old list stays.

use std::os::unix::fs::PermissionsExt;

use twzrd::admin::{Admin, Refused};

use crate::support::Place;
use crate::{Started, counts, head, two_groups};

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let process = Started::new("one\n", "[\"two\"]");
    let place = &process.place;
    let settings = process.path("supervision.toml").display().to_string();
    let list = process.path("a.txt").display().to_string();
    let refused = async |expected: &str| {
        let refused = process.reloader.reload().await.unwrap_err();
        assert_eq!(refused, Refused::Faults(vec![expected.to_owned()]));
    };
    let name = "expected the name of a channel: 1 to 64 ASCII letters, digits and underscores";

    place.write("a.txt", "one\nthree\nnot good\n");
    refused(&format!("{list}:3: \"not good\"; {name}")).await;
    place.write("a.txt", "one\nTWO\n");
    refused(&format!(
        "{settings}:14: channel_groups.1.channels.0: \"two\" again; expected each channel in one group"
    ))
    .await;
    // As a file looks that is being written.
    place.write("a.txt", "");
    refused(&format!(
        "{list}: is empty; expected channels, or a comment where none is wanted"
    ))
    .await;
    std::fs::remove_file(process.path("a.txt")).unwrap();
    refused(&format!(
        "{list}: cannot be read: No such file or directory (os error 2); expected a list of channels"
    ))
    .await;

    place.write("a.txt", "one\nthree\n");
    place.write("supervision.toml", "\n\n");
    refused(&format!(
        "{settings}: is gone or empty; expected the settings with which the process was started"
    ))
    .await;
    std::fs::remove_file(process.path("supervision.toml")).unwrap();
    refused(&format!(
        "{settings}: cannot be read: No such file or directory (os error 2); expected a TOML file"
    ))
    .await;

    assert_eq!(process.sink.told(), [""; 0]);
    place.write("supervision.toml", two_groups("[\"two\"]"));
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [1, 0, 0, 2]);
    assert_eq!(process.sink.told(), ["one three two"]);
}

#[tokio::test]
async fn a_setting_that_cannot_be_reloaded_is_refused_by_name() {
    let place = Place::new();
    let text = |seconds: u32, secret: &str, more: &str| {
        format!(
            "epoch.seconds = {seconds}\nstore.url = \"postgres://me:{secret}@db/x\"\n{more}\n{}channels = [\"one\", \"two\"]\n",
            head("g")
        )
    };
    let file = place.write("supervision.toml", text(60, "hunter2", ""));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let process = Started::with(place);
    let more = "suppression.bots = [\"nightbot\"]\nchildren.journal.cool_down_restarts = 1\nchildren.journal.cool_down_period_ms = 2\nchildren.journal.cool_down_pause_ms = 3";
    let changed = text(61, "hunter3", more).replace("\"two\"", "\"three\"");
    process.place.write("supervision.toml", changed);
    let refused = process.reloader.reload().await.unwrap_err();
    let expected = [
        "children.journal.cool_down_pause_ms: nothing holds, 3 was found",
        "children.journal.cool_down_period_ms: nothing holds, 2 was found",
        "children.journal.cool_down_restarts: nothing holds, 1 was found",
        "epoch.seconds: 60 holds, 61 was found",
        "store.url: *** holds, *** was found",
        "suppression.bots: [] holds, [\"nightbot\"] was found",
    ];
    assert_eq!(
        refused,
        Refused::NotReloadable(expected.map(str::to_owned).into())
    );
    assert_eq!(process.sink.told(), [""; 0]);

    // The same value in another form is no change.
    let same = text(60, "hunter2", "").replace("= 60", "= 6_0");
    process.place.write("supervision.toml", same);
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_list_that_is_not_taken_is_rolled_back() {
    let process = Started::new("one\n", "[]");
    process.place.write("a.txt", "two\n");
    process.sink.answer(&[Err("nobody listens")]);
    let refused = process.reloader.reload().await.unwrap_err();
    assert_eq!(
        refused,
        Refused::Unavailable(
            "the channels cannot be changed now: nobody listens; the old list stays".to_owned()
        )
    );
    assert_eq!(process.sink.told(), ["two", "one"]);
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [1, 1, 0, 0]);
    assert_eq!(process.sink.told(), ["two", "one", "two"]);
}

#[tokio::test]
async fn a_list_that_could_not_be_put_back_is_told_again() {
    let process = Started::new("one\n", "[]");
    process.place.write("a.txt", "two\n");
    process.sink.answer(&[Err("full"), Err("gone")]);
    let refused = process.reloader.reload().await.unwrap_err();
    assert_eq!(
        refused,
        Refused::Unavailable(
            "the channels cannot be changed now: full; the old list cannot be put back: gone; the next reload makes a whole list hold".to_owned()
        )
    );
    // Nothing differs from the old list, but which one holds is not known.
    process.place.write("a.txt", "one\n");
    let done = process.reloader.reload().await.unwrap();
    assert_eq!(counts(&done), [0, 0, 0, 1]);
    assert_eq!(process.sink.told(), ["two", "one", "one"]);
}
