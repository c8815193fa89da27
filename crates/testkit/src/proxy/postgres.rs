//! Reads along between a client and a Postgres, as far as it must to know transactions and commits.
//!
//! Messages are those of protocol 3: one byte that says which, four for the length (with
//! themselves), and the body. Only what a client says first has no byte for its kind. It may ask
//! for encryption before that, which the server answers with a single byte.

use std::collections::HashMap;

/// How many bytes of a message are kept. What is looked for is at its beginning.
const KEPT_BYTES: usize = 512;

/// How many prepared statements and portals that begin or end a transaction are remembered.
const MOST_NAMES: usize = 64;

/// The longest length that a message may say it has.
const MOST_BYTES: usize = 1 << 30;

const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();

/// A statement that a client has executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It begins a transaction.
    Begin,
    /// It commits one.
    Commit,
    /// It gives one up.
    Rollback,
    /// Anything else.
    Statement,
}

/// Both sides of a connection.
#[derive(Default)]
pub(super) struct Dialogue {
    client: Frames,
    server: Frames,
    /// The client's first message has come that is no request for encryption.
    has_started: bool,
    /// So many answers of a single byte are owed by the server.
    bare_answers: u32,
    /// The rest cannot be read: it is encrypted, or no Postgres.
    is_opaque: bool,
    statements: Names,
    portals: Names,
}

type Names = HashMap<Vec<u8>, Said>;

impl Dialogue {
    /// The statements that are executed in these bytes, each with the place where its message
    /// begins: 0 where it began in bytes before.
    pub(super) fn client_says(&mut self, bytes: &[u8]) -> Vec<(usize, Said)> {
        let mut executed = Vec::new();
        let (mut at, mut begin) = (0, 0);
        while at < bytes.len() && !self.is_opaque {
            if self.client.is_between() {
                begin = at;
            }
            at += self.client.take(&bytes[at..], self.has_started);
            match self.client.finish() {
                Frame::Partial => {}
                Frame::Broken => self.is_opaque = true,
                Frame::Whole(_, body) if !self.has_started => self.starts(&body),
                Frame::Whole(kind, body) => {
                    executed.extend(self.hears(kind, &body).map(|said| (begin, said)));
                }
            }
        }
        executed
    }

    fn starts(&mut self, body: &[u8]) {
        if body.starts_with(&SSL_REQUEST) || body.starts_with(&GSS_REQUEST) {
            self.bare_answers += 1;
        } else {
            self.has_started = true;
        }
    }

    fn hears(&mut self, kind: u8, body: &[u8]) -> Option<Said> {
        match kind {
            b'Q' => Some(said(text(body).0)),
            b'P' => {
                let (name, rest) = text(body);
                note(&mut self.statements, name, Some(said(text(rest).0)));
                None
            }
            b'B' => {
                let (portal, rest) = text(body);
                let statement = self.statements.get(text(rest).0).copied();
                note(&mut self.portals, portal, statement);
                None
            }
            b'E' => {
                let portal = self.portals.get(text(body).0);
                Some(portal.copied().unwrap_or(Said::Statement))
            }
            b'C' => {
                let (&what, name) = body.split_first()?;
                let names = match what {
                    b'S' => &mut self.statements,
                    _ => &mut self.portals,
                };
                names.remove(text(name).0);
                None
            }
            _ => None,
        }
    }

    /// Where in these bytes the messages begin that tell of a commit.
    pub(super) fn server_says(&mut self, bytes: &[u8]) -> Vec<usize> {
        let mut commits = Vec::new();
        let (mut at, mut begin) = (0, 0);
        while at < bytes.len() && !self.is_opaque {
            if self.bare_answers > 0 && self.server.is_between() {
                self.bare_answers -= 1;
                // Anything else accepts: what follows is encrypted.
                self.is_opaque = bytes[at] != b'N';
                at += 1;
                continue;
            }
            if self.server.is_between() {
                begin = at;
            }
            at += self.server.take(&bytes[at..], true);
            match self.server.finish() {
                Frame::Whole(b'C', body) if text(&body).0 == b"COMMIT" => commits.push(begin),
                Frame::Partial | Frame::Whole(..) => {}
                Frame::Broken => self.is_opaque = true,
            }
        }
        commits
    }
}

/// Remembers what a name stands for, where that begins or ends a transaction.
fn note(names: &mut Names, name: &[u8], said: Option<Said>) {
    match said {
        Some(said) if said != Said::Statement && names.len() < MOST_NAMES => {
            names.insert(name.to_vec(), said);
        }
        _ => drop(names.remove(name)),
    }
}

/// The text in front of the first zero byte, and what follows that.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn said(sql: &[u8]) -> Said {
    let is_gap = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
    let mut words = sql.split(is_gap).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let second = words.next().unwrap_or_default().to_ascii_uppercase();
    match (first.as_slice(), second.as_slice()) {
        (b"BEGIN", _) | (b"START", b"TRANSACTION") => Said::Begin,
        (b"COMMIT" | b"ROLLBACK", b"PREPARED") | (b"ROLLBACK", b"TO") => Said::Statement,
        (b"COMMIT" | b"END", _) => Said::Commit,
        (b"ROLLBACK" | b"ABORT", _) => Said::Rollback,
        _ => Said::Statement,
    }
}

/// A message that comes in pieces.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    has_kind: bool,
    /// What of the body is to come; none while the header is.
    left: Option<usize>,
    kept: Vec<u8>,
    is_broken: bool,
}

enum Frame {
    Partial,
    Broken,
    Whole(u8, Vec<u8>),
}

impl Frames {
    /// True where the next byte is the first of a message.
    const fn is_between(&self) -> bool {
        self.header.is_empty()
    }

    /// Takes of these bytes what belongs to the message, and says how many that were; at least 1.
    fn take(&mut self, bytes: &[u8], has_kind: bool) -> usize {
        let Some(left) = self.left.as_mut() else {
            self.has_kind = has_kind;
            self.header.extend(bytes.first());
            self.header_is_whole();
            return 1;
        };
        let taken = bytes.len().min(*left);
        let kept = KEPT_BYTES.saturating_sub(self.kept.len()).min(taken);
        self.kept.extend_from_slice(&bytes[..kept]);
        *left -= taken;
        taken
    }

    fn header_is_whole(&mut self) {
        let length = &self.header[usize::from(self.has_kind).min(self.header.len())..];
        if let Ok(length) = <[u8; 4]>::try_from(length) {
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.is_broken = !(4..=MOST_BYTES).contains(&length);
            self.left = Some(length.saturating_sub(4));
        }
    }

    /// The message, once it is whole; the next bytes then begin another one.
    fn finish(&mut self) -> Frame {
        if self.is_broken {
            return Frame::Broken;
        }
        if self.left != Some(0) {
            return Frame::Partial;
        }
        let kind = self.header.first().copied().unwrap_or_default();
        self.header.clear();
        self.left = None;
        Frame::Whole(kind, std::mem::take(&mut self.kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn startup(body: &[u8]) -> Vec<u8> {
        message(0, body).split_off(1)
    }

    const PROTOCOL_3: [u8; 4] = 196_608_u32.to_be_bytes();

    /// A start with a refused request for encryption, a password, and three statements.
    fn conversation() -> (Vec<u8>, Vec<(usize, Said)>) {
        let mut all = startup(&SSL_REQUEST);
        all.extend(startup(&[&PROTOCOL_3[..], b"user\0COMMIT\0\0"].concat()));
        all.extend(message(b'p', b"COMMIT\0"));
        let mut expected = Vec::new();
        for (sql, said) in [
            ("BEGIN", Said::Begin),
            ("INSERT INTO t VALUES ('; COMMIT;')", Said::Statement),
            ("commit ;", Said::Commit),
        ] {
            expected.push((all.len(), said));
            all.extend(message(b'Q', format!("{sql}\0").as_bytes()));
        }
        (all, expected)
    }

    #[test]
    fn statements_are_heard_however_the_bytes_are_cut() {
        let (all, expected) = conversation();
        for size in 1..=all.len() {
            let mut dialogue = Dialogue::default();
            let mut heard = Vec::new();
            for (number, chunk) in all.chunks(size).enumerate() {
                let said = dialogue.client_says(chunk);
                heard.extend(
                    said.into_iter()
                        .map(|(at, said)| (number * size + at, said)),
                );
            }
            let said: Vec<Said> = heard.iter().map(|&(_, said)| said).collect();
            assert_eq!(
                said,
                [Said::Begin, Said::Statement, Said::Commit],
                "in chunks of {size}"
            );
            for ((at, _), (begin, _)) in heard.iter().zip(&expected) {
                // Its begin, or that of a chunk in its middle.
                assert!(at == begin || at > begin && at % size == 0, "{size}: {at}");
            }
        }
    }

    #[test]
    fn a_prepared_commit_is_heard_when_it_is_executed() {
        let mut dialogue = Dialogue::default();
        let mut all = startup(&PROTOCOL_3);
        all.extend(message(b'P', b"c\0COMMIT\0\0\0"));
        all.extend(message(b'P', b"\0SELECT 1\0\0\0"));
        all.extend(message(b'B', b"\0\0\0\0\0\0\0\0"));
        all.extend(message(b'E', b"\0\0\0\0\0"));
        assert_eq!(
            dialogue.client_says(&all),
            [(all.len() - 10, Said::Statement)]
        );
        let bound = message(b'B', b"\0c\0\0\0\0\0\0\0");
        let execute = message(b'E', b"\0\0\0\0\0");
        assert_eq!(
            dialogue.client_says(&[bound.clone(), execute.clone()].concat()),
            [(bound.len(), Said::Commit)]
        );
        assert_eq!(dialogue.client_says(&message(b'C', b"Sc\0")), []);
        assert_eq!(
            dialogue.client_says(&[bound.clone(), execute].concat()),
            [(bound.len(), Said::Statement)]
        );
    }

    #[test]
    fn a_commit_that_the_server_tells_of_is_seen_and_a_rolled_back_one_is_not() {
        let mut dialogue = Dialogue::default();
        dialogue.client_says(&startup(&SSL_REQUEST));
        let mut all = b"N".to_vec();
        all.extend(message(b'R', b"\0\0\0\0"));
        all.extend(message(b'C', b"ROLLBACK\0"));
        let begin = all.len();
        all.extend(message(b'C', b"COMMIT\0"));
        all.extend(message(b'Z', b"I"));
        assert_eq!(dialogue.server_says(&all), [begin]);
    }

    #[test]
    fn what_is_encrypted_or_no_postgres_is_not_read() {
        let mut dialogue = Dialogue::default();
        dialogue.client_says(&startup(&SSL_REQUEST));
        assert_eq!(dialogue.server_says(b"S"), []);
        assert_eq!(dialogue.client_says(&message(b'Q', b"COMMIT\0")), []);
        let mut dialogue = Dialogue::default();
        assert_eq!(dialogue.client_says(b"\0\0\0\0GET / HTTP/1.1"), []);
        assert!(dialogue.is_opaque);
    }

    #[test]
    fn a_long_message_is_passed_over_and_hardly_kept() {
        let mut dialogue = Dialogue::default();
        dialogue.client_says(&startup(&PROTOCOL_3));
        let long = message(b'd', &vec![b'Q'; 1 << 20]);
        for chunk in long.chunks(1000) {
            assert_eq!(dialogue.client_says(chunk), []);
            assert!(dialogue.client.kept.len() <= KEPT_BYTES);
        }
        let commit = message(b'Q', b"COMMIT\0");
        assert_eq!(dialogue.client_says(&commit), [(0, Said::Commit)]);
    }

    #[test]
    fn only_whole_transactions_begin_and_end() {
        for (sql, expected) in [
            ("START TRANSACTION READ ONLY", Said::Begin),
            ("END;", Said::Commit),
            ("COMMIT WORK", Said::Commit),
            ("COMMIT PREPARED 'x'", Said::Statement),
            ("ABORT", Said::Rollback),
            ("ROLLBACK", Said::Rollback),
            ("ROLLBACK TO SAVEPOINT s", Said::Statement),
            ("COMMITTED", Said::Statement),
            ("", Said::Statement),
        ] {
            assert_eq!(said(sql.as_bytes()), expected, "{sql}");
        }
    }
}
