//! Two members on loopback: every verb, and what happens when one of them is away, wrong or removed.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::rig::{Folder, Node, config, free_port, keychain, loopback, runtime, subject, today};
use crate::base::{ClusterId, MemberId, Moment, SystemClock};
use crate::tls::Scheme;
use crate::tls::make;
use crate::transport::{
    AskError, Class, Config, DialOptions, Dialer, Guest, Listener, Names, PeerAddress,
    SnapshotError, StreamError, Url, Versions, inquire,
};

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);

fn plain(member: u64) -> Config {
    config(member, keychain(None, None), loopback(Some(Scheme::Http), Some(Scheme::Http), 0))
}

/// Members 1 and 2, connected both ways.
fn pair(one: Config, two: Config) -> (Node, Node) {
    let (one, two) = (Node::start(one), Node::start(two));
    one.knows(2, two.url());
    two.knows(1, one.url());
    one.ear.wait(|told| told.connected.contains(&TWO));
    two.ear.wait(|told| told.connected.contains(&ONE));
    (one, two)
}

fn ask(
    node: &Node,
    to: MemberId,
    kind: u16,
    body: Bytes,
    within: Duration,
) -> Result<Bytes, AskError> {
    let deadline = Moment::ZERO + within;
    runtime().block_on(node.transport.ask(to, kind, body, deadline))
}

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn messages_arrive_in_order_and_in_their_class() {
    let (one, two) = pair(plain(1), plain(2));
    for number in 0..1_000_u32 {
        let class = if number % 10 == 0 { Class::Control } else { Class::Append };
        assert!(one.transport.send(TWO, class, Bytes::copy_from_slice(&number.to_be_bytes())));
    }
    let told = two.ear.wait(|told| told.messages.len() == 1_000);
    for class in [Class::Control, Class::Append] {
        let numbers: Vec<u32> = told
            .messages
            .iter()
            .filter(|(from, of, _)| *from == ONE && *of == class)
            .map(|(_, _, bytes)| u32::from_be_bytes(bytes.as_ref().try_into().unwrap()))
            .collect();
        assert_eq!(numbers.len(), if class == Class::Control { 100 } else { 900 });
        assert!(numbers.is_sorted());
    }
    let status = &one.transport.status()[0];
    assert!(status.connected && status.member == TWO && status.dropped == 0, "{status:?}");
}

#[test]
fn big_messages_arrive_whole() {
    let (one, two) = pair(plain(1), plain(2));
    let big: Vec<Bytes> = (1..=5_usize).map(|n| Bytes::from(vec![n as u8; n << 20])).collect();
    assert!(one.transport.send_all(TWO, Class::Append, big.clone()));
    let told = two.ear.wait(|told| told.messages.len() == 5);
    for ((_, _, got), sent) in told.messages.iter().zip(&big) {
        assert!(got == sent, "{} bytes differ", sent.len());
    }
}

#[test]
fn questions_are_answered_refused_lost_or_late() {
    let (one, two) = pair(plain(1), plain(2));
    let body = Bytes::from(vec![9; 3 << 20]);
    assert_eq!(ask(&one, TWO, 1, body.clone(), LONG), Ok(body));
    assert_eq!(ask(&two, ONE, 1, Bytes::new(), LONG), Ok(Bytes::new()));
    assert_eq!(ask(&one, TWO, 3, Bytes::new(), LONG), Err(AskError::Refused("not today".into())));
    assert_eq!(ask(&one, TWO, 4, Bytes::new(), LONG), Err(AskError::Lost));
    assert_eq!(ask(&one, MemberId(9), 1, Bytes::new(), LONG), Err(AskError::Unreachable));
    let late = Duration::from_millis(50);
    assert_eq!(ask(&one, TWO, 2, Bytes::new(), late), Err(AskError::Deadline));
    // One that the other side heard, and died of.
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&one, TWO, 2, Bytes::new(), LONG));
        two.ear.wait(|told| told.held == 2);
        two.transport.shutdown();
        asking.join().unwrap()
    });
    assert_eq!(asking, Err(AskError::Lost));
}

#[test]
fn too_many_questions_are_refused_before_they_leave() {
    let (one, two) = pair(plain(1), plain(2));
    let (sender, answers) = std::sync::mpsc::sync_channel(400);
    for _ in 0..crate::base::limits::PEER_ASKS_MAX + 1 {
        let sender = sender.clone();
        let deadline = Moment::ZERO + LONG;
        one.transport.ask_then(TWO, 2, Bytes::new(), deadline, move |answer| {
            let _ = sender.send(answer);
        });
    }
    assert_eq!(answers.recv().unwrap(), Err(AskError::Busy));
    two.ear.wait(|told| told.held == crate::base::limits::PEER_ASKS_MAX as usize);
}

#[test]
fn snapshots_stream_beside_messages() {
    let (one, two) = pair(plain(1), plain(2));
    let length = 20_u64 << 20;
    let header = Bytes::from_static(b"of index 7");
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut reader = std::io::repeat(5).take(length);
            one.transport.send_snapshot(TWO, header.clone(), &mut reader, length)
        });
        assert!(one.transport.send(TWO, Class::Control, Bytes::from_static(b"heartbeat")));
        sending.join().unwrap().unwrap();
    });
    let told = two.ear.wait(|told| !told.snapshots.is_empty() && !told.messages.is_empty());
    assert_eq!(told.snapshots, [(ONE, header, Ok(length))]);
}

#[test]
fn a_snapshot_that_fails_says_so_on_both_sides() {
    let (one, two) = pair(plain(1), plain(2));
    let mut reader = std::io::repeat(5).take(8 << 20);
    let short = one.transport.send_snapshot(TWO, Bytes::new(), &mut reader, 16 << 20);
    let sent: Result<(), _> = Err(SnapshotError::Short { sent: 8 << 20, length: 16 << 20 });
    assert_eq!(format!("{short:?}"), format!("{sent:?}"));
    let told = two.ear.wait(|told| !told.snapshots.is_empty());
    assert!(told.snapshots[0].2.as_ref().unwrap_err().contains("reset"), "{told:?}");
    let length = 64 << 20;
    let mut reader = std::io::repeat(5).take(length);
    let header = Bytes::from_static(b"unwanted");
    let unwanted = one.transport.send_snapshot(TWO, header, &mut reader, length);
    assert!(matches!(unwanted, Err(SnapshotError::Stream(_))), "{unwanted:?}");
    // All bytes arrived, and yet the receiver does not have it.
    let mut reader = std::io::repeat(5).take(1_000);
    let header = Bytes::from_static(b"not taken");
    let not_taken = one.transport.send_snapshot(TWO, header, &mut reader, 1_000);
    assert!(
        matches!(not_taken, Err(SnapshotError::Stream(StreamError::Stopped(0)))),
        "{not_taken:?}"
    );
    // The connection is none the worse.
    assert!(one.transport.send(TWO, Class::Append, Bytes::from_static(b"on")));
    two.ear.wait(|told| told.messages.len() == 1);
}

#[test]
fn a_member_that_comes_back_is_found_again() {
    let port = free_port();
    let two = |boot_nonce| {
        let mut two = config(2, keychain(None, None), loopback(Some(Scheme::Http), None, port));
        two.boot_nonce = boot_nonce;
        Node::start(two)
    };
    let one = Node::start(plain(1));
    let away = Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
    one.knows(2, away);
    let first = two(1);
    first.knows(1, one.url());
    one.ear.wait(|told| told.connected.len() == 1);
    first.ear.wait(|told| told.connected.len() == 1);
    first.transport.shutdown();
    one.ear.wait(|told| told.unreachable.contains(&TWO));
    let second = two(2);
    second.knows(1, one.url());
    one.ear.wait(|told| told.connected.len() == 2);
    assert!(one.transport.send(TWO, Class::Append, Bytes::from_static(b"again")));
    second.ear.wait(|told| told.messages.iter().any(|(_, _, bytes)| bytes == "again"));
}

#[test]
fn the_urls_of_a_member_are_tried_in_turn() {
    let (one, two) = (Node::start(plain(1)), Node::start(plain(2)));
    let unknown = Url { host: "no-such-host.invalid".into(), ..two.url() };
    let urls = vec![unknown, two.url()];
    one.transport.set_peers(&[PeerAddress { member: TWO, urls }]);
    one.ear.wait(|told| told.connected.contains(&TWO));
    assert_eq!(one.transport.status()[0].url, Some(two.url()));
    // By name, too.
    let named = Url { host: "localhost".into(), ..two.url() };
    one.knows(2, named.clone());
    one.ear.wait(|told| told.connected.len() == 2);
    assert_eq!(one.transport.status()[0].url, Some(named));
}

#[test]
fn a_full_outbox_drops_and_says_so_once() {
    let mut small = plain(1);
    small.outbox_bytes_max = 1 << 20;
    // Nobody lives there, but the first dial is still going on: what is sent waits.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let one = Node::start(small);
    let port = silent.local_addr().unwrap().port();
    one.knows(2, Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port });
    let message = Bytes::from(vec![0; 400 * 1024]);
    let sent: Vec<bool> =
        (0..4).map(|_| one.transport.send(TWO, Class::Append, message.clone())).collect();
    assert_eq!(sent, [true, true, false, false]);
    assert!(one.transport.send(TWO, Class::Control, Bytes::new()), "classes have their own bound");
    let told = one.ear.wait(|told| !told.unreachable.is_empty());
    assert_eq!(told.unreachable, [TWO]);
    assert_eq!(one.transport.status()[0].dropped, 2);
}

#[test]
fn strangers_are_refused_with_their_reason() {
    let reason = |theirs: Config, meant: u64| {
        let two = Node::start(plain(2));
        let one = Node::start(theirs);
        one.knows(meant, two.url());
        one.ear.wait(|told| !told.unreachable.is_empty());
        assert!(!one.transport.connected(MemberId(meant)));
        one.transport.status()[0].last_error.clone().unwrap()
    };
    let other_cluster = Config { cluster: ClusterId(0xc2), ..plain(1) };
    assert!(reason(other_cluster, 2).contains("cluster c2 is not cluster c1"));
    assert!(reason(plain(1), 3).contains("member 2 (n2) lives at this address, not member 3"));
    let old = Config { versions: Versions { min: (3, 4), max: (3, 5) }, ..plain(1) };
    assert!(reason(old, 2).contains("none in common"));
    assert!(reason(plain(2), 3).contains("not member 3"));
}

#[test]
fn a_removed_member_is_told() {
    let (one, two) = pair(plain(1), plain(2));
    two.ear.gone.lock().unwrap().insert(ONE);
    two.transport.set_peers(&[]);
    one.ear.wait(|told| told.removed);
    assert!(two.transport.status().is_empty());
    // One that comes later is told, too.
    let late = Node::start(plain(1));
    late.knows(2, two.url());
    late.ear.wait(|told| told.removed);
    let error = late.transport.status()[0].last_error.clone().unwrap();
    assert!(error.contains("permanently removed"), "{error}");
}

#[test]
fn one_who_is_no_member_may_ask_what_guests_may() {
    let two = Node::start(plain(2));
    let guest = Guest {
        name: "new".into(),
        versions: Versions { min: (3, 6), max: (3, 6) },
        keychain: keychain(None, None),
        clock: Arc::new(SystemClock::new()),
        names: Names::default(),
    };
    let question = |kind, url: &Url| {
        inquire(&guest, url, kind, Bytes::from_static(b"who?"), Duration::from_secs(10))
    };
    assert_eq!(question(1, &two.url()).unwrap(), "who?");
    assert_eq!(two.ear.wait(|told| !told.asks.is_empty()).asks, [(None, 1)]);
    let refused = question(3, &two.url()).unwrap_err().to_string();
    assert!(refused.contains("only a member"), "{refused}");
    let nobody = Url { port: free_port(), ..two.url() };
    assert!(matches!(question(1, &nobody), Err(AskError::Dial(_))));
}

#[test]
fn a_member_that_is_new_to_us_can_be_answered() {
    let two = Node::start(plain(2));
    let port = free_port();
    let url = Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
    let mut unknown = config(100, keychain(None, None), loopback(Some(Scheme::Http), None, port));
    unknown.advertise_peer_urls = vec![url];
    let unknown = Node::start(unknown);
    unknown.knows(2, two.url());
    two.ear.wait(|told| told.connected.contains(&MemberId(100)));
    assert!(two.transport.send(MemberId(100), Class::Append, Bytes::from_static(b"welcome")));
    unknown.ear.wait(|told| told.messages.len() == 1);
    // A list that does not name it yet does not cut it off.
    two.transport.set_peers(&[]);
    assert!(two.transport.connected(MemberId(100)));
}

#[test]
fn members_with_certificates_find_each_other() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    folder.keep("peer", &make::peer(&authority, &subject("peer"), today()).unwrap());
    folder.keep("server", &make::server(&authority, &subject("server"), today()).unwrap());
    let secure = |member| {
        let keys = keychain(Some(folder.plane("peer", "ca")), None);
        config(member, keys, loopback(Some(Scheme::Https), None, 0))
    };
    let (one, two) = pair(secure(1), secure(2));
    assert!(one.transport.send(TWO, Class::Append, Bytes::from_static(b"sealed")));
    two.ear.wait(|told| told.messages.len() == 1);
    // A server that is no member has no business in the peer protocol, even where it is dialled.
    let keys = keychain(Some(folder.plane("server", "ca")), None);
    let three = Node::start(config(3, keys, loopback(Some(Scheme::Https), None, 0)));
    one.knows(3, three.url());
    one.ear.wait(|told| told.unreachable.contains(&MemberId(3)));
    let error = one.transport.status()[0].last_error.clone().unwrap();
    assert!(error.contains("client authentication"), "{error}");
}

#[test]
fn http_and_https_members_do_not_meet() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    folder.keep("peer", &make::peer(&authority, &subject("peer"), today()).unwrap());
    let keys = keychain(Some(folder.plane("peer", "ca")), None);
    let secure = Node::start(config(1, keys, loopback(Some(Scheme::Https), None, 0)));
    let open = Node::start(plain(2));
    open.knows(1, Url { scheme: Scheme::Http, ..secure.url() });
    open.ear.wait(|told| !told.unreachable.is_empty());
    let error = open.transport.status()[0].last_error.clone().unwrap();
    assert!(error.contains("none was shown"), "{error}");
    secure.knows(2, Url { scheme: Scheme::Https, ..open.url() });
    secure.ear.wait(|told| !told.unreachable.is_empty());
    assert!(!secure.transport.connected(TWO));
}

#[test]
fn clients_dial_and_speak_in_frames() {
    let node = Node::start(plain(1));
    runtime().block_on(async {
        let dialer =
            Dialer::new(&Default::default(), DialOptions::default(), Names::default()).unwrap();
        let connection = dialer.dial(&node.url()).await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let frames: Vec<Bytes> =
            [0, 1, 5_000, 1 << 20].map(|bytes| Bytes::from(vec![7; bytes])).to_vec();
        send.frames(frames.clone()).await.unwrap();
        send.finish();
        for frame in frames {
            assert!(recv.frame(1 << 20).await.unwrap().unwrap() == frame);
        }
        assert!(recv.frame(1 << 20).await.unwrap().is_none());
        dialer.close().await;
    });
}

#[test]
fn a_dial_into_the_void_tells_udp_from_tcp() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let with_tcp = tcp.local_addr().unwrap().port();
    let url = |port| Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
    runtime().block_on(async {
        let options = DialOptions { timeout: Duration::from_millis(300), ..DialOptions::default() };
        let dialer = Dialer::new(&Default::default(), options, Names::default()).unwrap();
        let error = dialer.dial(&url(with_tcp)).await.unwrap_err().to_string();
        assert!(error.contains("is UDP forwarded?"), "{error}");
        let error = dialer.dial(&url(free_port())).await.unwrap_err().to_string();
        assert!(error.contains("no answer") && !error.contains("TCP"), "{error}");
    });
}

#[test]
fn a_taken_address_is_an_error_that_helps() {
    let node = Node::start(plain(1));
    let taken = Listener { address: node.transport.addresses()[0], ..plain(2).listeners[0] };
    let config = Config { listeners: vec![taken], ..plain(2) };
    let ear = Arc::new(super::rig::Ear::default());
    let started = crate::transport::Transport::start(
        config,
        Arc::new(super::rig::Inbound(ear)),
        Arc::new(super::rig::Echo),
    );
    let error = started.err().unwrap().to_string();
    assert!(
        error.contains("another process has this port") && error.contains("127.0.0.1"),
        "{error}"
    );
}
