//! One connection: its two sockets, and what passes between them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::postgres::{Dialogue, Said};
use super::shared::{Shared, Trigger, Weather};
use super::{Close, CommitFault, Direction, Protocol};

/// How long a connection that is closed in order waits for both sides to close theirs: a socket
/// that is dropped with bytes unread sends an RST.
const LINGER: Duration = Duration::from_secs(1);

/// In how many pieces a limited connection writes the bytes of a second.
const PIECES: u64 = 20;

/// A connection as the commands see it.
pub(super) struct Link {
    shared: Arc<Shared>,
    end: watch::Sender<Option<Close>>,
    state: Mutex<State>,
}

/// A connection's place among those that are open.
pub(super) struct Seat {
    pub(super) number: u64,
    pub(super) link: Arc<Link>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.link.shared.close_link(self.number);
    }
}

#[derive(Default)]
struct State {
    /// How many bytes more may pass to the server, and to the client, and how it ends then.
    to_server: Option<(u64, Close)>,
    to_client: Option<(u64, Close)>,
    /// The next answer is lost.
    loses_answer: Option<Close>,
    dialogue: Dialogue,
    transaction: Option<Transaction>,
}

/// A transaction that a client has begun.
struct Transaction {
    /// How often something had been armed by then.
    begun_at: u64,
    statements: u32,
}

/// What becomes of a chunk.
struct Verdict {
    passes: usize,
    cut: Option<Close>,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            end: watch::Sender::new(None),
            state: Mutex::default(),
        }
    }

    /// Cuts the connection. False where that is done already, unless it was silenced and now ends.
    pub(super) fn cut(&self, close: Close) -> bool {
        let mut is_first = false;
        let is_struck = self.end.send_if_modified(|end| {
            is_first = end.is_none();
            let ends_silence = *end == Some(Close::Silent) && close != Close::Silent;
            let is_struck = is_first || ends_silence;
            if is_struck {
                *end = Some(close);
            }
            is_struck
        });
        self.shared.counters.cut.add(u64::from(is_first));
        is_struck
    }

    pub(super) fn limit(&self, direction: Direction, bytes: u64, close: Close) {
        *self.state().limit(direction) = Some((bytes, close));
    }

    /// No fault waits on this connection any more.
    pub(super) fn unlimit(&self) {
        let mut state = self.state();
        state.to_server = None;
        state.to_client = None;
        state.loses_answer = None;
    }

    fn ends_how(&self) -> Option<Close> {
        *self.end.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_cut(&self) {
        // The sender lives in `self`, so waiting ends only with the wanted value.
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    async fn is_closed(&self) {
        let is_closed = |end: &Option<Close>| !matches!(end, None | Some(Close::Silent));
        // As above.
        let _ = self.end.subscribe().wait_for(is_closed).await;
    }

    fn judge(&self, direction: Direction, bytes: &[u8]) -> Verdict {
        let mut state = self.state();
        let mut verdict = match direction {
            Direction::ToServer => state.request(&self.shared, bytes),
            Direction::ToClient => state.answer(&self.shared, bytes),
        };
        if let Some((left, close)) = state.limit(direction) {
            let passes = verdict.passes as u64;
            if *left <= passes {
                // At most `passes`, which is a usize.
                verdict.passes = usize::try_from(*left).unwrap_or(verdict.passes);
                verdict.cut = Some(*close);
            }
            *left = left.saturating_sub(passes);
        }
        verdict
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        // In a black hole not even a refusal is heard.
        let mut weather = self.shared.weather.subscribe();
        light(&mut weather, Direction::ToServer).await;
        let server = TcpStream::connect(self.shared.upstream()).await?;
        server.set_nodelay(true)?;
        Ok(server)
    }

    /// Passes what comes from one side on to the other, up to its end.
    async fn pass(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut weather = self.shared.weather.subscribe();
        let mut buffer = vec![0; self.shared.chunk_bytes];
        loop {
            let read = from.read(&mut buffer).await?;
            light(&mut weather, direction).await;
            if read == 0 {
                return to.shutdown().await;
            }
            delay(&mut weather).await;
            let chunk = &buffer[..read];
            let verdict = self.judge(direction, chunk);
            self.write(direction, &mut weather, &mut to, &chunk[..verdict.passes])
                .await?;
            if let Some(close) = verdict.cut {
                self.cut(close);
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        direction: Direction,
        weather: &mut watch::Receiver<Weather>,
        to: &mut WriteHalf<'_>,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        let counter = match direction {
            Direction::ToServer => &self.shared.counters.to_server,
            Direction::ToClient => &self.shared.counters.to_client,
        };
        while !bytes.is_empty() {
            light(weather, direction).await;
            let pace = weather.borrow().pace;
            let rate = pace.and_then(|pace| pace.bytes_per_second);
            let most = rate.map_or(usize::MAX, |rate| {
                usize::try_from(rate / PIECES).unwrap_or(usize::MAX).max(1)
            });
            let (piece, rest) = bytes.split_at(bytes.len().min(most));
            to.write_all(piece).await?;
            counter.add(piece.len() as u64);
            bytes = rest;
            if let Some(rate) = rate {
                let micros = piece.len() as u64 * 1_000_000 / rate.max(1);
                until_pace_changes(weather, Duration::from_micros(micros)).await;
            }
        }
        Ok(())
    }
}

impl State {
    const fn limit(&mut self, direction: Direction) -> &mut Option<(u64, Close)> {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn request(&mut self, shared: &Shared, bytes: &[u8]) -> Verdict {
        if let Some(close) = shared.spring(|trigger, _| trigger == Trigger::Request) {
            return Verdict::cut_at(0, close);
        }
        if let Some(close) = shared.spring(|trigger, _| trigger == Trigger::Answer) {
            self.loses_answer = Some(close);
        }
        if shared.protocol == Protocol::Postgres {
            for (at, said) in self.dialogue.client_says(bytes) {
                if let Some(close) = self.heard(shared, said) {
                    return Verdict::cut_at(at, close);
                }
            }
        }
        Verdict::passes(bytes)
    }

    /// Takes note of a statement, and says whether the connection is cut in front of it.
    fn heard(&mut self, shared: &Shared, said: Said) -> Option<Close> {
        if said == Said::Begin {
            self.transaction = Some(Transaction {
                begun_at: shared.times_armed(),
                statements: 0,
            });
            return None;
        }
        if said == Said::Commit {
            shared.counters.commits_asked.add(1);
            let before = Trigger::Commit(CommitFault::BeforeServer);
            let close = shared.spring(|trigger, _| trigger == before);
            if close.is_some() {
                return close;
            }
        }
        let transaction = self.transaction.as_mut()?;
        let close = shared.spring(|trigger, times| match trigger {
            Trigger::Transaction { after_statements } => {
                transaction.begun_at == times && transaction.statements >= after_statements
            }
            _ => false,
        });
        transaction.statements = transaction.statements.saturating_add(1);
        if said != Said::Statement {
            self.transaction = None;
        }
        close
    }

    fn answer(&mut self, shared: &Shared, bytes: &[u8]) -> Verdict {
        if let Some(close) = self.loses_answer.take() {
            return Verdict::cut_at(0, close);
        }
        if shared.protocol == Protocol::Postgres {
            for at in self.dialogue.server_says(bytes) {
                shared.counters.commits_taken.add(1);
                let after = Trigger::Commit(CommitFault::AfterServer);
                if let Some(close) = shared.spring(|trigger, _| trigger == after) {
                    return Verdict::cut_at(at, close);
                }
            }
        }
        Verdict::passes(bytes)
    }
}

impl Verdict {
    const fn cut_at(passes: usize, close: Close) -> Self {
        let cut = Some(close);
        Self { passes, cut }
    }

    const fn passes(bytes: &[u8]) -> Self {
        let passes = bytes.len();
        Self { passes, cut: None }
    }
}

/// Passes bytes between a client and the server until both have ended, or the connection is cut.
pub(super) async fn run(seat: Seat, mut client: TcpStream) {
    let link = &*seat.link;
    // It fails where the client is gone already, which reading will tell.
    let _ = client.set_nodelay(true);
    let connected = tokio::select! {
        biased;
        () = link.is_cut() => None,
        connected = link.connect() => Some(connected),
    };
    let mut server = match connected {
        None => None,
        Some(Ok(server)) => Some(server),
        Some(Err(_)) => {
            link.shared.counters.unreachable.add(1);
            return reset(&client);
        }
    };
    let mut of_its_own = Close::Orderly;
    if let Some(server) = &mut server {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                link.pass(Direction::ToServer, from_client, to_server),
                link.pass(Direction::ToClient, from_server, to_client),
            )
        };
        tokio::select! {
            biased;
            () = link.is_cut() => {}
            passed = both => if passed.is_err() {
                of_its_own = Close::Reset;
            },
        }
    }
    let mut sockets: Vec<TcpStream> = [Some(client), server].into_iter().flatten().collect();
    if link.ends_how() == Some(Close::Silent) {
        silence(&mut sockets, link).await;
    }
    match link.ends_how().unwrap_or(of_its_own) {
        Close::Orderly => {
            let mut closing: JoinSet<()> = sockets.into_iter().map(drain).collect();
            while closing.join_next().await.is_some() {}
        }
        Close::Reset | Close::Silent => sockets.iter().for_each(reset),
    }
}

/// Swallows what is said, until all sides have closed or the connection is cut for good.
async fn silence(sockets: &mut [TcpStream], link: &Link) {
    let swallowed = async {
        let mut sink = [0; 1024];
        for socket in sockets {
            // One after the other will do: what waits in the system has vanished just as well.
            while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {}
        }
    };
    tokio::select! {
        () = link.is_closed() => {}
        () = swallowed => {}
    }
}

/// Has a socket send an RST once it is dropped.
pub(super) fn reset(socket: &TcpStream) {
    // It fails where the other side was faster.
    let _ = socket.set_zero_linger();
}

/// Sends a FIN, and reads on until the other side sends its own.
async fn drain(mut socket: TcpStream) {
    // It fails where the other side was faster.
    let _ = socket.shutdown().await;
    let mut sink = [0; 1024];
    let drained = async { while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {} };
    // Whoever does not close in time gets an RST.
    let _ = timeout(LINGER, drained).await;
}

/// Waits until bytes pass in this direction.
async fn light(weather: &mut watch::Receiver<Weather>, direction: Direction) {
    // The sender lives as long as the connection, so waiting ends only with the wanted value.
    let _ = weather
        .wait_for(|weather| !weather.is_dark(direction))
        .await;
}

/// Waits as long as a chunk has to.
async fn delay(weather: &mut watch::Receiver<Weather>) {
    let pace = weather.borrow().pace;
    if let Some(pace) = pace.filter(|pace| !pace.delay.is_zero()) {
        until_pace_changes(weather, pace.delay).await;
    }
}

/// Waits so long, but no longer than the pace holds.
async fn until_pace_changes(weather: &mut watch::Receiver<Weather>, most: Duration) {
    let pace = weather.borrow().pace;
    let changed = weather.wait_for(|weather| weather.pace != pace);
    // Whichever comes first: both are the end of the wait.
    let _ = timeout(most, changed).await;
}
