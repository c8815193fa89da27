//! The rooms: what they are called, who is in them, and whether they can be joined.

use std::sync::Arc;

use crate::fault::RoomState;
use crate::socket::Socket;

/// A room's number.
pub(crate) type Number = u32;

#[derive(Default)]
struct Room {
    sockets: Vec<Arc<Socket>>,
    state: RoomState,
}

pub(crate) struct Rooms {
    names: Arc<[Arc<str>]>,
    /// Numbers, by name.
    by_name: Vec<Number>,
    rooms: Vec<Room>,
}

impl Rooms {
    pub(crate) fn new(names: Arc<[Arc<str>]>) -> Self {
        let count = Number::try_from(names.len()).unwrap_or(Number::MAX);
        let mut by_name: Vec<Number> = (0..count).collect();
        by_name.sort_unstable_by_key(|&room| &names[index(room)]);
        Self {
            rooms: names.iter().map(|_| Room::default()).collect(),
            by_name,
            names,
        }
    }

    /// The room of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Number> {
        let found = self
            .by_name
            .binary_search_by_key(&name, |&room| &self.names[index(room)]);
        found.ok().map(|at| self.by_name[at])
    }

    pub(crate) fn name(&self, room: Number) -> Arc<str> {
        Arc::clone(&self.names[index(room)])
    }

    pub(crate) fn state(&self, room: Number) -> RoomState {
        self.rooms[index(room)].state
    }

    pub(crate) fn set_state(&mut self, room: Number, state: RoomState) {
        self.rooms[index(room)].state = state;
    }

    /// The sockets that have joined a room.
    pub(crate) fn sockets(&self, room: Number) -> &[Arc<Socket>] {
        self.rooms
            .get(index(room))
            .map_or(&[], |room| &room.sockets)
    }

    pub(crate) fn enter(&mut self, room: Number, socket: Arc<Socket>) {
        self.rooms[index(room)].sockets.push(socket);
    }

    pub(crate) fn leave(&mut self, room: Number, socket: u64) {
        let sockets = &mut self.rooms[index(room)].sockets;
        sockets.retain(|other| other.number != socket);
        if sockets.is_empty() {
            *sockets = Vec::new();
        }
    }
}

fn index(room: Number) -> usize {
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn rooms_are_found_by_name_and_no_other() {
        let names = config::Rooms::Numbered(10_500).names();
        let rooms = Rooms::new(names.unwrap_or_else(|fault| unreachable!("{fault}")));
        for (name, number) in [
            ("channel_0000", Some(0)),
            ("channel_0999", Some(999)),
            ("channel_10499", Some(10_499)),
            ("channel_10500", None),
            ("channel_999", None),
            ("", None),
        ] {
            assert_eq!(rooms.find(name), number, "{name}");
        }
        assert_eq!(&*rooms.name(42), "channel_0042");
    }
}
