//! The table of who gets in: each kind of certificate, on each protocol, under one CA and under two.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::timeout;

use super::rig::{
    Ear, Echo, Folder, Inbound, config, keychain, loopback, past, runtime, subject, today,
};
use crate::base::{ClusterId, MemberId, limits};
use crate::tls::make::{self, Authority, Subject, Validity};
use crate::tls::{self, Protocol, Scheme};
use crate::transport::dial::{connect, quic_config, socket};
use crate::transport::hello::{HELLO_BYTES_MAX, Hello, PROTOCOL};
use crate::transport::{
    CloseCode, Connection, Lost, Names, StreamError, Transport, Url, Versions, quic,
};

/// Everybody who may knock, with certificates of `peers` and of `clients`, which may be the same authority.
fn people(folder: &Folder, peers: &Authority, clients: &Authority) {
    let stranger = make::authority("stranger-ca", today()).unwrap();
    let keep = |name: &str, made| folder.keep(name, &made);
    keep("stranger", make::peer(&stranger, &subject("stranger"), today()).unwrap());
    keep("expired-peer", make::peer(peers, &subject("expired"), past()).unwrap());
    keep("expired-client", make::client(clients, &subject("expired"), past()).unwrap());
    keep("revoked-peer", make::peer(peers, &subject("revoked"), today()).unwrap());
    keep("revoked-client", make::client(clients, &subject("revoked"), today()).unwrap());
    keep("client", make::client(clients, &subject("client"), today()).unwrap());
    keep("server", make::server(clients, &subject("server"), today()).unwrap());
    keep("peer", make::peer(peers, &subject("peer"), today()).unwrap());
}

/// One endpoint for both protocols. With `two`, peers and clients have different authorities.
fn endpoint(folder: &Folder, two: bool) -> Transport {
    let one = folder.authority("ca");
    let other = folder.authority("client-ca");
    let clients = if two { &other } else { &one };
    people(folder, &one, clients);
    if two {
        folder.revoke("peers.crl", &one, &["revoked-peer"]);
        folder.revoke("clients.crl", clients, &["revoked-client"]);
    } else {
        folder.revoke("peers.crl", &one, &["revoked-peer", "revoked-client"]);
        folder.revoke("clients.crl", &one, &["revoked-peer", "revoked-client"]);
    }
    let mut peer = folder.plane("peer", "ca");
    peer.crl = Some(folder.file("peers.crl"));
    let mut client = folder.plane("server", if two { "client-ca" } else { "ca" });
    client.crl = Some(folder.file("clients.crl"));
    let listener = loopback(Some(Scheme::Https), Some(Scheme::Https), 0);
    let config = config(1, keychain(Some(peer), Some(client)), listener);
    Transport::start(config, Arc::new(Inbound(Arc::new(Ear::default()))), Arc::new(Echo)).unwrap()
}

fn hello(from: u64) -> Hello {
    let versions = Versions { min: (3, 6), max: (3, 6) };
    Hello { protocol: PROTOCOL, cluster: 0xc1, from, to: 1, ..Hello::default() }
        .with_versions(versions)
}

/// Dials with this certificate and says the first word: welcome, or why not.
async fn knock(
    transport: &Transport,
    files: &tls::ClientFiles,
    protocol: Protocol,
) -> Result<Bytes, Lost> {
    let mut tls = tls::client_config(Some(files)).unwrap();
    tls.alpn_protocols = vec![protocol.alpn().to_vec()];
    let config = quic_config(tls, &quic::dialling(Duration::from_secs(10), None)).unwrap();
    let port = transport.addresses()[0].port();
    let url = Url { scheme: Scheme::Https, host: "127.0.0.1".into(), port };
    let patience = Duration::from_secs(10);
    let socket = socket().unwrap();
    let connection = match connect(&socket, &Names::default(), &config, &url, patience).await {
        Ok(quic) => Connection::new(quic),
        Err(crate::transport::DialError::Lost { lost, .. }) => return Err(lost),
        Err(other) => panic!("{other}"),
    };
    let first = async {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.frame(hello(2).encode_to_vec().into()).await?;
        recv.frame(HELLO_BYTES_MAX).await?.ok_or(StreamError::Truncated)
    };
    match timeout(patience, first).await.expect("neither welcome nor refusal") {
        Ok(answer) => Ok(answer),
        Err(StreamError::Lost(lost)) => Err(lost),
        Err(_) => Err(connection.closed().await),
    }
}

/// What a refusal must say, somewhere.
fn refused(outcome: Result<Bytes, Lost>, word: &str) -> bool {
    match outcome {
        Ok(_) => false,
        Err(lost) => {
            let text = lost.to_string();
            assert!(text.contains(word), "{text:?} does not say {word:?}");
            true
        }
    }
}

/// (who under one name for each protocol, what a refusal says; "" = welcome)
type Row = (&'static str, [&'static str; 2], [&'static str; 2]);

fn table(two: bool, rows: &[Row]) {
    let folder = Folder::new();
    let transport = endpoint(&folder, two);
    let runtime = runtime();
    for (who, names, words) in rows {
        for (position, protocol) in [Protocol::Peer, Protocol::Client].into_iter().enumerate() {
            let ca = if two && protocol == Protocol::Client { "client-ca" } else { "ca" };
            let shown = Some(names[position]).filter(|name| !name.is_empty());
            let outcome = runtime.block_on(knock(&transport, &folder.dialler(shown, ca), protocol));
            let word = words[position];
            if word.is_empty() {
                assert!(outcome.is_ok(), "{who} on {protocol:?}, two CAs {two}: {outcome:?}");
            } else {
                assert!(refused(outcome, word), "{who} got in on {protocol:?}, two CAs {two}");
            }
        }
    }
    transport.shutdown();
}

#[test]
fn who_gets_in_under_one_authority() {
    table(
        false,
        &[
            ("none", ["", ""], ["none was shown", "none was shown"]),
            ("stranger", ["stranger"; 2], ["not trusted"; 2]),
            ("expired", ["expired-peer", "expired-client"], ["expired"; 2]),
            ("revoked", ["revoked-peer", "revoked-client"], ["revoked"; 2]),
            ("client", ["client"; 2], ["only clientAuth", ""]),
            ("peer", ["peer"; 2], ["", ""]),
            ("server", ["server"; 2], ["purpose"; 2]),
        ],
    );
}

#[test]
fn who_gets_in_under_two_authorities() {
    table(
        true,
        &[
            ("none", ["", ""], ["none was shown", "none was shown"]),
            ("stranger", ["stranger"; 2], ["not trusted"; 2]),
            ("expired", ["expired-peer", "expired-client"], ["expired"; 2]),
            ("revoked", ["revoked-peer", "revoked-client"], ["revoked"; 2]),
            ("client", ["client"; 2], ["UnknownIssuer", ""]),
            ("peer", ["peer"; 2], ["", "UnknownIssuer"]),
            ("server", ["server"; 2], ["purpose"; 2]),
        ],
    );
}

fn one_door(peers: Option<Scheme>, clients: Option<Scheme>, folder: &Folder) -> Transport {
    let authority = folder.authority("ca");
    people(folder, &authority, &authority);
    let keys = keychain(Some(folder.plane("peer", "ca")), Some(folder.plane("server", "ca")));
    let config = config(1, keys, loopback(peers, clients, 0));
    Transport::start(config, Arc::new(Inbound(Arc::new(Ear::default()))), Arc::new(Echo)).unwrap()
}

#[test]
fn a_protocol_is_served_only_where_it_is_listed() {
    let runtime = runtime();
    let folder = Folder::new();
    let transport = one_door(None, Some(Scheme::Https), &folder);
    let files = folder.dialler(Some("peer"), "ca");
    let knocked = runtime.block_on(knock(&transport, &files, Protocol::Peer));
    assert!(refused(knocked, "not served"));
    assert!(runtime.block_on(knock(&transport, &files, Protocol::Client)).is_ok());

    let folder = Folder::new();
    let transport = one_door(Some(Scheme::Https), None, &folder);
    let files = folder.dialler(Some("peer"), "ca");
    let knocked = runtime.block_on(knock(&transport, &files, Protocol::Client));
    assert!(refused(knocked, "not served"));
    assert!(runtime.block_on(knock(&transport, &files, Protocol::Peer)).is_ok());
}

#[test]
fn without_client_cert_auth_a_client_may_be_nobody_and_a_peer_may_not() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    people(&folder, &authority, &authority);
    let mut client = folder.plane("server", "ca");
    client.client_cert_auth = false;
    let keys = keychain(Some(folder.plane("peer", "ca")), Some(client));
    let config = config(1, keys, loopback(Some(Scheme::Https), Some(Scheme::Https), 0));
    let inbound = Arc::new(Inbound(Arc::new(Ear::default())));
    let transport = Transport::start(config, inbound, Arc::new(Echo)).unwrap();
    let nobody = folder.dialler(None, "ca");
    let runtime = runtime();
    assert!(runtime.block_on(knock(&transport, &nobody, Protocol::Client)).is_ok());
    assert!(refused(
        runtime.block_on(knock(&transport, &nobody, Protocol::Peer)),
        "none was shown"
    ));
    // One that is shown must be good all the same.
    let stranger = folder.dialler(Some("stranger"), "ca");
    assert!(refused(
        runtime.block_on(knock(&transport, &stranger, Protocol::Client)),
        "not trusted"
    ));
}

#[test]
fn peers_are_held_to_their_names() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    people(&folder, &authority, &authority);
    let bound = |member| Subject {
        member: Some((ClusterId(0xc1), MemberId(member))),
        hosts: vec!["127.0.0.1".into(), "n2.example.com".into()],
        ..subject("member")
    };
    folder.keep("two", &make::peer(&authority, &bound(2), today()).unwrap());
    folder.keep("three", &make::peer(&authority, &bound(3), today()).unwrap());
    let knocked = |change: &dyn Fn(&mut tls::PlaneFiles), who: &str| {
        let mut peer = folder.plane("peer", "ca");
        change(&mut peer);
        let config = config(1, keychain(Some(peer), None), loopback(Some(Scheme::Https), None, 0));
        let inbound = Arc::new(Inbound(Arc::new(Ear::default())));
        let transport = Transport::start(config, inbound, Arc::new(Echo)).unwrap();
        runtime().block_on(knock(&transport, &folder.dialler(Some(who), "ca"), Protocol::Peer))
    };
    // Hello says member 2.
    assert!(knocked(&|_| {}, "two").is_ok());
    assert!(refused(knocked(&|_| {}, "three"), "quorate://c1/3"));
    assert!(knocked(&|peer| peer.allowed_cn = vec!["member".into()], "two").is_ok());
    assert!(refused(knocked(&|peer| peer.allowed_cn = vec!["other".into()], "two"), "common name"));
    let hosts = |host: &str| {
        let host = host.to_owned();
        move |peer: &mut tls::PlaneFiles| peer.allowed_hostname = vec![host.clone()]
    };
    assert!(knocked(&hosts("n2.example.com"), "two").is_ok());
    assert!(refused(knocked(&hosts("n4.example.com"), "two"), "host names"));
}

#[test]
fn new_files_count_after_a_reload() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    people(&folder, &authority, &authority);
    folder.revoke("clients.crl", &authority, &["revoked-client"]);
    let mut client = folder.plane("server", "ca");
    client.crl = Some(folder.file("clients.crl"));
    let keys = keychain(None, Some(client));
    let config = config(1, Arc::clone(&keys), loopback(None, Some(Scheme::Https), 0));
    let inbound = Arc::new(Inbound(Arc::new(Ear::default())));
    let transport = Transport::start(config, inbound, Arc::new(Echo)).unwrap();
    let runtime = runtime();
    let files = folder.dialler(Some("client"), "ca");
    assert!(runtime.block_on(knock(&transport, &files, Protocol::Client)).is_ok());
    folder.revoke("clients.crl", &authority, &["revoked-client", "client"]);
    assert!(runtime.block_on(knock(&transport, &files, Protocol::Client)).is_ok());
    keys.reload().unwrap();
    assert!(refused(runtime.block_on(knock(&transport, &files, Protocol::Client)), "revoked"));
    // A broken file changes nothing.
    std::fs::write(folder.file("clients.crl"), "nonsense").unwrap();
    let error = keys.reload().unwrap_err().to_string();
    assert!(error.contains("clients.crl") && error.contains("no revocation list"), "{error}");
    assert!(refused(runtime.block_on(knock(&transport, &files, Protocol::Client)), "revoked"));
}

/// Dials and stays.
async fn stay(
    socket: &quinn::Endpoint,
    transport: &Transport,
    files: &tls::ClientFiles,
    protocol: Protocol,
) -> Connection {
    let mut tls = tls::client_config(Some(files)).unwrap();
    tls.alpn_protocols = vec![protocol.alpn().to_vec()];
    let config = quic_config(tls, &quic::dialling_members()).unwrap();
    let port = transport.addresses()[0].port();
    let url = Url { scheme: Scheme::Https, host: "127.0.0.1".into(), port };
    let quic =
        connect(socket, &Names::default(), &config, &url, limits::HELLO_DEADLINE).await.unwrap();
    let connection = Connection::new(quic);
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.frame(hello(2).encode_to_vec().into()).await.unwrap();
    recv.frame(HELLO_BYTES_MAX).await.unwrap().unwrap();
    connection
}

#[test]
fn who_is_revoked_or_ends_while_connected_is_closed() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    people(&folder, &authority, &authority);
    // Ends in two seconds: the longest wait of these tests.
    let soon = Validity { wall_ms: today().wall_ms - 86_400_000 + 2_500, days: 1 };
    folder.keep("short", &make::client(&authority, &subject("short"), soon).unwrap());
    folder.revoke("ca.crl", &authority, &["revoked-client", "revoked-peer"]);
    let with_crl = |mut plane: tls::PlaneFiles| {
        plane.crl = Some(folder.file("ca.crl"));
        plane
    };
    let peer = with_crl(folder.plane("peer", "ca"));
    let keys = keychain(Some(peer), Some(with_crl(folder.plane("server", "ca"))));
    let doors = loopback(Some(Scheme::Https), Some(Scheme::Https), 0);
    let config = config(1, Arc::clone(&keys), doors);
    let inbound = Arc::new(Inbound(Arc::new(Ear::default())));
    let transport = Transport::start(config, inbound, Arc::new(Echo)).unwrap();
    runtime().block_on(async {
        let socket = socket().unwrap();
        let dial = |name, protocol| {
            let files = folder.dialler(Some(name), "ca");
            let (socket, transport) = (&socket, &transport);
            async move { stay(socket, transport, &files, protocol).await }
        };
        let short = dial("short", Protocol::Client).await;
        let client = dial("client", Protocol::Client).await;
        let member = dial("peer", Protocol::Peer).await;
        let refused = |lost: Lost, word: &str| {
            let closed = matches!(&lost, Lost::Closed { code: Some(CloseCode::NotAdmitted), .. });
            assert!(closed && lost.to_string().contains(word), "{lost}");
        };
        refused(short.closed().await, "expired");
        folder.revoke("ca.crl", &authority, &["client"]);
        keys.reload().unwrap();
        refused(client.closed().await, "Revoked");
        assert_eq!(member.lost(), None);
        folder.revoke("ca.crl", &authority, &["client", "peer"]);
        keys.reload().unwrap();
        refused(member.closed().await, "Revoked");
    });
}

#[test]
fn a_frame_longer_than_allowed_costs_the_connection() {
    let folder = Folder::new();
    let transport = one_door(Some(Scheme::Https), None, &folder);
    runtime().block_on(async {
        let socket = socket().unwrap();
        let files = folder.dialler(Some("peer"), "ca");
        let connection = stay(&socket, &transport, &files, Protocol::Peer).await;
        let mut control = connection.open_uni().await.unwrap();
        let length = u32::try_from(limits::PEER_FRAME_BYTES_MAX + 1).unwrap();
        let mut bytes = vec![0];
        bytes.extend_from_slice(&length.to_be_bytes());
        control.bytes(bytes.into()).await.unwrap();
        let lost = connection.closed().await;
        assert!(matches!(lost, Lost::Closed { code: Some(CloseCode::Protocol), .. }), "{lost}");
    });
}
