//! Simple tokens: known to every member, forgotten where one restarts or they end, and got anew by clients that have a password.

use quorate::client::Access;
use quorate::proto::Code;
use quorate::proto::etcdserverpb as pb;
use tokio::net::TcpStream;

use super::super::super::harness::{eventually, run};
use super::super::alone::Alone;
use super::super::calls::{PUT, RANGE, get, put};
use super::super::client::Client;
use super::super::gateway::post_as;
use super::super::soon;
use super::super::three::Three;
use super::super::websocket::Socket;
use super::{BOB, ROOT, client, denied, enable, invalid, refused};

async fn token(grpc: &Client, name: &str, password: &str) -> String {
    let (name, password) = (name.to_owned(), password.to_owned());
    let request = pb::AuthenticateRequest { name, password };
    let path = "/etcdserverpb.Auth/Authenticate";
    grpc.call::<pb::AuthenticateResponse>(path, &[], &request).await.unwrap().token
}

#[test]
fn a_token_of_one_member_counts_at_all() {
    run(async {
        let mut three = Three::start().await;
        let anybody = client(&three.addresses, None);
        enable(&anybody).await;
        let first = Client::dial(three.addresses[0]).await;
        let token = token(&first, "bob", "word").await;
        for &address in &three.addresses {
            let grpc = Client::dial(address).await;
            for name in ["token", "authorization"] {
                for text in [token.clone(), format!("Bearer {token}")] {
                    let shown = [(name, text.as_str())];
                    let _: pb::PutResponse = grpc.call(PUT, &shown, &put("b1", "v")).await.unwrap();
                    let told = grpc.call::<pb::RangeResponse>(RANGE, &shown, &get("a")).await;
                    assert_eq!(told.unwrap_err().1, "etcdserver: permission denied");
                }
            }
            let body = r#"{"key":"YjE="}"#;
            let (status, text) = post_as(address, "/v3/kv/range", Some(&token), body).await;
            assert!(status == 200 && text.contains("\"dg==\""), "{text}");
            let mut socket = Socket::open_as(address, "/v3/kv/range", Some(&token)).await;
            socket.say(body.to_owned()).await;
            assert_eq!(socket.next().await.unwrap()["count"], "1");
        }
        // A member that restarts may have forgotten it; who has a password does not notice.
        let bob = client(&three.addresses[1..2], BOB);
        bob.put("b1", "w").await.unwrap();
        three.kill(1);
        three.spawn(1, "existing");
        let address = three.addresses[1];
        let told = eventually("it serves", || async {
            let grpc = Client::over(TcpStream::connect(address).await.ok()?).await;
            let shown = [("token", token.as_str())];
            let told = grpc.call::<pb::RangeResponse>(RANGE, &shown, &get("b1")).await;
            // Without a leader it does not know better.
            Some(told).filter(|told| told.as_ref().err().is_none_or(|end| end.0 != 14))
        })
        .await;
        if let Err(end) = told {
            assert_eq!(end, (16, "etcdserver: invalid auth token".to_owned()));
        }
        assert_eq!(bob.get("b1").await.unwrap().kvs[0].value, "w");
        bob.put("b1", "x").await.unwrap();
    });
}

#[test]
fn who_is_another_one_now_has_no_token() {
    run(async {
        let (alone, grpc) = Alone::start(&[]).await;
        enable(&client(&[alone.address], None)).await;
        let root = client(&[alone.address], ROOT);
        let before = token(&grpc, "bob", "word").await;
        let (bob, old) = (client(&[alone.address], BOB), client(&[alone.address], BOB));
        bob.put("b", "1").await.unwrap();
        old.put("b", "2").await.unwrap();
        let mut watcher = bob.watch("b").await.unwrap();
        root.user_change_password("bob", "other").await.unwrap();
        let told = grpc.call::<pb::RangeResponse>(RANGE, &[("token", &before)], &get("b")).await;
        assert_eq!(told.unwrap_err(), (16, "etcdserver: invalid auth token".to_owned()));
        // It has the password of before alone.
        let (code, text) = refused(old.get("b").await);
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(text.contains("invalid user ID or password"), "{text}");
        // What was open stays open, as in etcd.
        root.put("b", "3").await.unwrap();
        let heard = soon("the watcher hears", watcher.next()).await.unwrap().unwrap();
        assert_eq!(heard.events[0].kv.as_ref().unwrap().value, "3");
        let now = client(&[alone.address], Some(("bob", "other")));
        now.put("b", "4").await.unwrap();
        root.role_revoke_permission("b", "b", "c").await.unwrap();
        assert_eq!(refused(now.get("b").await), denied());
        root.role_grant_permission("b", Access::Read, "b", "").await.unwrap();
        assert_eq!(now.get("b").await.unwrap().kvs[0].value, "4");
        assert_eq!(refused(now.put("b", "5").await), denied());
        root.user_delete("bob").await.unwrap();
        let (code, text) = refused(now.get("b").await);
        assert!(code == Code::InvalidArgument && text.contains("invalid user ID"), "{text}");
        root.auth_disable().await.unwrap();
        now.put("b", "6").await.unwrap();
    });
}

#[test]
fn an_old_token_is_none() {
    run(async {
        let (alone, grpc) = Alone::start(&["--auth-token-ttl=1"]).await;
        enable(&client(&[alone.address], None)).await;
        let token = token(&grpc, "bob", "word").await;
        let shown = [("token", token.as_str())];
        // Used, it lives; this one is not used.
        let ended = eventually("the token ends", async || {
            tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
            grpc.call::<pb::RangeResponse>(RANGE, &shown, &get("b")).await.err()
        })
        .await;
        assert_eq!(ended, (invalid().0.number(), invalid().1));
    });
}
