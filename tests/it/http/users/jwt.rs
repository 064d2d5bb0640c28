//! Tokens that say by themselves whose they are, and keys that are read again.

use std::path::Path;

use quorate::proto::etcdserverpb as pb;

use super::super::super::harness::{eventually, quorate, run};
use super::super::alone::Alone;
use super::super::calls::{PUT, RANGE, get, put};
use super::super::client::{Client, End};
use super::{ROOT, client, enable};

/// A fresh key in PEM, which is a certificate's here.
fn key(folder: &Path, name: &str) -> String {
    let made = quorate().current_dir(folder).args(["cert", "ca", "--dir", name]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::read_to_string(folder.join(name).join("ca.key")).unwrap()
}

async fn token(grpc: &Client, name: &str, password: &str) -> Result<String, End> {
    let (name, password) = (name.to_owned(), password.to_owned());
    let request = pb::AuthenticateRequest { name, password };
    let path = "/etcdserverpb.Auth/Authenticate";
    let answer = grpc.call::<pb::AuthenticateResponse>(path, &[], &request).await;
    answer.map(|answer| answer.token)
}

#[test]
fn a_jwt_counts_as_long_as_its_key() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (key(dir.path(), "one"), key(dir.path(), "other"));
        let path = dir.path().join("token.key");
        std::fs::write(&path, &one).unwrap();
        let setting =
            format!("--auth-token=jwt,sign-method=ES256,priv-key={},ttl=10m", path.display());
        let (alone, grpc) = Alone::start(&[&setting]).await;
        enable(&client(&[alone.address], None)).await;
        let first = token(&grpc, "bob", "word").await.unwrap();
        assert_eq!(first.split('.').count(), 3, "{first}");
        let ask = async |token: &str| {
            grpc.call::<pb::RangeResponse>(RANGE, &[("token", token)], &get("b")).await.map(|_| ())
        };
        ask(&first).await.unwrap();
        let denied = grpc.call::<pb::PutResponse>(PUT, &[("token", &first)], &put("a", "")).await;
        assert_eq!(denied.unwrap_err(), (7, "etcdserver: permission denied".to_owned()));
        // Another change of users makes it old; clients with passwords get another one.
        let root = client(&[alone.address], ROOT);
        root.put("b", "1").await.unwrap();
        root.role_add("more").await.unwrap();
        let old = (3, "etcdserver: revision of auth store is old".to_owned());
        assert_eq!(ask(&first).await, Err(old));
        root.put("b", "2").await.unwrap();
        // Half a key changes nothing; another one ends the tokens of the first.
        let second = token(&grpc, "bob", "word").await.unwrap();
        std::fs::write(&path, "no key").unwrap();
        alone.signal("HUP");
        eventually("the member tells", async || {
            alone.log().contains("cannot use the new keys of tokens").then_some(())
        })
        .await;
        ask(&second).await.unwrap();
        std::fs::write(&path, &other).unwrap();
        alone.signal("HUP");
        let invalid = (16, "etcdserver: invalid auth token".to_owned());
        eventually("the new key counts", async || {
            (ask(&second).await == Err(invalid.clone())).then_some(())
        })
        .await;
        ask(&token(&grpc, "bob", "word").await.unwrap()).await.unwrap();
        root.put("b", "3").await.unwrap();
    });
}

#[test]
fn a_setting_that_cannot_be_is_told_before_the_start() {
    let refused = |setting: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut command = quorate();
        command.current_dir(dir.path()).args(["serve", "--auth-token", setting]);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = refused("jwt,sign-method=none");
    assert!(text.contains("\"none\" is no signing method"), "{text}");
    let text = refused("jwt,sign-method=RS256,priv-key=/nowhere.pem");
    assert!(text.contains("/nowhere.pem cannot be read"), "{text}");
    assert!(refused("cookies").contains("is no kind of token"));
}
