//! Figures and texts as people read them.

use std::time::Duration;

/// The longest text of the process that is shown, in characters.
const MAX_CHARS: usize = 400;

/// A number, with three or four digits at most: `999`, `12.3k`, `4.0M`.
pub(super) fn count(n: u64) -> String {
    if n < 1000 {
        return n.to_string();
    }
    let (n, mut unit) = (u128::from(n), 1000u128);
    for name in ["k", "M", "G", "T", "P"] {
        let tenths = (n * 10 + unit / 2) / unit;
        if tenths < 1000 {
            return format!("{}.{}{name}", tenths / 10, tenths % 10);
        }
        let whole = (n + unit / 2) / unit;
        if whole < 1000 {
            return format!("{whole}{name}");
        }
        unit *= 1000;
    }
    format!("{}E", (n + unit / 2) / unit)
}

/// A rate: `0`, `0.4/s`, `12/s`, `1.2k/s`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and what is negative or no number is zero"
)]
pub(super) fn rate(per_second: f64) -> String {
    let tenths = (per_second * 10.0).round() as u64;
    match tenths {
        0 => "0".to_owned(),
        1..100 => format!("{}.{}/s", tenths / 10, tenths % 10),
        _ => format!("{}/s", count(per_second.round() as u64)),
    }
}

/// A time of many seconds: `3s`, `4m12s`, `2h05m`, `3d04h`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A time, with milliseconds where it is short: `300ms`, `1.2s`, `14s`, `4m12s`.
pub(super) fn short(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => duration(Duration::from_millis(ms)),
    }
}

/// A text of the process without anything that a terminal would obey, on one line, and cut.
///
/// Escape sequences and control characters go, also the invisible ones that turn the direction of
/// writing around or join characters into one of a width that terminals do not agree on.
#[must_use]
pub fn clean(text: &str) -> String {
    // What an escape sequence may hide is not searched for its end through a whole answer.
    let begun: String = text.chars().take(4 * MAX_CHARS).collect();
    let visible = console::strip_ansi_codes(&begun);
    let mut clean = String::new();
    let mut chars = 0;
    for c in visible.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c.is_control() || is_invisible(c) || (c == ' ' && clean.ends_with(' ')) {
            continue;
        }
        if chars == MAX_CHARS {
            clean.push('…');
            break;
        }
        clean.push(c);
        chars += 1;
    }
    clean
}

const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The same JSON on one line, without a character that a terminal would obey.
///
/// Between tokens JSON has no control characters but white space, and within a string every one
/// of them may be written as an escape.
#[must_use]
pub fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            '\u{7f}'..='\u{9f}' => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => line.push(c),
        }
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_four_digits_at_most() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (12_345, "12.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (123_456_789, "123M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn a_rate_that_is_no_number_is_none() {
        for (n, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.44, "0.4/s"),
            (9.94, "9.9/s"),
            (9.96, "10/s"),
            (1234.5, "1.2k/s"),
            (-5.0, "0"),
            (f64::NAN, "0"),
            (1e300, "18E/s"),
        ] {
            assert_eq!(rate(n), text, "{n}");
        }
    }

    #[test]
    fn a_time_has_two_units_at_most() {
        let times = [
            (0, "0ms"),
            (999, "999ms"),
            (1234, "1.2s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (252_000, "4m12s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ];
        for (ms, text) in times {
            assert_eq!(short(ms), text);
        }
        assert_eq!(duration(Duration::from_millis(3999)), "3s");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (text, left) in [
            ("plain ünï 茶", "plain ünï 茶"),
            ("a\u{1b}[31mred\u{1b}[0m", "ared"),
            ("\u{1b}]0;title\u{7}x", "x"),
            (
                "\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\",
                "link",
            ),
            ("\u{9b}2Jx", "x"),
            ("a\r\nb\tc\u{0}\u{8}\u{7f}d", "a b cd"),
            ("a\u{202e}b\u{200b}c\u{200d}d", "abcd"),
            ("a\u{2028}b\u{2029}c", "a b c"),
        ] {
            assert_eq!(clean(text), left, "{text:?}");
        }
        let all: String = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
        for part in all.chars().collect::<Vec<_>>().chunks(300) {
            let part: String = part.iter().collect();
            assert!(!clean(&part).chars().any(char::is_control), "{part:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let cut = clean(&"ab".repeat(100_000));
        assert_eq!(cut, format!("{}…", "ab".repeat(MAX_CHARS / 2)));
    }

    #[test]
    fn json_on_one_line_means_the_same() {
        let json = "\n{\"a\" :\r\n\t[1,\"\u{9b}2J\u{7f}\\n ü\"]}\n";
        let line = one_line(json);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&line), parse(json));
    }
}
