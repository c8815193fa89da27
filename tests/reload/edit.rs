//! Edits: written to where a group is listed, or not at all.

use std::os::unix::fs::{PermissionsExt, symlink};

use twzrd::admin::{Admin, ChannelEdit, Refused};

use crate::support::Place;
use crate::{Started, counts, two_groups};

fn edit(group: Option<&str>, add: &[&str], remove: &[&str]) -> ChannelEdit {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    ChannelEdit {
        group: group.map(str::to_owned),
        add: owned(add),
        remove: owned(remove),
    }
}

#[tokio::test]
async fn an_edit_of_a_file_keeps_its_comments_its_mode_and_the_link_to_it() {
    let process = Started::new("one\n", "[]");
    let real = process.place.write("real.txt", "# all\none # why\ntwo\n");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::remove_file(process.path("a.txt")).unwrap();
    symlink("real.txt", process.path("a.txt")).unwrap();
    process.reloader.reload().await.unwrap();

    let change = edit(Some("a"), &["Three", "one"], &["two", "nobody"]);
    let done = process.reloader.edit(change).await.unwrap();
    assert_eq!(counts(&done), [1, 1, 0, 1]);
    assert_eq!(process.read("real.txt"), "# all\none # why\nthree\n");
    let mode = std::fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let link = std::fs::read_link(process.path("a.txt")).unwrap();
    assert_eq!(link.to_str(), Some("real.txt"));
    assert_eq!(process.sink.told(), ["one two", "one three"]);
    let left = process.place.names("");
    assert_eq!(left, ["a.txt", "real.txt", "supervision.toml", "tmp"]);
}

#[tokio::test]
async fn an_edit_of_the_settings_changes_the_list_and_nothing_else() {
    let process = Started::new("one\n", "[\"two\"]");
    let change = edit(Some("b"), &["three"], &["two"]);
    let done = process.reloader.edit(change).await.unwrap();
    assert_eq!(counts(&done), [1, 1, 0, 1]);
    assert_eq!(process.read("supervision.toml"), two_groups("[\"three\"]"));
    assert_eq!(process.read("a.txt"), "one\n");
    assert_eq!(process.sink.told(), ["one three"]);
}

#[tokio::test]
async fn an_edit_that_is_refused_leaves_the_file_as_it_was() {
    let process = Started::new("one\n", "[\"two\"]");
    // A channel is in one group.
    let refused = process.reloader.edit(edit(Some("a"), &["two"], &[])).await;
    let settings = process.path("supervision.toml").display().to_string();
    assert_eq!(
        refused.unwrap_err(),
        Refused::Faults(vec![format!(
            "{settings}:14: channel_groups.1.channels.0: \"two\" again; expected each channel in one group"
        )])
    );
    assert_eq!(process.read("a.txt"), "one\n");

    process.sink.answer(&[Err("nobody listens")]);
    let refused = process
        .reloader
        .edit(edit(Some("b"), &["three"], &[]))
        .await;
    assert_eq!(
        refused.unwrap_err(),
        Refused::Unavailable(
            "the channels cannot be changed now: nobody listens; the old list stays".to_owned()
        )
    );
    assert_eq!(process.read("supervision.toml"), two_groups("[\"two\"]"));
    assert_eq!(process.sink.told(), ["one three two", "one two"]);
}

#[tokio::test]
async fn an_edit_that_makes_no_sense_is_refused() {
    let process = Started::new("one\n", "[\"two\"]");
    for (change, expected) in [
        (
            edit(Some("a"), &[], &[]),
            "nothing is asked for; expected channels to add or to remove",
        ),
        (
            edit(Some("a"), &["#irc"], &["no good"]),
            "\"#irc\", \"no good\"; expected the name of a channel: 1 to 64 ASCII letters, digits and underscores",
        ),
        (
            edit(Some("a"), &["x"], &["X"]),
            "\"x\" is both to be added and to be removed",
        ),
        (
            edit(None, &["x"], &[]),
            "there are several channel groups; expected one of a, b",
        ),
        (
            edit(Some("c"), &["x"], &[]),
            "there is no channel group \"c\"; expected one of a, b",
        ),
    ] {
        let refused = process.reloader.edit(change).await.unwrap_err();
        assert_eq!(refused, Refused::Edit(expected.to_owned()));
    }
    assert_eq!(process.read("supervision.toml"), two_groups("[\"two\"]"));
    assert_eq!(process.sink.told(), [""; 0]);
}

#[tokio::test]
async fn an_edit_of_settings_that_differ_elsewhere_writes_nothing() {
    let process = Started::new("one\n", "[\"two\"]");
    let changed = two_groups("[\"two\"]").replace("seconds = 60", "seconds = 61");
    process.place.write("supervision.toml", &changed);
    let refused = process.reloader.edit(edit(Some("b"), &["x"], &[])).await;
    assert_eq!(
        refused.unwrap_err(),
        Refused::NotReloadable(vec!["epoch.seconds: 60 holds, 61 was found".to_owned()])
    );
    assert_eq!(process.read("supervision.toml"), changed);
}

#[tokio::test]
async fn without_a_group_or_a_file_an_edit_says_what_to_do() {
    let place = Place::new();
    place.write("supervision.toml", "[epoch]\nseconds = 60\n");
    let process = Started::with(place);
    let refused = process.reloader.edit(edit(None, &["x"], &[])).await;
    assert_eq!(
        refused.unwrap_err(),
        Refused::Edit("there is no channel group; write one into the settings first".to_owned())
    );
}
