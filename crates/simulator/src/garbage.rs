//! What no client likes to read.

use rand::Rng;

use crate::fault::Garbage;
use crate::hall::Hall;
use crate::rooms::Number;
use crate::traffic::pen;

/// How long a line is that is too long.
const LONG_TEXT_BYTES: usize = 70_000;

/// How many tags there are in a line with too many, besides those of every message.
const TAGS: usize = 200;

/// Who says it.
const SPEAKER: &str = "speaker_of_garbage";

/// The lines of a kind of garbage, without their line ends.
pub(crate) fn lines(hall: &mut Hall, garbage: Garbage, room: Number, now: u64) -> Vec<Vec<u8>> {
    let by = (SPEAKER, now);
    let line = match garbage {
        Garbage::InvalidUtf8 => {
            hall.message(room, by, "", b"half a letter: \xe3\x83, none: \xff\xfe")
        }
        Garbage::RandomBytes => {
            let length = 1 + pen::pick(&mut hall.rng, 500);
            let bytes = (0..length).map(|_| hall.rng.next_u32().to_le_bytes()[0]);
            bytes
                .map(|byte| {
                    if matches!(byte, b'\r' | b'\n') {
                        b'?'
                    } else {
                        byte
                    }
                })
                .collect()
        }
        Garbage::LongLine => hall.message(room, by, "", &[b'x'; LONG_TEXT_BYTES]),
        Garbage::UnknownCommand => b":tmi.twitch.tv SOMETHINGNEW #everybody :what is this".to_vec(),
        Garbage::EmptyLines => return vec![Vec::new(); 3],
        Garbage::ManyTags => {
            let tags: String = (0..TAGS).map(|tag| format!("tag-{tag}=value;")).collect();
            hall.message(room, by, &tags, b"so many tags")
        }
    };
    vec![line]
}
