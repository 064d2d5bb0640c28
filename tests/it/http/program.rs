//! The HTTP door of the program: TLS by ALPN, and members that have lost their leader.

use std::path::Path;
use std::sync::Arc;

use quorate::proto::etcdserverpb as pb;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::harness::{Cluster, Process, Seat, eventually, free_ports, quorate, run};
use super::calls::{PUT, RANGE, get, put};
use super::client::Client;
use super::streams::{WATCH, watch};

/// A TLS client of these protocols; `name` is whose certificate it shows.
async fn connect(
    cluster: &Cluster,
    name: Option<&str>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let certs = cluster.dir().join("certs");
    let chain = |file: &Path| vec![CertificateDer::from_pem_file(file).unwrap()];
    let mut roots = RootCertStore::empty();
    roots.add(chain(&certs.join("ca.crt")).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match name {
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(certs.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain(&certs.join(format!("{name}.crt"))), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let address = cluster.members[0].url.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let server = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(server, stream).await
}

#[test]
fn over_tls_clients_are_who_their_certificate_says() {
    let cluster = Cluster::start(1);
    run(async {
        let stream = connect(&cluster, Some("client-root"), &[b"h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = Client::over(stream).await;
        let _: pb::PutResponse = client.call(PUT, &[], &put("k", "over TCP")).await.unwrap();
        assert_eq!(cluster.ask(&[0], &["get", "k"]), "k\nover TCP\n");
        let status: pb::StatusResponse = client
            .call("/etcdserverpb.Maintenance/Status", &[], &pb::StatusRequest {})
            .await
            .unwrap();
        assert_eq!(status.version, "3.6.0");
        let stream = connect(&cluster, Some("client-root"), &[b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        // Without a protocol, the first bytes tell.
        let client = Client::over(connect(&cluster, Some("client-root"), &[]).await.unwrap()).await;
        assert_eq!(client.call::<pb::RangeResponse>(RANGE, &[], &get("k")).await.unwrap().count, 1);
        for name in [None, Some("server-n1")] {
            // In TLS 1.3 the client believes to be connected before the server has looked.
            let Ok(stream) = connect(&cluster, name, &[b"h2"]).await else { continue };
            let refused = h2::client::handshake(stream).await;
            let Ok((send, connection)) = refused else { continue };
            let ended = connection.await;
            assert!(send.ready().await.is_err(), "{name:?} was let in: {ended:?}");
        }
    });
}

#[test]
fn who_requires_a_leader_is_told_that_there_is_none() {
    let _seat = Seat::take();
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(2);
    let url = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
    let initial = format!("n0={},n1={}", url(0), url(1));
    let start = |n: usize| {
        let mut command = quorate();
        command.current_dir(dir.path()).args(["--name", &format!("n{n}")]);
        for flag in [
            "--listen-peer-urls",
            "--listen-client-urls",
            "--initial-advertise-peer-urls",
            "--advertise-client-urls",
        ] {
            command.args([flag, &url(n)]);
        }
        command.args(["--initial-cluster", &initial]);
        Process::spawn(command, &dir.path().join(format!("n{n}.log")))
    };
    let (first, mut second) = (start(0), start(1));
    run(async {
        eventually("the TCP door", || async {
            TcpStream::connect(("127.0.0.1", ports[0])).await.ok()
        })
        .await;
        let client = Client::dial(([127, 0, 0, 1], ports[0]).into()).await;
        let required = [("hasleader", "true")];
        eventually("a put", || async {
            client.call::<pb::PutResponse>(PUT, &required, &put("k", "v")).await.ok()
        })
        .await;
        let mut watching = client.open(WATCH, &required).await;
        watching.say(&watch("k"), false);
        assert!(watching.hear::<pb::WatchResponse>().await.created);
        let mut careless = client.open(WATCH, &[]).await;
        careless.say(&watch("k"), false);
        assert!(careless.hear::<pb::WatchResponse>().await.created);
        second.kill();
        let no_leader = (14, "etcdserver: no leader".to_owned());
        assert_eq!(watching.next().await.unwrap_err(), no_leader);
        let local = pb::RangeRequest { serializable: true, ..get("k") };
        let refused = client.call::<pb::RangeResponse>(RANGE, &required, &local).await;
        assert_eq!(refused.unwrap_err(), no_leader);
        let mut late = client.open(WATCH, &required).await;
        late.say(&watch("k"), false);
        assert_eq!(late.next().await.unwrap_err(), no_leader);
        // Who does not, is served from what is here.
        let found: pb::RangeResponse = client.call(RANGE, &[], &local).await.unwrap();
        assert_eq!(found.count, 1);
    });
    drop(first);
}
