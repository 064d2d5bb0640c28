//! Our own protocol to clients, and the one between members.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate::base::{ClusterId, MemberId};
use quorate::proto::Method;
use quorate::proto::hello::{ClientHello, Control, PROTOCOL_VERSION};
use quorate::tls::ALPN_PEER;
use tokio::time::timeout;

use super::super::super::harness::{eventually, free_ports, quorate};
use super::super::super::native::raw::{Raw, Stream, get as asked};
use super::{Alone, Inputs, LOOK, Process, pb, put, run, serves, soon, sound};

const WORD: Duration = Duration::from_millis(50);

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

/// Every first two bytes of a stream, and what stands behind them.
fn streams() -> Vec<Vec<u8>> {
    let mut unary = bytes::BytesMut::from(&0u16.to_be_bytes()[..]);
    asked(1, "k").encode(&mut unary);
    asked(2, "l").encode(&mut unary);
    let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
    let watch = pb::watch_request::RequestUnion::CreateRequest(create);
    let watch = pb::WatchRequest { request_union: Some(watch) }.encode_to_vec();
    let of = |method: Method, message: &[u8]| {
        [&method.number().to_be_bytes()[..], &framed(&[&[0][..], message].concat())].concat()
    };
    let hello = ClientHello {
        versions: vec![PROTOCOL_VERSION],
        client: "raw".to_owned(),
        ..Default::default()
    };
    vec![
        unary.to_vec(),
        of(Method::Watch, &watch),
        of(Method::LeaseKeepAlive, &pb::LeaseKeepAliveRequest { id: 7 }.encode_to_vec()),
        of(Method::Put, &put("k", "v").encode_to_vec()),
        Control::ClientHello(hello).encode().to_vec(),
    ]
}

#[test]
fn streams_of_our_own_protocol() {
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let url = format!("http://{}", alone.address);
        let mut open: Option<(Raw, Stream)> = None;
        for (at, input) in Inputs::new("streams", streams(), &["k"], 500).enumerate() {
            // The first stream of a connection is its greeting; one of four begins with what it likes.
            if at % 4 == 0 {
                open = None;
                let raw = Raw::stranger(&url).await;
                if let Some(mut stream) = raw.try_stream().await {
                    let _ = stream.send.bytes(input.into()).await;
                    let _ = timeout(WORD, stream.recv.frame(1 << 20)).await;
                }
                continue;
            }
            if open.is_none() {
                open = Some(Raw::greeted(&url).await);
            }
            let Some((raw, _control)) = &open else { continue };
            // A connection that an earlier one has cost is dialled anew.
            let Some(mut stream) = raw.try_stream().await else {
                open = None;
                continue;
            };
            let _ = soon("room to write", stream.send.bytes(input.into())).await;
            stream.send.finish();
            let _ = timeout(WORD, stream.recv.frame(4 << 20)).await;
            if at % LOOK == 1 {
                serves(&alone, at).await;
            }
        }
        serves(&alone, usize::MAX).await;
        sound(alone.process());
    });
}

/// As `docs/protocol.md` has it.
#[derive(Clone, PartialEq, Message)]
struct Hello {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(fixed64, tag = "2")]
    cluster: u64,
    #[prost(fixed64, tag = "3")]
    from: u64,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(fixed64, tag = "5")]
    boot_nonce: u64,
    #[prost(fixed64, tag = "6")]
    to: u64,
    #[prost(uint32, tag = "7")]
    version_min: u32,
    #[prost(uint32, tag = "8")]
    version_max: u32,
    #[prost(string, repeated, tag = "9")]
    urls: Vec<String>,
}

/// A member in clear whose only peer is this test.
struct Pair {
    process: Process,
    peer: SocketAddr,
    client: SocketAddr,
    hello: Hello,
    endpoint: quinn::Endpoint,
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        const TOKEN: &str = "pair";
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(3);
        let url = |at: usize| format!("http://127.0.0.1:{}", ports[at]);
        let mut command = quorate();
        command.current_dir(dir.path()).args(["--name", "n0", "--initial-cluster-token", TOKEN]);
        command.args(["--initial-cluster", &format!("n0={},n1={}", url(0), url(1))]);
        command.args(["--listen-peer-urls", &url(0), "--initial-advertise-peer-urls", &url(0)]);
        command.args(["--listen-client-urls", &url(2), "--advertise-client-urls", &url(2)]);
        let process = Process::spawn(command, &dir.path().join("n0.log"));
        let [own, other] = [0, 1].map(|at| MemberId::from_peer_urls(&[url(at)], TOKEN, None));
        let hello = Hello {
            protocol: 1,
            cluster: ClusterId::from_members(&[own, other]).0,
            from: other.0,
            name: "n1".to_owned(),
            boot_nonce: 7,
            to: own.0,
            version_min: 1,
            version_max: u32::MAX,
            urls: vec![url(1)],
        };
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let endpoint = quinn::Endpoint::client(address(0)).unwrap();
        let (peer, client) = (address(ports[0]), address(ports[2]));
        let pair = Self { process, peer, client, hello, endpoint, _dir: dir };
        pair.serves().await;
        pair
    }

    /// It tells its version, though it has no leader.
    async fn serves(&self) {
        eventually("the member tells its version", async || {
            let mut stream = tokio::net::TcpStream::connect(self.client).await.ok()?;
            let ask = b"GET /version HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, ask).await.ok()?;
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.ok()?;
            answer.contains("etcdserver").then_some(())
        })
        .await;
    }

    async fn dial(&self) -> quinn::Connection {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(std::sync::Arc::new(Anybody))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let config = quinn::ClientConfig::new(std::sync::Arc::new(config));
        let connecting = self.endpoint.connect_with(config, self.peer, "localhost").unwrap();
        soon("a connection", connecting).await.unwrap()
    }

    /// Dialled, and greeted as the other member.
    async fn greeted(&self) -> quinn::Connection {
        let connection = self.dial().await;
        let (mut send, mut recv) = soon("a stream", connection.open_bi()).await.unwrap();
        send.write_all(&framed(&self.hello.encode_to_vec())).await.unwrap();
        send.finish().unwrap();
        let answer = soon("a greeting", recv.read_to_end(1 << 16)).await;
        let answer =
            answer.unwrap_or_else(|error| panic!("{error}; {:?}", connection.close_reason()));
        assert!(Hello::decode(&answer[4..]).is_ok_and(|it| it.from == self.hello.to));
        connection
    }
}

/// In clear QUIC's certificate says nothing.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// How a stream of members begins: its kind, and what stands behind.
const GREETING: u8 = 0;
const MESSAGES: u8 = 1;
const ASK: u8 = 2;

/// An input is a kind of stream and its bytes.
fn of_members(pair: &Pair) -> Vec<Vec<u8>> {
    use quorate::consensus::wire::{Kind, RaftMessage};
    let message = |kind: Kind| RaftMessage {
        kind: kind as i32,
        from: pair.hello.from,
        to: pair.hello.to,
        term: 3,
        ..RaftMessage::default()
    };
    let mut made = vec![[&[GREETING][..], &framed(&pair.hello.encode_to_vec())].concat()];
    for (stream, kind) in [
        (0, Kind::Heartbeat),
        (0, Kind::Vote),
        (0, Kind::PreVote),
        (1, Kind::Append),
        (1, Kind::ReadIndex),
    ] {
        let frame = framed(&message(kind).encode_to_vec());
        made.push([&[MESSAGES, stream][..], &frame, &frame].concat());
    }
    // A snapshot: its head, its length, and less than that.
    made.push(
        [
            &[MESSAGES, 2][..],
            &framed(&message(Kind::Snapshot).encode_to_vec()),
            &99u64.to_be_bytes(),
            b"bytes",
        ]
        .concat(),
    );
    for kind in 0u16..8 {
        made.push([&[ASK][..], &framed(&[&kind.to_be_bytes()[..], b"\x08\x07"].concat())].concat());
    }
    made
}

#[test]
fn streams_between_members() {
    run(async {
        let pair = Pair::start().await;
        let inputs = Inputs::new("members", of_members(&pair), &["n1", "http://h:1"], 500);
        let mut open: Option<quinn::Connection> = None;
        for (at, input) in inputs.enumerate() {
            let Some((&kind, bytes)) = input.split_first() else { continue };
            let bytes = Bytes::copy_from_slice(bytes);
            if kind % 3 == GREETING {
                let connection = pair.dial().await;
                if let Ok((mut send, mut recv)) = connection.open_bi().await {
                    let _ = send.write_all(&bytes).await;
                    let _ = send.finish();
                    let _ = timeout(WORD, recv.read_to_end(1 << 16)).await;
                }
                continue;
            }
            if open.as_ref().is_none_or(|it| it.close_reason().is_some()) {
                open = Some(pair.greeted().await);
            }
            let Some(connection) = &open else { continue };
            // It closes a connection that does what the page does not allow: the next input has another.
            if kind % 3 == MESSAGES {
                if let Ok(Ok(mut send)) = timeout(WORD, connection.open_uni()).await {
                    let _ = timeout(WORD, send.write_all(&bytes)).await;
                    let _ = send.finish();
                } else {
                    open = None;
                }
            } else if let Ok(Ok((mut send, mut recv))) = timeout(WORD, connection.open_bi()).await {
                let _ = timeout(WORD, send.write_all(&bytes)).await;
                let _ = send.finish();
                let _ = timeout(WORD, recv.read_to_end(1 << 16)).await;
            } else {
                open = None;
            }
            if at % LOOK == 0 {
                pair.serves().await;
            }
        }
        pair.serves().await;
        sound(&pair.process);
    });
}
