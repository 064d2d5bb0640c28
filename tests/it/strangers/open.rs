//! Tokens that say by themselves whose they are, forged and old, at members in clear.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use prost::Message;
use quorate::base::{Clock, SystemClock};
use quorate::proto::etcdserverpb as pb;
use serde_json::{Value, json};

use super::house::{House, Listener, Plan, Site, Whose};
use super::knock::{Answer, Page};
use crate::harness::{Seat, run};

const TO_COME: &str = "of a revision to come";
const SECRET: &str = "a secret that every member has";

fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// What a token is worth: over gRPC, and in JSON.
async fn worth(house: &House, token: &str, key: &str) -> (Answer, Answer) {
    let tls = house.site.shows_nothing();
    let caller = house.caller(Listener::Client, &tls);
    let request = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let over_grpc =
        caller.grpc("etcdserverpb.KV/Range", &[("token", token)], &request.encode_to_vec()).await.0;
    let body = json!({ "key": in_base64(key) }).to_string();
    let headers = format!("Authorization: {token}\r\n");
    let page =
        Page { method: "POST", path: "/v3/kv/range", headers, body: &body, ..Page::default() };
    let in_json = match caller.page(&page) {
        Answer::Http(status, body) => {
            let said: Value = serde_json::from_str(&body).unwrap_or_default();
            Answer::Http(status, said["message"].as_str().unwrap_or_default().to_owned())
        }
        other => other,
    };
    (over_grpc, in_json)
}

fn in_base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The tokens that are tried, each with its name; the revision is the one of users now.
fn forged(revision: u64) -> Vec<(&'static str, String)> {
    let now = u64::try_from(SystemClock::new().wall_ms() / 1_000).unwrap();
    let hour = Duration::from_secs(3_600).as_secs();
    let claims = |name: &str, revision: u64, exp: u64| json!({ "username": name, "revision": revision, "exp": exp });
    let good = claims("root", revision, now + hour);
    let hs = |claims: &Value| signed(Algorithm::HS256, SECRET, claims);
    let unsigned = {
        let part = |value: Value| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
        };
        format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(good.clone()))
    };
    let mut cut = hs(&good);
    cut.truncate(cut.len() - 3);
    vec![
        ("one of our own", hs(&good)),
        ("ended", hs(&claims("root", revision, now - 60))),
        ("of an older revision", hs(&claims("root", revision - 1, now + hour))),
        (TO_COME, hs(&claims("root", revision + 9, now + hour))),
        ("of another secret", signed(Algorithm::HS256, "another", &good)),
        ("by another method", signed(Algorithm::HS512, SECRET, &good)),
        ("unsigned", unsigned),
        ("cut short", cut),
        ("of nobody", hs(&claims("nobody", revision, now + hour))),
        ("without a name", hs(&json!({ "revision": revision, "exp": now + hour }))),
        ("without a revision", hs(&json!({ "username": "root", "exp": now + hour }))),
        ("of no permission", hs(&claims("bob", revision, now + hour))),
        ("no token at all", "nonsense".to_owned()),
    ]
}

#[test]
fn a_token_that_is_forged_old_or_of_little_worth_is_told_so_as_by_etcd() {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        std::fs::write(site.folder.path().join("token.key"), SECRET).unwrap();
        let words = &["--auth-token=jwt,sign-method=HS256,priv-key=token.key,ttl=10m"];
        let plan = Plan { plain: true, words, ..Plan::default() };
        let mut heard = Vec::new();
        // 3.5.1 stops at a token without a revision, and has another text for an old one.
        for whose in [Whose::Ours, Whose::Etcd36] {
            let Some(house) = House::open(whose, &site, plan).await else { continue };
            let revision = house.auth_revision(&house.token("root").await).await;
            let mut told = Vec::new();
            for (what, token) in forged(revision) {
                told.push((what, worth(&house, &token, "a").await));
            }
            heard.push((whose, told));
        }
        let served = (Answer::Grpc(0, String::new()), Answer::Http(200, String::new()));
        let (_, ours) = &heard[0];
        for (what, answer) in ours {
            let is_good = matches!(*what, "one of our own" | TO_COME);
            assert_eq!(*answer == served, is_good, "{what}: {answer:?}");
        }
        for (whose, theirs) in &heard[1..] {
            for ((what, our), (_, their)) in ours.iter().zip(theirs) {
                // A member that lags behind meets such tokens: etcd sends whoever reads away, and here he is served
                // (docs/compatibility.md).
                assert_eq!(
                    our == their,
                    *what != TO_COME,
                    "{what}: ours {our:?}, {whose:?} {their:?}"
                );
            }
        }
    });
}
