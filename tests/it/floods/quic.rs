//! Clients that mean harm, over QUIC: datagrams that are none, handshakes that are left, streams that nobody goes on with.
//!
//! As over TCP, each attack goes on until it is dropped.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use quorate::proto::frame::{Request, StreamFrame, UNARY_STREAM};
use quorate::proto::hello::{CONTROL_BYTES_MAX, ClientHello, Control, PROTOCOL_VERSION};
use quorate::proto::{Method, etcdserverpb as pb};
use quorate::tls::ClientFiles;
use quorate::transport::{Connection, DialOptions, Dialer, Names, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::tcp::Target;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attack {
    /// Datagrams of whatever bytes, some of which begin like QUIC's.
    Garbage,
    /// Handshakes that are begun and left.
    Handshakes,
    /// Connections without a Hello.
    NoHello,
    /// Streams that are opened and left, with nothing said, or half an opening.
    IdleStreams,
    /// Long frames of which all but the end comes.
    HalfFrames,
    /// Long answers that nobody reads.
    UnreadAnswers,
    /// Watchers of what the honest client writes, which read nothing.
    DeafWatches,
}

impl Attack {
    pub(crate) const ALL: [Self; 7] = [
        Self::Garbage,
        Self::Handshakes,
        Self::NoHello,
        Self::IdleStreams,
        Self::HalfFrames,
        Self::UnreadAnswers,
        Self::DeafWatches,
    ];

    /// Goes on until it is dropped.
    pub(crate) async fn run(self, target: Target) {
        if self == Self::Garbage {
            return garbage(&target).await;
        }
        let mut all = JoinSet::new();
        for _ in 0..target.connections {
            all.spawn(again(self, target.clone()));
        }
        while all.join_next().await.is_some() {}
    }
}

async fn again(attack: Attack, target: Target) {
    loop {
        // The server may have closed it, or have no room: that is what it is for.
        let _refused = once(attack, &target).await;
        sleep(Duration::from_millis(2)).await;
    }
}

async fn once(attack: Attack, target: &Target) -> Option<()> {
    let url = format!("http://{}", target.address).parse().ok()?;
    let options = DialOptions { timeout: Duration::from_secs(5), ..Default::default() };
    let dialer = Dialer::new(&ClientFiles::default(), options, Names::default()).ok()?;
    if attack == Attack::Handshakes {
        target.made.fetch_add(1, Ordering::Relaxed);
        // Long enough for the first datagram to leave.
        return timeout(Duration::from_millis(5), dialer.dial(&url)).await.ok()?.ok().map(drop);
    }
    let connection = dialer.dial(&url).await.ok()?;
    target.made.fetch_add(1, Ordering::Relaxed);
    if attack == Attack::NoHello {
        connection.closed().await;
        return Some(());
    }
    let _control = hello(&connection).await?;
    let mut kept = Vec::new();
    for number in 0..target.each {
        kept.push(stream(attack, &connection, target, number).await?);
    }
    connection.closed().await;
    Some(())
}

async fn garbage(target: &Target) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| {
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    });
    let socket = socket.expect("a socket");
    let mut state = 1_u32;
    for number in 1_u64.. {
        // Tens of thousands a second: more, and the kernel drops everybody's.
        if number.is_multiple_of(32) {
            sleep(Duration::from_millis(1)).await;
        }
        let mut bytes = [0_u8; 1_200];
        for byte in &mut bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        // A long header of version 1, an Initial; or a short one.
        match state % 3 {
            0 => bytes[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
            1 => bytes[0] = 0x40 | (bytes[0] & 0x3f),
            _ => {}
        }
        target.made.fetch_add(1, Ordering::Relaxed);
        // The kernel may have no room: the next one, then.
        let _dropped = socket.send_to(&bytes, target.address).await;
    }
}

async fn hello(connection: &Connection) -> Option<(SendStream, RecvStream)> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    let hello = ClientHello {
        versions: vec![PROTOCOL_VERSION],
        client: "flood".to_owned(),
        ..ClientHello::default()
    };
    send.bytes(Control::ClientHello(hello).encode()).await.ok()?;
    recv.frame(CONTROL_BYTES_MAX).await.ok()??;
    Some((send, recv))
}

async fn stream(
    attack: Attack,
    connection: &Connection,
    target: &Target,
    number: usize,
) -> Option<(SendStream, RecvStream)> {
    let (mut send, recv) = connection.open_bi().await.ok()?;
    let mut bytes = BytesMut::new();
    match attack {
        Attack::IdleStreams => bytes.put_u8(0),
        Attack::HalfFrames => {
            bytes.put_slice(&UNARY_STREAM.to_be_bytes());
            bytes.put_u32(1_500_000);
            bytes.resize(1_400_000, 7);
        }
        Attack::UnreadAnswers => {
            bytes.put_slice(&UNARY_STREAM.to_be_bytes());
            let range = pb::RangeRequest {
                key: target.long.clone().into(),
                range_end: format!("{}\u{7f}", target.long).into(),
                serializable: true,
                ..Default::default()
            };
            let body: Bytes = range.encode_to_vec().into();
            for id in 0..64 {
                let id = (number * 64 + id) as u64;
                let method = Method::Range.number();
                Request::Call { id, method, deadline_ms: 0, body: body.clone() }.encode(&mut bytes);
            }
        }
        Attack::DeafWatches => {
            bytes.put_slice(&Method::Watch.number().to_be_bytes());
            let create = pb::WatchCreateRequest {
                key: target.prefix.clone().into(),
                range_end: format!("{}\u{7f}", target.prefix).into(),
                ..Default::default()
            };
            let union = pb::watch_request::RequestUnion::CreateRequest(create);
            let request = pb::WatchRequest { request_union: Some(union) };
            StreamFrame::Message(request.encode_to_vec().into()).encode(&mut bytes);
        }
        Attack::Garbage | Attack::Handshakes | Attack::NoHello => {}
    }
    send.bytes(bytes.freeze()).await.ok()?;
    Some((send, recv))
}
