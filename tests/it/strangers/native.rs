//! Strangers on our own wire: what TLS says there, and what is said where it lets in.

use quorate::client::{Client, ClientFiles, Config, Error};
use quorate::proto::Code;

use super::house::{House, Plan, Site, Whose};
use crate::harness::{Seat, run};

/// What a client with these files, this token and this password is told of a key.
async fn told(config: Config, key: &str) -> String {
    match Client::lazy(config).unwrap().get(key.to_owned()).await {
        Ok(_) => "served".to_owned(),
        Err(Error::Server { status, .. }) => format!("{:?}: {}", status.code, status.text),
        Err(error) => error.to_string(),
    }
}

#[test]
fn over_quic_strangers_hear_why() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let plan = Plan { words: &["--auth-token-ttl=1"], ..Plan::default() };
        let house = House::open(Whose::Ours, &site, plan).await.unwrap();
        let old = house.token("bob").await;
        let config = |stem: Option<&str>| {
            let files = match stem {
                Some(stem) => site.files(stem),
                None => ClientFiles { cert: None, key: None, ..site.files("certs/client-root") },
            };
            let mut config = Config::new([house.url()]).tls(files);
            config.wire = quorate::client::Wire::Quic;
            config.request_timeout = std::time::Duration::from_secs(5);
            config
        };
        let with = |token: &str| Config {
            token: Some(token.to_owned()),
            ..config(Some("certs/client-nameless"))
        };
        assert_eq!(told(config(Some("certs/client-root")), "a").await, "served");
        for (who, stem, says) in [
            ("no certificate", None, "required"),
            ("of another authority", Some("other/client-root"), "certificate"),
            ("ended", Some("certs/client-late"), "xpired"),
            ("revoked", Some("certs/client-mallory"), "evoked"),
        ] {
            let text = told(config(stem), "a").await;
            assert!(text != "served" && text.contains(says), "{who}: {text}");
        }
        let denied = format!("{:?}: etcdserver: permission denied", Code::PermissionDenied);
        let invalid = format!("{:?}: etcdserver: invalid auth token", Code::Unauthenticated);
        assert_eq!(told(config(Some("certs/client-ghost")), "b").await, denied);
        assert_eq!(told(with("nonsense.1"), "b").await, invalid);
        let bob = house.token("bob").await;
        assert_eq!(told(with(&bob), "b").await, "served");
        assert_eq!(told(with(&bob), "a").await, denied);
        crate::harness::eventually("the token ends", async || {
            tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
            (told(with(&old), "b").await == invalid).then_some(())
        })
        .await;
    });
}
