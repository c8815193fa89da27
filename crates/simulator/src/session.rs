//! The task of one socket: reads what the client says, and writes what waits for it.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Client, Flow};
use crate::counters::Reason;
use crate::fault::Pace;
use crate::outbox::{Close, Plan};
use crate::parcel::Front;
use crate::shared::Shared;
use crate::socket::{Socket, WhenFull};

/// How much is read at once.
const READ_BYTES: usize = 4096;

/// How much of what waits is offered to the kernel at once.
const WRITE_BYTES: usize = 256 * 1024;

/// How a socket came to its end.
enum Ending {
    /// Asked for by the server.
    Ours(Close, Reason),
    /// The client has closed it or it broke.
    Client(Reason),
}

/// Takes note of the end of a socket, whatever way its task ends.
struct Departure {
    shared: Arc<Shared>,
    socket: Arc<Socket>,
    reason: Reason,
    is_orderly: bool,
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.socket.end(self.is_orderly);
        self.shared.counters.disconnect(self.reason);
        self.shared.hall().leave(self.socket.number);
    }
}

/// Runs a socket to its end.
pub(crate) async fn run(shared: Arc<Shared>, socket: Arc<Socket>, mut stream: TcpStream) {
    let mut departure = Departure {
        shared: Arc::clone(&shared),
        socket: Arc::clone(&socket),
        reason: Reason::Dropped,
        is_orderly: false,
    };
    let mut client = Client::new(Arc::clone(&shared), Arc::clone(&socket));
    let ending = tokio::select! {
        ending = write(&stream, &socket, &shared) => ending,
        ending = read(&stream, &socket, &shared, &mut client) => ending,
    };
    match ending {
        Ending::Client(reason) => departure.reason = reason,
        Ending::Ours(Close::Reset, reason) => {
            departure.reason = reason;
            // Without it the socket is closed in the usual way, and the tail may still arrive: it
            // is doubtful either way.
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(socket = socket.number, %error, "a socket could not be reset");
            }
        }
        Ending::Ours(Close::Orderly, reason) => {
            departure.reason = reason;
            let closing = timeout(shared.config.close_within, close(&mut stream)).await;
            departure.is_orderly = matches!(closing, Ok(Ok(())));
        }
    }
    drop(stream);
    drop(departure);
}

/// Sends the FIN and reads on until the client has closed its side too. To close a socket in
/// which something is left unread would send an RST, and what is on its way would be lost.
async fn close(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = vec![0; READ_BYTES];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn write(stream: &TcpStream, socket: &Socket, shared: &Shared) -> Ending {
    let mut front = Front::default();
    loop {
        match socket.plan(&mut front) {
            Plan::End(close, reason) => return Ending::Ours(close, reason),
            Plan::Rest { until } => {
                tokio::select! {
                    () = socket.changed.notified() => {}
                    () = reached(until) => {}
                }
            }
            Plan::Write {
                most,
                is_paced,
                until,
            } => {
                tokio::select! {
                    () = socket.changed.notified() => continue,
                    () = reached(until) => continue,
                    ready = stream.writable() => if let Err(error) = ready {
                        return broken(socket, &error);
                    }
                }
                match stream.try_write(front.next(most.min(WRITE_BYTES))) {
                    Ok(bytes) => {
                        let lines = memchr::memchr_iter(b'\n', front.next(bytes)).count();
                        shared.counters.lines_delivered.add(lines as u64);
                        shared.counters.bytes_delivered.add(bytes as u64);
                        front.advance(bytes);
                        socket.wrote(bytes);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return broken(socket, &error),
                }
                if is_paced {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn read(stream: &TcpStream, socket: &Socket, shared: &Shared, client: &mut Client) -> Ending {
    let mut input = Input::new(shared.config.command_bytes);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if shared.when_full() == WhenFull::Push && socket.is_full() {
            socket.has_room().await;
        }
        if let Err(error) = stream.readable().await {
            return broken(socket, &error);
        }
        let pace = socket.outbox().read_pace();
        let most = pace.map_or(READ_BYTES, |pace| pace.most.clamp(1, READ_BYTES));
        let bytes = match stream.try_read(&mut buffer[..most]) {
            Ok(0) => return gone(socket, Reason::ClientClosed),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return broken(socket, &error),
        };
        shared.counters.bytes_received.add(bytes as u64);
        if !input.feed(&buffer[..bytes], |line| client.heard(line)) {
            socket.close(Close::Orderly, Reason::CommandTooLong, Instant::now());
        }
        if let Some(pace) = pace {
            pause(socket, pace).await;
        }
    }
}

/// Waits before the next read, unless the pace is changed.
async fn pause(socket: &Socket, pace: Pace) {
    let until = Instant::now() + pace.every;
    while socket.outbox().read_pace() == Some(pace) {
        tokio::select! {
            () = socket.pace_changed.notified() => {}
            () = sleep_until(until) => return,
        }
    }
}

/// The client has gone. Where the end was asked for before, that is why.
fn gone(socket: &Socket, reason: Reason) -> Ending {
    Ending::Client(socket.outbox().closing_reason().unwrap_or(reason))
}

fn broken(socket: &Socket, error: &io::Error) -> Ending {
    tracing::debug!(socket = socket.number, %error, "a socket broke");
    gone(socket, Reason::ClientReset)
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What a client has said and is not yet a whole line.
struct Input {
    rest: Vec<u8>,
    most: usize,
}

impl Input {
    const fn new(most: usize) -> Self {
        Self {
            rest: Vec::new(),
            most,
        }
    }

    /// Gives whole lines to `heard`, without their line ends, until it has heard enough. False
    /// where a line is too long.
    fn feed(&mut self, mut bytes: &[u8], mut heard: impl FnMut(&[u8]) -> Flow) -> bool {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.rest.len() + end > self.most {
                return false;
            }
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
            let flow = heard(line);
            self.rest.clear();
            if flow == Flow::End {
                return true;
            }
        }
        if self.rest.len() + bytes.len() > self.most {
            return false;
        }
        self.rest.extend_from_slice(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"NICK a\r\n\r\nJOIN #b\nhalf";
        for step in 1..text.len() {
            let mut input = Input::new(16);
            let mut lines = Vec::new();
            for piece in text.chunks(step) {
                let is_fine = input.feed(piece, |line| {
                    lines.push(line.to_vec());
                    Flow::Go
                });
                assert!(is_fine);
            }
            assert_eq!(lines, [b"NICK a".to_vec(), Vec::new(), b"JOIN #b".to_vec()]);
            assert_eq!(input.rest, b"half");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_no_line() {
        let mut input = Input::new(4);
        assert!(input.feed(b"abcd", |_| Flow::Go));
        assert!(!input.feed(b"e", |_| Flow::Go));
        assert!(!Input::new(4).feed(b"abcde\n", |_| Flow::Go));
    }
}
