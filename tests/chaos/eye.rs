//! Watches the journal of a process from outside, and remembers all of it: whatever was there once
//! must be there, unchanged, for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;

use twzrd_domain::event::IdDigest;
use twzrd_domain::record::{Entry, Record, Seq};
use twzrd_journal::SegmentReader;

/// The first four bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What was seen of a journal.
pub(crate) struct Eye {
    folder: PathBuf,
    /// A digest of each record, the first one at 0.
    digests: Vec<u64>,
    /// How often each id is there.
    ids: HashMap<String, u32>,
    /// Digests of ids of lines that left no event.
    passed: HashSet<IdDigest>,
    /// How many seals there are.
    pub(crate) seals: u64,
    /// How many lines its records took in.
    pub(crate) lines: u64,
    /// How many bytes the newest segment had, and which it was.
    size: (String, u64),
}

impl Eye {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            digests: Vec::new(),
            ids: HashMap::new(),
            passed: HashSet::new(),
            seals: 0,
            lines: 0,
            size: (String::new(), 0),
        }
    }

    /// The last record that was seen.
    pub(crate) fn last(&self) -> Seq {
        self.digests.len() as Seq
    }

    /// True where a line with this id is there: as an event, or as one that left none.
    pub(crate) fn knows(&self, id: &str, digest: IdDigest) -> bool {
        self.ids.contains_key(id) || self.passed.contains(&digest)
    }

    /// Ids that are there more than once.
    pub(crate) fn twice(&self) -> BTreeSet<String> {
        let twice = self.ids.iter().filter(|(_, times)| **times > 1);
        twice
            .map(|(id, times)| format!("{id}, {times} times"))
            .collect()
    }

    /// Ids that are there.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.ids.keys()
    }

    /// Looks, where the newest segment is another than at the last look, or longer.
    pub(crate) fn glance(&mut self) -> Result<(), String> {
        let newest = self.segments().and_then(|segments| {
            let Some((_, name)) = segments.last_key_value() else {
                return Ok((String::new(), 0));
            };
            let size = std::fs::metadata(self.folder.join(name))?.len();
            Ok((name.clone(), size))
        });
        match newest {
            Ok(newest) if newest == self.size => Ok(()),
            Ok(newest) => {
                self.size = newest;
                self.look()
            }
            // It has just been compressed: the next glance sees it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes in every whole append that is there. What was seen before in the segments that are
    /// read must be there still.
    pub(crate) fn look(&mut self) -> Result<(), String> {
        for _ in 0..10 {
            match self.read_from(self.last() + 1) {
                // A process that writes compresses segments, and takes the plain ones away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map_err(|error| error.to_string()),
            }
        }
        Err("the segments of the journal never stood still".to_owned())
    }

    /// Reads all of it once more.
    pub(crate) fn look_at_all(&mut self) -> Result<(), String> {
        self.read_from(1).map_err(|error| error.to_string())
    }

    fn read_from(&mut self, wanted: Seq) -> io::Result<()> {
        let segments = self.segments()?;
        let begin = segments
            .range(..=wanted)
            .next_back()
            .map_or(1, |(first, _)| *first);
        let known = self.last();
        let mut next = begin;
        for (&first, name) in segments.range(begin..) {
            if first != next {
                let told = format!("{name} does not go on behind record {}", next - 1);
                return Err(io::Error::other(told));
            }
            next = self.segment(first, name)?;
        }
        if next <= known {
            let told = format!("record {known} was there, and now the last is {}", next - 1);
            return Err(io::Error::other(told));
        }
        Ok(())
    }

    /// Reads the whole appends of a segment, and gives the number of the record behind them.
    fn segment(&mut self, first: Seq, name: &str) -> io::Result<Seq> {
        let mut bytes = std::fs::read(self.folder.join(name))?;
        if bytes.starts_with(&ZSTD_MAGIC) {
            bytes = zstd::decode_all(&bytes[..])?;
        }
        let mut reader = SegmentReader::new(&bytes[..], name, Some(first));
        let (mut next, mut append) = (first, Vec::new());
        while let Some(line) = reader.next_line().map_err(io::Error::other)? {
            let is_whole = line.closes_append();
            append.push(line.entry);
            if is_whole {
                for entry in append.drain(..) {
                    next = entry.seq + 1;
                    self.take(&entry)?;
                }
            }
        }
        Ok(next)
    }

    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        let mut hasher = DefaultHasher::new();
        format!("{entry:?}").hash(&mut hasher);
        let digest = hasher.finish();
        let at = usize::try_from(entry.seq - 1).map_err(io::Error::other)?;
        match self.digests.get(at) {
            Some(&known) if known == digest => return Ok(()),
            Some(_) => {
                let told = format!("record {} is another one than it was: {entry:?}", entry.seq);
                return Err(io::Error::other(told));
            }
            None => self.digests.push(digest),
        }
        match &entry.record {
            Record::Event(event) => {
                if let Some(id) = &event.id {
                    *self.ids.entry(id.as_str().to_owned()).or_default() += 1;
                }
            }
            Record::Tally(tally) => {
                self.lines += tally.lines;
                self.passed.extend(&tally.seen);
            }
            Record::Seal(_) => self.seals += 1,
            _ => {}
        }
        Ok(())
    }

    /// The segments by their first records. Where one is there both plain and compressed, the
    /// plain one counts.
    pub(crate) fn segments(&self) -> io::Result<BTreeMap<Seq, String>> {
        let mut segments = BTreeMap::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some((first, ending)) = name.split_once('.') else {
                continue;
            };
            let Ok(first) = first.parse::<Seq>() else {
                continue;
            };
            match ending {
                "ndjson" => drop(segments.insert(first, name.clone())),
                "ndjson.zst" => drop(segments.entry(first).or_insert_with(|| name.clone())),
                _ => {}
            }
        }
        Ok(segments)
    }
}
