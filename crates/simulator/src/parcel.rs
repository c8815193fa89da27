//! Lines on their way: offered to sockets, and on the way out of one.

use std::sync::Arc;

use crate::dialect::Caps;
use crate::log::{Book, Source};

/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BUFFER_BYTES: usize = 64 * 1024;

/// A line on its way to sockets.
pub(crate) struct Parcel<'a> {
    pub(crate) line: &'a [u8],
    /// The same for the log, where there is one.
    pub(crate) kept: Option<Arc<[u8]>>,
    pub(crate) sequence: u64,
    pub(crate) source: Source,
    pub(crate) room: Option<u32>,
    /// What a socket must have asked for to get it.
    pub(crate) needs: Caps,
}

impl<'a> Parcel<'a> {
    pub(crate) fn new(book: &Book, line: &'a [u8], source: Source, needs: Caps) -> Self {
        Self {
            line,
            kept: book.keeps().then(|| Arc::from(line)),
            sequence: book.next_sequence(),
            source,
            room: None,
            needs,
        }
    }

    pub(crate) const fn in_room(mut self, room: u32) -> Self {
        self.room = Some(room);
        self
    }
}

/// What the session's task is writing: lines taken out of the outbox.
#[derive(Default)]
pub(crate) struct Front {
    bytes: Vec<u8>,
    at: usize,
}

impl Front {
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what is pending. Nothing is in front any more.
    pub(crate) const fn take(&mut self, pending: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, pending);
    }

    /// What is to be written next, up to so many bytes.
    pub(crate) fn next(&self, most: usize) -> &[u8] {
        let rest = &self.bytes[self.at..];
        &rest[..rest.len().min(most)]
    }

    /// So many bytes of it are written.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if self.at >= self.bytes.len() {
            self.at = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BUFFER_BYTES {
                self.bytes = Vec::new();
            }
        }
    }
}
