//! The door of the members: QUIC here, HTTP at an etcd. Whoever shows no certificate of a member stays outside of both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};
use quorate::tls::{ALPN_PEER, certificates};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use super::house::{House, Listener, Plan, Site, Whose};
use super::knock::{Answer, Page};
use crate::harness::{Seat, run};

const PATIENCE: Duration = Duration::from_secs(30);

/// Who comes, by the stem of what he shows; and the word of why he is refused here.
const COMERS: [(Option<&str>, &str); 6] = [
    (None, "required"),
    (Some("other/peer-n1"), "UnknownCA"),
    (Some("certs/peer-late"), "xpired"),
    (Some("certs/peer-mallory"), "evoked"),
    // Certificates of the same authority, but no member's.
    (Some("certs/client-root"), "only clientAuth"),
    (Some("certs/server-n1"), "UnsupportedCertificate"),
];

/// Why a caller who speaks the members' protocol is closed, who says nothing but a stream of noise.
async fn over_quic(port: u16, site: &Site, stem: Option<&str>) -> String {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&site.certs().join("ca.crt")).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match stem.map(|stem| site.folder.path().join(stem)) {
        None => builder.with_no_client_auth(),
        Some(stem) => {
            let chain = certificates(&stem.with_extension("crt")).unwrap();
            let key = PrivateKeyDer::from_pem_file(stem.with_extension("key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![ALPN_PEER.to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    let ended = match timeout(PATIENCE, connecting).await.expect("a handshake or its end") {
        Err(error) => error,
        Ok(connection) => {
            // Closed before or after it is read: nothing comes back.
            if let Ok((mut send, _recv)) = connection.open_bi().await {
                let _ = send.write_all(&[0xff; 64]).await;
            }
            timeout(PATIENCE, connection.closed()).await.expect("the close")
        }
    };
    match ended {
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        ConnectionError::ConnectionClosed(close) => {
            let alert =
                u64::from(close.error_code).checked_sub(0x100).and_then(|it| u8::try_from(it).ok());
            format!("{:?}", alert.map(rustls::AlertDescription::from))
        }
        other => format!("{other}"),
    }
}

#[test]
fn no_stranger_and_no_client_is_taken_for_a_member() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let house = House::open(Whose::Ours, &site, Plan::default()).await.unwrap();
        let port = house.port(Listener::Peer);
        for (stem, why) in COMERS {
            let said = over_quic(port, &site, stem).await;
            assert!(said.contains(why), "{stem:?}: {said}");
        }
        // A member's own certificate is read by: what it says is no greeting of a member, and so it is closed all the same.
        let said = over_quic(port, &site, Some("certs/peer-n1")).await;
        let reasons = COMERS.map(|(_, why)| why);
        assert!(!reasons.iter().any(|why| said.contains(why)), "{said}");
        // Beside it TCP lets clients in, by the rules of clients (docs/configuration.md), and so nobody else.
        for (stem, alert) in [
            (None, "CertificateRequired"),
            (Some("other/client-root"), "UnknownCA"),
            (Some("certs/client-late"), "CertificateExpired"),
            (Some("certs/client-mallory"), "CertificateRevoked"),
        ] {
            let tls = stem.map_or_else(|| site.shows_nothing(), |stem| site.shows(stem));
            let caller = house.caller(Listener::Peer, &tls);
            let refused = Answer::Alert(alert.to_owned());
            assert_eq!(caller.preface(), Err(refused.clone()), "{stem:?}");
            let page = Page { method: "GET", path: "/metrics", ..Page::default() };
            assert_eq!(caller.page(&page), refused, "{stem:?}");
        }
        let tls = site.shows("certs/client-nameless");
        let page = Page {
            method: "POST",
            path: "/v3/kv/range",
            body: r#"{"key":"YQ=="}"#,
            ..Page::default()
        };
        let said = house.caller(Listener::Peer, &tls).page(&page);
        assert!(
            matches!(&said, Answer::Http(400, text) if text.contains("user name is empty")),
            "{said:?}"
        );
        house.put(None, "a").await;
    });
}

/// What etcd says at its own, for the same certificates.
#[test]
fn etcd_refuses_the_same_but_for_a_client() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        for whose in [Whose::Etcd36, Whose::Etcd35] {
            let Some(house) = House::open(whose, &site, Plan::default()).await else { continue };
            let page = Page { method: "GET", path: "/members", ..Page::default() };
            for (stem, _) in COMERS {
                let tls = stem.map_or_else(|| site.shows_nothing(), |stem| site.shows(stem));
                let said = house.caller(Listener::Peer, &tls).page(&page);
                let is_let_in = matches!(said, Answer::Http(200, _));
                // One authority for members and clients is enough for etcd: what a certificate is for, it does not ask. We do.
                let is_client = stem.is_some_and(|stem| {
                    Path::new(stem).ends_with("client-root") && stem.starts_with("certs")
                });
                assert_eq!(is_let_in, is_client, "{whose:?}, {stem:?}: {said:?}");
            }
        }
    });
}
