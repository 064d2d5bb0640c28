//! Every bound of the system: its name ends in its unit, and its reason stands beside it.
//!
//! A bound that tests want smaller (so that a simulated world meets it) is the default of a field in the owning
//! room's `Config`; a bound that is part of the protocol or of the format is used from here directly.

use std::time::Duration;

/// Longest escaped user key, bytes. LMDB takes 1,982 bytes at 4 KiB pages; 12 of a row's key are the revision, and
/// the rest is kept for the table's future. A constant of the protocol: it must not depend on the machine's pages.
pub const KEY_ESCAPED_BYTES_MAX: usize = 1_968;

/// Longest request that may enter the log, bytes (etcd's max-request-bytes).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;

/// What a message on the wire may carry beyond its request, bytes (etcd's gRPC overhead).
pub const REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;

/// Longest frame of the native protocol, bytes.
pub const FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + REQUEST_OVERHEAD_BYTES;

/// Longest answer of the v2 API that the command line takes, bytes: a listing may be the whole tree, and what answers may
/// be anything.
pub const V2_ANSWER_BYTES_MAX: usize = 256 << 20;

/// Operations in one branch, or compares, of a transaction, where nobody says otherwise (etcd's max-txn-ops).
pub const TXN_OPS_MAX: usize = 128;

/// The most that may be said: as many as the longest request has room for.
pub const TXN_OPS_MAX_MAX: usize = REQUEST_BYTES_MAX / 2;

/// Transactions inside transactions. Bounds the recursion of check and apply; and a protobuf decoder follows 100
/// messages inside each other, of which a transaction takes two: one that a member cannot read from the log stops it.
pub const TXN_DEPTH_MAX: usize = 32;

/// Piece of a stored value, bytes: LMDB searches runs of contiguous pages for anything over a page, and the search
/// grows with the run.
pub const VALUE_PIECE_BYTES: usize = 64 * 1024;

/// Segment of the write-ahead log, bytes; zeroed once, then recycled.
pub const WAL_SEGMENT_BYTES: u64 = 64 << 20;

/// Log kept for slow followers, bytes; beyond it the log is trimmed and they come by snapshot.
pub const LOG_KEPT_BYTES_MAX: u64 = 1 << 30;

/// Entries kept behind the last one, so that a follower that blinked needs no snapshot.
pub const LOG_KEPT_ENTRIES: u64 = 10_000;

/// Entries cached in RAM, bytes; older ones are read from the segments.
pub const LOG_CACHE_BYTES_MAX: usize = 32 << 20;

/// Overlay at which a checkpoint is due, bytes.
pub const OVERLAY_SEAL_BYTES: usize = 32 << 20;

/// Rows in random order at which a checkpoint is due: each may dirty a page, and LMDB keeps a list of dirty pages
/// of 131,072.
pub const OVERLAY_SEAL_ROWS: usize = 32_768;

/// Age at which a checkpoint is due.
pub const OVERLAY_SEAL_AGE: Duration = Duration::from_secs(5);

/// Overlay at which proposals wait, bytes: the checkpoint is behind.
pub const OVERLAY_ADMIT_BYTES_MAX: usize = 64 << 20;

/// Overlay at which even the applier waits, bytes; from here on the log on disk grows, not the RAM.
pub const OVERLAY_APPLY_BYTES_MAX: usize = 4 * OVERLAY_ADMIT_BYTES_MAX;

/// Entries committed and not applied at which requests are refused (etcd's "too many requests").
pub const APPLY_BACKLOG_MAX: u64 = 5_000;

/// The same for what must get through: lease revokes, compaction, membership, alarms.
pub const APPLY_BACKLOG_PRIORITY_MAX: u64 = 10_000;

/// Proposals waiting for one turn of the driver. Refused beyond: a client that waits longer than a few turns is
/// better told so.
pub const DRIVER_INBOX_MAX: usize = 16_384;

/// Bytes of proposals in one append; keeps one entry batch below a disk write of a few milliseconds.
pub const PROPOSE_BATCH_BYTES_MAX: usize = 4 << 20;

/// Raft: bytes in one append message (etcd's).
pub const RAFT_MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Raft: append messages in flight to one follower; with the size above, 256 MiB in the worst case per peer.
pub const RAFT_INFLIGHT_MAX: usize = 256;

/// Raft: bytes proposed and not committed; a leader cut off from its quorum refuses beyond.
pub const RAFT_UNCOMMITTED_BYTES_MAX: u64 = 256 << 20;

/// Raft: bytes of committed entries in one Ready.
pub const RAFT_COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Largest cluster served, voters and learners together; the simulation goes up to it.
pub const MEMBERS_MAX: usize = 31;

/// Learners at one time (etcd's max-learners).
pub const LEARNERS_MAX: usize = 1;

/// Leases revoked by one entry; more expire in the next turn.
pub const LEASE_REVOKES_PER_ENTRY_MAX: usize = 500;

/// Leases recorded by one checkpoint entry.
pub const LEASE_CHECKPOINTS_PER_ENTRY_MAX: usize = 1_000;

/// Longest TTL, seconds (etcd's).
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// Keys per chunk of the count index, before a split.
pub const COUNT_CHUNK_KEYS_MAX: u32 = 1_024;

/// Keys per chunk of the count index, below which it joins its neighbour.
pub const COUNT_CHUNK_KEYS_MIN: u32 = 256;

/// Created and deleted keys that the count index remembers, so that a reader a few revisions behind it needs no walk.
pub const COUNT_JOURNAL_KEYS_MAX: usize = 16_384;

/// Time one slice of compaction may hold the database's writer.
pub const COMPACTION_SLICE: Duration = Duration::from_millis(5);

/// Requests one connection may have unanswered.
pub const CONNECTION_IN_FLIGHT_MAX: u32 = 1_024;

/// Streams one client connection may have open.
pub const CONNECTION_STREAMS_MAX: u32 = 64;

/// Answers written to a stream and not taken by the client, bytes; the server stops reading requests beyond.
pub const STREAM_UNSENT_BYTES_MAX: usize = 1 << 20;

/// An answer larger than this, bytes, moves to a stream of its own, so that it does not stand before the others.
pub const ANSWER_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Client connections of one member over TCP, and as many over QUIC. When there are so many, one who comes takes the place
/// of the newest of the address that has most, or is turned away if that is its own.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Files that clients' connections never take: the database, its log, snapshots, and what the libraries open.
pub const DESCRIPTORS_RESERVED: usize = 256;

/// Connections where metrics alone are told, beside all others: those who look after the member.
pub const METRICS_CONNECTIONS_MAX: usize = 64;

/// Handshakes in flight on one endpoint of QUIC; beyond it a client must prove its address first (Retry).
pub const HANDSHAKES_MAX: usize = 512;

/// Handshakes under way, and connections that have not asked anything yet, of one member over all its wires. Beyond it
/// the oldest one goes of the address that has most: who has business is through within milliseconds, so that of a flood
/// of thousands a second nobody else is met.
pub const STRANGERS_MAX: usize = 1_024;

/// Calls over HTTP/2 of one member whose headers came and whose message did not; beyond it the oldest one is refused of
/// the connection that has most.
pub const SILENT_CALLS_MAX: usize = 16_384;

/// Bytes of unary answers of one member that clients do not take, beyond which the connection is cut that has most; from
/// half of it on, a connection gets one answer after the other.
pub const UNSENT_BYTES_MAX: usize = 512 << 20;

/// Of these, what is not counted of each connection, bytes: small answers need nothing that all share.
pub const UNSENT_FREE_BYTES: usize = 16 * 1024;

/// Long reads that are under way at a time, each of which holds what it has read: others wait with their first slice.
pub const LONG_READS_MAX: usize = 16;

/// Long reads that wait for that; further ones are refused.
pub const LONG_READS_WAITING_MAX: usize = 4_096;

/// Frames of HTTP/2 on one connection that ask for nothing (settings, priorities, resets, empty or tiny pieces, but not
/// pings: grpc-go sends one per round trip while data comes), which it may send at once, and a second; beyond it the
/// connection is closed. Far above what clients do who cancel, and below what costs others anything.
pub const HTTP2_NOISE_MAX: u32 = 20_000;
pub const HTTP2_NOISE_PER_SECOND: u32 = 2_000;

/// Frames, and bytes, that one HTTP/2 connection is read before others have their turn. A reset costs as much as many
/// frames: a call was begun for it, and thrown away.
pub const HTTP2_TURN_FRAMES: u32 = 64;
pub const HTTP2_RESET_COST: u32 = 32;
/// What is read at a time at least.
pub const HTTP2_READ_BYTES_MIN: usize = 128;
pub const HTTP2_TURN_BYTES: usize = 128 * 1024;

/// Time for the Hello frame after the handshake, and for the rest of a frame after its first byte.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// Raft messages waiting to leave for one peer, bytes; Raft repeats what is dropped.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// Watch responses waiting on one stream, bytes; beyond it its watchers read history again when it drains.
pub const WATCH_STREAM_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Watch responses waiting on all streams of a member, bytes. From half of it on, a stream is slow at its share of it, but
/// not below the next number.
pub const WATCH_QUEUES_BYTES_MAX: usize = 256 << 20;
pub const WATCH_STREAM_QUEUE_BYTES_MIN: usize = 64 * 1024;

/// Watchers of one member; beyond it a stream gets only a few.
pub const WATCHERS_MAX: usize = 1_000_000;
pub const WATCHERS_PER_STREAM_MIN: usize = 100;

/// Watchers on one stream.
pub const WATCHERS_PER_STREAM_MAX: usize = 100_000;

/// Watch requests of one stream that wait for the hub to see what the store has; reading of more waits.
pub const WATCH_REQUESTS_DEFERRED_MAX: usize = 1_024;

/// Revisions one catching-up slice reads.
pub const WATCH_CATCHUP_REVISIONS: usize = 1_000;

/// Keys and values one catching-up slice reads, bytes; a slice always has one whole revision.
pub const WATCH_CATCHUP_BYTES_MAX: usize = 4 << 20;

/// Last revisions kept in RAM for watchers that are nearly there: under load, reads of the history alone would never
/// catch up with the last few.
pub const WATCH_RECENT_REVISIONS_MAX: usize = 1_024;

/// The same, bytes.
pub const WATCH_RECENT_BYTES_MAX: usize = 8 << 20;

/// How often a quiet watcher that asked for it is told the revision.
pub const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// The least that it may be set to: each such watcher costs a message then.
pub const WATCH_PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Event batches between applier and hub; the applier waits beyond it.
pub const HUB_INBOX_MAX: usize = 4_096;

/// Storage a member may use, bytes, when the configuration says 0 (etcd's).
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;

/// LMDB's table of readers; its default of 126 is fewer than our slices in flight.
pub const DB_READERS_MAX: u32 = 1_024;

/// LMDB's address space at the least, bytes; only space, never memory.
pub const DB_MAP_BYTES_MIN: u64 = 64 << 30;

/// Free on the disk beside a copy of the database before it is begun, bytes: the log's next segments and a checkpoint.
pub const REWRITE_SPARE_BYTES: u64 = 256 << 20;

/// Bytes of a long file that may wait for the disk: what a sync of the log finds before itself at most.
pub const STEADY_BYTES: usize = 2 << 20;

/// Piece of a snapshot on the wire, bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 64 * 1024;

/// Largest datagram that is tried, bytes: a jumbo frame without its headers. What the path carries is found out by
/// probes; on Ethernet they settle at 1,452.
pub const DATAGRAM_BYTES_MAX: u16 = 8_952;

/// Time for one question to DNS, repetitions and TCP included.
pub const DNS_DEADLINE: Duration = Duration::from_secs(5);

/// Records of one answer of DNS that are used, and the most that a domain may have for one cluster.
pub const SRV_TARGETS_MAX: usize = MEMBERS_MAX;

/// How long a founding member asks DNS for its cluster, or for hosts of it, before it gives up (etcd's): a zone that is
/// being written is ready by then.
pub const DNS_PATIENCE: Duration = Duration::from_secs(30);

/// Wait before a discovery service that did not answer as it should is asked again; doubles each time.
pub const DISCOVERY_RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest of these waits.
pub const DISCOVERY_RETRY_MAX: Duration = Duration::from_secs(10);

/// Silence of a discovery service after which who has come is asked again, whatever was missed.
pub const DISCOVERY_LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Longest answer of a discovery service, bytes: the entries of more members than there can be.
pub const DISCOVERY_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Time for one dial to one address, handshake and Hello included.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(2);

/// Longest frame between members, bytes: a batch of forwarded proposals and what wraps it, or one append that holds
/// a single largest entry.
pub const PEER_FRAME_BYTES_MAX: usize = PROPOSE_BATCH_BYTES_MAX + 2 * FRAME_BYTES_MAX;

/// What one write to a member, or one hand-over of its messages, gathers, bytes.
pub const PEER_BATCH_BYTES: usize = 1 << 20;

/// Asks waiting for their answer between two members; quinn allocates a slot for each.
pub const PEER_ASKS_MAX: u32 = 256;

/// Questions with proposals that a member has waiting at its leader; what comes meanwhile goes with the next one. Far
/// below [`PEER_ASKS_MAX`]: a question that finds no place is a write that fails.
pub const FORWARDS_MAX: u32 = 32;

/// Unidirectional streams from one member: control, append, and snapshots that overlap when one is given up.
pub const PEER_STREAMS_UNI_MAX: u32 = 8;

/// Connections of members and joiners on one node.
pub const PEER_CONNECTIONS_MAX: usize = 4 * MEMBERS_MAX;

/// Silence after which a member's connection is dead; three keep-alives may be lost.
pub const PEER_IDLE: Duration = Duration::from_secs(4);

/// How often a quiet connection to a member says that it lives.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Silence after which a client's connection is dead.
pub const CLIENT_IDLE: Duration = Duration::from_secs(30);

/// Bytes that may be under way on one stream; a snapshot over a long line needs them, small calls do not.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// Bytes received and not yet read, and bytes sent and not yet acknowledged, on one client's connection.
pub const CLIENT_WINDOW_BYTES: u32 = 4 << 20;

/// The same of all clients' connections on one wire: where there are many, each that comes gets its share, but not less than
/// the next number.
pub const CLIENT_WINDOWS_BYTES_MAX: usize = 2 << 30;
pub const CLIENT_WINDOW_BYTES_MIN: u32 = 128 * 1024;

/// The same on one member's connection.
pub const PEER_WINDOW_BYTES: u32 = 16 << 20;

/// Pieces of a snapshot between its stream and the disk.
pub const SNAPSHOT_CHUNKS_WAITING_MAX: usize = 16;

/// A snapshot that moved no byte for so long has failed.
pub const SNAPSHOT_STALL: Duration = Duration::from_secs(30);

/// How long a receiver may take to bring a snapshot that it has whole onto its disk.
pub const SNAPSHOT_SYNC: Duration = Duration::from_secs(300);

/// How late the end of a live connection's certificate is noticed at most, should the wall clock jump.
pub const CERTIFICATE_SWEEP: Duration = Duration::from_secs(15);

/// Between two looks at the files of certificates; what changed is read when it has been left alone for so long.
pub const CERTIFICATE_POLL: Duration = Duration::from_secs(1);

/// A certificate that ends within so long is warned of, at each start, each reading, and each day.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

/// What a client that is admitted no more gets for the answers to what it has asked already; it can ask nothing new.
pub const REFUSED_GRACE: Duration = Duration::from_secs(5);

/// What is under way on a connection to a member, when a newer one takes its place, gets so long to end there.
pub const HANDOVER_GRACE: Duration = Duration::from_secs(5);

/// The same for a snapshot, which takes as long as it takes.
pub const HANDOVER_MAX: Duration = Duration::from_secs(600);

/// Messages of a stream between a door and the service, each way; a long one takes a place for each
/// [`STREAM_PLACE_BYTES`] of it.
pub const STREAM_MESSAGES_MAX: usize = 16;
pub const STREAM_PLACE_BYTES: usize = 64 * 1024;

/// After a failed accept: descriptors are short, and asking again at once frees none.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence on a TCP connection after which the kernel asks whether the client is there, and again as often (etcd's).
pub const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections that the kernel has made and nobody has taken yet; the kernel has a bound of its own (`somaxconn`). With few,
/// those who come beside a burst wait a second to try again.
pub const TCP_BACKLOG_MAX: u32 = 4_096;

/// Time for a TLS handshake over TCP (etcd's).
pub const TLS_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Calls and streams that one HTTP/2 connection may have open; a client's further ones wait at the client. etcd has no
/// bound: this one is above what clients open, and keeps the memory of one connection finite.
pub const HTTP2_STREAMS_MAX: u32 = 10_000;

/// Calls that were given up before they were looked at, on one connection; beyond it the connection is closed.
pub const HTTP2_RESETS_MAX: usize = 1_024;

/// Bytes under way to us on one call, and on one connection.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes of one stream's answers that wait for the connection.
pub const HTTP2_SEND_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a connection's frames that are gathered before they are written: the head of a long message and its beginning.
pub const HTTP2_WRITE_BYTES: usize = 4 * 1024;

/// A silent connection is asked whether it is there, and closed without an answer.
pub const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(60);
pub const HTTP2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers of one HTTP request, bytes: tokens and a caller's own metadata.
pub const HTTP_HEADERS_BYTES_MAX: usize = 64 * 1024;

/// Time for the head of an HTTP/1.1 request, and so the longest that such a connection stands idle: more than the 15
/// seconds between two scrapes of metrics.
pub const HTTP1_HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// Time for the rest of a request message over TCP after its first byte.
pub const HTTP_MESSAGE_DEADLINE: Duration = Duration::from_secs(20);

/// A request message on its way that is longer than this, bytes, takes its bytes from [`UNFINISHED_BYTES_MAX`].
/// Shorter ones fit into a frame of HTTP/2, and are bounded by the number of streams.
pub const UNFINISHED_FREE_BYTES: usize = 16 * 1024;

/// Bytes of long request messages on their way to one member, over every wire; beyond it the oldest one is refused of
/// the address that has most.
pub const UNFINISHED_BYTES_MAX: usize = 256 << 20;

/// Bytes of unary answers that one connection has not taken, at which its further calls wait.
pub const HTTP_UNSENT_BYTES_MAX: usize = 8 << 20;

/// Length of a key of the v2 tree, bytes: with what stands around it in a row's key it fits into LMDB's.
pub const V2_KEY_BYTES_MAX: usize = 1_900;

/// Events of the v2 tree that are kept for watchers (etcd's).
pub const V2_HISTORY_EVENTS: usize = 1_000;

/// Bytes of keys and values among them that are kept in RAM; with large values the history is shorter.
pub const V2_HISTORY_BYTES_MAX: usize = 64 << 20;

/// Nodes of the v2 tree that expire by one entry, beside what is below them; the rest by the next one at once. Part of what an entry means.
pub const V2_EXPIRED_PER_ENTRY_MAX: usize = 1_000;

/// Nodes of the v2 tree that one entry removes: what a directory holds that is deleted, or what of it goes at a time when
/// it expires. A tenth of a second of apply. Part of what an entry means.
pub const V2_REMOVED_PER_ENTRY_MAX: usize = 50_000;

/// Bytes of keys and values in one listing of the v2 tree: its JSON stands in RAM as a whole.
pub const V2_LISTING_BYTES_MAX: usize = 64 << 20;

/// Users of the v2 API: all of them are in RAM.
pub const V2_USERS_MAX: usize = 10_000;

/// Its roles, likewise.
pub const V2_ROLES_MAX: usize = 10_000;

/// Length of the row of a user or a role, bytes.
pub const V2_AUTH_ROW_BYTES_MAX: usize = 256 << 10;

/// How long `/v2/members` waits for the word of a new member on where clients find it; without a leader none comes.
pub const ANNOUNCEMENT_WAIT: Duration = Duration::from_secs(5);

/// Answers longer than the first, bytes, become JSON beside the thread of all connections, so many at a time; others wait.
pub const JSON_INLINE_BYTES_MAX: usize = 32 * 1024;
pub const JSON_AT_ONCE_MAX: usize = 2;

/// Passwords of the v2 API that are hashed or compared at a time: each costs a core a tenth of a second. Others wait.
pub const V2_PASSWORDS_AT_ONCE_MAX: usize = 2;

/// Longest password of the v2 API, bytes: bcrypt looks at no more.
pub const V2_PASSWORD_BYTES_MAX: usize = 72;

/// Time for a member to hash its history when it is compared with the others': minutes for a large one on a slow disk.
pub const HASH_DEADLINE: Duration = Duration::from_secs(600);

/// Users of the v3 API: all of them are in RAM, each with what its roles permit.
pub const AUTH_USERS_MAX: usize = 10_000;

/// Its roles, likewise.
pub const AUTH_ROLES_MAX: usize = 10_000;

/// Length of a user's or a role's name, bytes: it is a row's key, which LMDB bounds.
pub const AUTH_NAME_BYTES_MAX: usize = 1_024;

/// Length of the row of a user or a role, bytes: some thousands of permissions.
pub const AUTH_ROW_BYTES_MAX: usize = 256 << 10;

/// Simple tokens of the v3 API that a member knows; beyond it those that have not been used for longest are forgotten, and who
/// has one shows the password again.
pub const AUTH_TOKENS_MAX: usize = 100_000;

/// Passwords of the v3 API that are hashed or compared at a time, and that wait for it: each costs a core a tenth of a second,
/// and nobody has to be known to ask for it.
pub const AUTH_PASSWORDS_AT_ONCE_MAX: usize = 2;
pub const AUTH_PASSWORDS_WAITING_MAX: usize = 64;

/// Longest password of the v3 API, bytes: bcrypt looks at no more, and etcd refuses more.
pub const AUTH_PASSWORD_BYTES_MAX: usize = 72;

/// Paths that are named when a directory of the v2 tree goes; of a larger one every watcher below it is told.
pub const V2_REMOVED_PATHS_MAX: usize = 1_000;

/// Time for a request to the v2 API (etcd's: 5 seconds and two election timeouts).
pub const V2_REQUEST_DEADLINE: Duration = Duration::from_secs(7);

/// Length of a token of the discovery service, bytes.
pub const DISCOVERY_TOKEN_BYTES_MAX: usize = 64;

/// Length of what one member registers under it, bytes: a name and some URLs.
pub const DISCOVERY_ENTRY_BYTES_MAX: usize = 4 << 10;

/// Members that may register under one token: surplus ones come, too, and are told that it is full.
pub const DISCOVERY_ENTRIES_MAX: usize = 2 * MEMBERS_MAX;

/// Keys of all tokens, beyond which no fresh one is made: an answer to `List` holds them all. In a week one address makes a
/// fifth of them.
pub const DISCOVERY_KEYS_MAX: i64 = 100_000;

/// How long a fresh token lives, seconds, with all that is registered under it, where nobody says: a week. And at most.
pub const DISCOVERY_TTL_S: i64 = 7 * 24 * 3_600;
pub const DISCOVERY_TTL_S_MAX: i64 = 365 * 24 * 3_600;

/// Fresh tokens for one address (of IPv6: one network of 64 bits): so many at once, and then one each time.
pub const DISCOVERY_NEW_BURST: u32 = 20;
pub const DISCOVERY_NEW_EVERY: Duration = Duration::from_secs(30);

/// Addresses that are remembered for that; further ones wait until one of them has nothing to wait for.
pub const DISCOVERY_ASKERS_MAX: usize = 10_000;

const _: () = assert!(V2_KEY_BYTES_MAX + 16 <= 1_982);
const _: () = assert!(KEY_ESCAPED_BYTES_MAX + 12 <= 1_982);
const _: () = assert!(FORWARDS_MAX * 2 < PEER_ASKS_MAX);
const _: () = assert!(OVERLAY_SEAL_BYTES < OVERLAY_ADMIT_BYTES_MAX);
const _: () = assert!(3 * FRAME_BYTES_MAX < UNFINISHED_BYTES_MAX);
const _: () = assert!(APPLY_BACKLOG_MAX < APPLY_BACKLOG_PRIORITY_MAX);
const _: () = assert!(COUNT_CHUNK_KEYS_MIN * 2 < COUNT_CHUNK_KEYS_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < PROPOSE_BATCH_BYTES_MAX);
const _: () = assert!(2 * TXN_DEPTH_MAX + 4 < 100);
