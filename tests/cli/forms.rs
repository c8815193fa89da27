//! The same lines in every form in which they may come.

use crate::support::{Place, compressed, root, sample};

const REPLAY: [&str; 4] = ["replay", "--json", "--log-level", "error"];

fn undisturbed(place: &Place) -> String {
    let path = root("samples/twitch.irc");
    place.replay("undisturbed", &[path.to_str().unwrap()])
}

#[test]
fn every_form_of_the_same_lines_gives_the_same_output() {
    let place = Place::new();
    let expected = undisturbed(&place);
    let lines = sample();
    let half = lines.len() / 2;
    let middle = half + lines[half..].iter().position(|&b| b == b'\n').unwrap() + 1;
    let (begin, end) = lines.split_at(middle);
    let crlf = String::from_utf8(lines.clone())
        .unwrap()
        .replace('\n', "\r\n");
    let spaced = crlf.replace("\r\n", "\r\n\r\n");

    place.write("lines.zst", compressed(&lines));
    place.write("frames.zst", [compressed(begin), compressed(end)].concat());
    place.write("no-suffix", compressed(&lines));
    place.write("crlf", crlf);
    place.write("spaced", spaced);
    place.write("begin", begin);
    place.write("end", end);
    place.write("end.zst", compressed(end));
    place.write("no-last-feed", lines.strip_suffix(b"\n").unwrap());
    for files in [
        &["lines.zst"][..],
        &["frames.zst"],
        &["no-suffix"],
        &["crlf"],
        &["spaced"],
        &["begin", "end"],
        &["begin", "end.zst"],
        &["no-last-feed"],
        // A file without a line in between is noticed, and changes nothing.
        &["begin", "/dev/null", "end"],
    ] {
        let out = place.run(&[&REPLAY, files].concat()).good();
        assert_eq!(out, expected, "{files:?}");
    }
}

#[test]
fn standard_input_may_be_plain_or_compressed() {
    let place = Place::new();
    let expected = undisturbed(&place);
    let lines = sample();
    let args = [&REPLAY[..], &["-"]].concat();
    assert_eq!(place.run_on(&args, &lines).good(), expected);
    assert_eq!(place.run_on(&args, compressed(&lines)).good(), expected);
}

#[test]
fn an_input_is_known_by_its_content_in_whichever_form() {
    let place = Place::new();
    let expected = undisturbed(&place);
    let lines = sample();
    place.write("lines", &lines);
    place.write("lines.zst", compressed(&lines));
    let args = [&REPLAY[..], &["--data", "data", "-"]].concat();
    assert_eq!(place.run_on(&args, &lines).good(), expected);
    assert_eq!(place.run_on(&args, &lines).good(), expected);
    assert_eq!(place.run_on(&args, compressed(&lines)).good(), expected);
    assert_eq!(place.replay("data", &["lines.zst", "lines"]), expected);
}

#[test]
fn a_pipe_may_stand_for_a_file() {
    let place = Place::new();
    let expected = undisturbed(&place);
    let args = [&REPLAY[..], &["--data", "data", "/dev/stdin"]].concat();
    assert_eq!(place.run_on(&args, sample()).good(), expected);
    // A pipe cannot be read twice, which is what it takes to know its content again.
    let again = place.run_on(&args, sample());
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, expected.as_str()),
        "{}",
        again.err
    );
}

#[test]
fn bytes_in_small_pieces_make_the_same_lines() {
    use std::io::Write;
    let place = Place::new();
    let expected = undisturbed(&place);
    let args = [&REPLAY[..], &["-"]].concat();
    let mut child = place.spawn_piped(&args);
    let mut stdin = child.stdin.take().unwrap();
    for piece in sample().chunks(997) {
        stdin.write_all(piece).unwrap();
    }
    drop(stdin);
    assert_eq!(crate::support::finish(child).good(), expected);
}
