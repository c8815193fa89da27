//! Every metric, by name, kind and meaning. What is written and what is documented comes from here.
//!
//! Labels are bounded. Supervisors whose children come and go (one for each channel or connection)
//! have one path, with `/*`, for all of these children. The largest 100 channels of the first
//! epochs that the process sees, and for `publish_success_total` the first 100 that settle, have
//! their name as a label until it ends; all others are `other`.

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with `_total` where it is a counter.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// What it means, without the full stop that the output adds.
    pub help: &'static str,
}

impl Metric {
    /// The name without `_total`, which the output adds.
    #[must_use]
    pub(crate) fn base(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

macro_rules! metrics {
    ($($id:ident: $kind:ident = $name:literal, $help:literal;)*) => {
        $(pub(crate) const $id: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*
        /// Every metric.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD: Gauge = "twzrd_build_info", "Always 1; its label is the version of the program";

    ACTOR_UP: Gauge = "twzrd_actor_up", "1 where the actor runs; of a path that ends in /* the part of its actors that run";
    ACTOR_RESTARTS: Counter = "twzrd_actor_restarts_total", "How often the actor was started again";
    ACTOR_MAILBOX: Gauge = "twzrd_actor_mailbox_depth", "Messages that wait in the actor's mailbox";
    ACTOR_HANDLED: Counter = "twzrd_actor_handled_total", "Messages that the actor has handled";
    ACTOR_HANDLER: Gauge = "twzrd_actor_handler_seconds", "For how long the handler now running has been running; 0 where none is; of a path that ends in /* the longest";
    ACTOR_FEED: Gauge = "twzrd_actor_feed_depth", "Items that wait in the actor's own queue";
    ACTOR_FEED_BOUND: Gauge = "twzrd_actor_feed_bound", "Items that may wait in the actor's own queue";
    ACTORS: Gauge = "twzrd_actors", "Actors and supervisors by state";

    JOURNAL_UP: Gauge = "twzrd_journal_up", "1 where the journal takes appends";
    JOURNAL_APPENDS: Counter = "twzrd_journal_appends_total", "Appends that were written and acknowledged";
    JOURNAL_KNOWN: Counter = "twzrd_journal_known_total", "Appends that were known before";
    JOURNAL_REFUSED: Counter = "twzrd_journal_refused_total", "Appends that were answered with an error";
    JOURNAL_RECORDS: Counter = "twzrd_journal_records_total", "Records that were written and synced";
    JOURNAL_BYTES: Counter = "twzrd_journal_bytes_total", "Bytes that were written and synced";
    JOURNAL_SYNCS: Counter = "twzrd_journal_syncs_total", "Syncs, each of which covers a group of appends";
    JOURNAL_ROTATIONS: Counter = "twzrd_journal_rotations_total", "Segments that were begun because the one before was full or old";
    JOURNAL_UPKEEP: Counter = "twzrd_journal_upkeep_failures_total", "New segments, snapshots and compressions that failed and are tried again";
    JOURNAL_DURABLE: Gauge = "twzrd_journal_durable_seq", "The number of the last record that is synced";

    STORE_UP: Gauge = "twzrd_store_up", "1 where the store answered when it was asked last";
    STORE_OFFSET: Gauge = "twzrd_store_offset_seq", "The number of the last record that the store has taken in, as seen last";
    STORE_LAG: Gauge = "twzrd_store_lag_records", "Records that are synced and not in the store yet, as seen last";

    LINES_RECEIVED: Counter = "twzrd_lines_received_total", "Lines that were received, over all time, as the store's ledger said last";
    LINES: Counter = "twzrd_lines_total", "Lines by what became of them, over all time, as the store's ledger said last";
    DRIFT: Gauge = "twzrd_conservation_drift", "Lines by which received and the sum of all outcomes differ, added up over channels and epochs; not 0 where something disappeared";

    CHANNELS: Gauge = "twzrd_channels", "Wanted channels by state";
    CONNECTIONS: Gauge = "twzrd_connections", "Connections to Twitch by state";
    CONNECTIONS_BLOCKED: Gauge = "twzrd_connections_blocked", "Connections that a full feed keeps from being read on";
    INTAKE_LINES: Counter = "twzrd_intake_lines_total", "Lines that sockets gave";
    INTAKE_BYTES: Counter = "twzrd_intake_bytes_total", "Bytes of these lines";
    INTAKE_BROKEN: Counter = "twzrd_intake_broken_total", "Lines that were too long or cut";
    INTAKE_CONNECTS: Counter = "twzrd_intake_connects_total", "Sockets that were opened";
    INTAKE_CONNECT_FAILURES: Counter = "twzrd_intake_connect_failures_total", "Sockets that could not be opened";
    INTAKE_LOSSES: Counter = "twzrd_intake_losses_total", "Sockets that ended without being asked to";
    INTAKE_RECONNECTS: Counter = "twzrd_intake_reconnects_total", "Times that the network asked for a reconnect";
    INTAKE_JOINS: Counter = "twzrd_intake_joins_total", "Channels that a JOIN was sent for";
    INTAKE_JOINED: Counter = "twzrd_intake_joined_total", "Channels that were joined";
    INTAKE_REFUSALS: Counter = "twzrd_intake_refusals_total", "Refusals of channels by the network";
    INTAKE_BLOCKED: Counter = "twzrd_intake_blocked_total", "Times that a full feed kept a socket from being read on";
    INTAKE_BLOCKED_SECONDS: Counter = "twzrd_intake_blocked_seconds_total", "Seconds for which full feeds did so";
    INTAKE_QUARANTINED: Counter = "twzrd_intake_quarantined_total", "Lines that crashed their collector and were put aside";
    INTAKE_QUARANTINE_DROPPED: Counter = "twzrd_intake_quarantine_dropped_total", "Lines put aside whose text could not be kept";
    INTAKE_FEED_BYTES: Gauge = "twzrd_intake_feed_bytes", "Bytes that wait in all feeds";
    INTAKE_FEED_BYTES_BOUND: Gauge = "twzrd_intake_feed_bytes_bound", "Bytes that may wait in all feeds";
    INTAKE_GAPS_WAITING: Gauge = "twzrd_intake_gaps_waiting", "Begins and ends of gaps that wait for the journal";
    INTAKE_GAPS_DROPPED: Counter = "twzrd_intake_gaps_dropped_total", "Begins and ends of gaps that were dropped, because too many waited";

    HTTP_REQUESTS: Counter = "twzrd_http_requests_total", "Requests by route, method and status";
    HTTP_SECONDS: Histogram = "twzrd_http_request_seconds", "How long requests took, by route";
    HTTP_REFUSED: Counter = "twzrd_http_refused_total", "What a bound of the gateway refused, by bound";
    HTTP_CONNECTIONS: Gauge = "twzrd_http_connections", "Open connections of clients";
    HTTP_ACCEPT_ERRORS: Counter = "twzrd_http_accept_errors_total", "Connections that could not be taken";
    CACHED: Gauge = "twzrd_gateway_cached_items", "What is remembered for the time in which the store is away, by kind";
    CACHED_BYTES: Gauge = "twzrd_gateway_cached_bytes", "Bytes of what is remembered, by kind";

    EPOCH_SEALED: Counter = "epoch_sealed_total", "Sealed epochs of channels that have their trees, since two days before the process began";
    EPOCH_PARTICIPANTS: Histogram = "epoch_participants", "Participants of these";
    TREE_BUILT: Counter = "tree_built_total", "Channels of epochs of which the trees are built, since two days before the process began";
    TREE_PARTICIPANTS: Histogram = "tree_participants", "Leaves of these trees";
    PUBLISHER_TICKS: Counter = "publisher_loop_tick_total", "Ticks of the publisher";
    PUBLISHED: Counter = "publish_success_total", "Roots that were read back from the chain, by channel";
    PUBLISH_SKIPPED: Counter = "publish_skipped_total", "Roots that were held or refused before they were signed, each time, by reason";
    PUBLISH_FAILED: Counter = "publish_failed_total", "Roots whose transaction failed, expired or found a newer epoch, by code";
    PUBLISH_SIGNED: Counter = "twzrd_publish_transactions_total", "Transactions that were signed";
    PUBLISH_SENT: Counter = "twzrd_publish_sends_total", "Times that bytes of a transaction were given to a node, by whether it took them";
    PUBLISH_CONTRADICTIONS: Counter = "twzrd_publish_contradictions_total", "Roots that a node did not show where their finalized transaction had put them, each time";
    PUBLISHER_WAITS: Gauge = "twzrd_publisher_waiting_seconds", "For how long something has kept the publisher from going on; 0 where nothing does";
    ROOTS: Gauge = "twzrd_roots", "Roots by state and reason, as the store said last";
    ROOTS_UNPUBLISHED: Gauge = "unpublished_epoch_backlog", "Roots that are planned, held or in flight, as the store said last";
    WALLET: Gauge = "aggregator_wallet_sol", "Balance of the key that signs, in SOL, as it was read last";
    LISTENER_EVENTS: Counter = "stream_listener_events_emitted_total", "Transactions of the program that were recorded";
    LISTENER_CLAIMS: Counter = "twzrd_listener_claims_total", "Claims that were recorded";
    LISTENER_PUBLICATIONS: Counter = "twzrd_listener_publications_total", "Publications that were recorded";
    LISTENER_SLOT: Gauge = "twzrd_listener_slot", "The slot of the last transaction that was recorded since the process began";
    LISTENER_LOOKED: Gauge = "twzrd_listener_last_look", "When the chain listener last saw that nothing is missing, or recorded what was, by the Unix second";
    LISTENER_KNOWN: Gauge = "twzrd_listener_known_from_slot", "The slot from which on the chain's claims and publications are recorded";
    LISTENER_WAITS: Gauge = "twzrd_listener_waiting_seconds", "For how long something has kept the chain listener from recording; 0 where nothing does";
    LISTENER_HINTS: Counter = "twzrd_listener_hints_total", "Notifications of the subscription";
    LISTENER_LOST: Counter = "twzrd_listener_subscriptions_lost_total", "Subscriptions that ended or were given up on";
    RPC_SECONDS: Histogram = "rpc_request_duration_seconds", "How long calls to nodes took, by method and status";
    RPC_NODE_UP: Gauge = "twzrd_rpc_node_up", "1 where the node is asked first";
    RPC_NODE_LAG: Gauge = "twzrd_rpc_node_lag_slots", "Slots by which the node is behind the best of them";
    RPC_NODE_ERRORS: Counter = "twzrd_rpc_node_errors_total", "Calls to the node that failed";

    BACKLOG: Gauge = "aggregator_backlog", "Sealed epochs of channels without trees; at most 1000 are counted";
    LAST_EPOCH: Gauge = "aggregator_last_epoch", "The last epoch of which a channel has its trees, by the Unix second of its start";
}
