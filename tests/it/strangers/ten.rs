//! Who the ten are, where each is sent, and what is told to them: here and by etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use quorate::proto::etcdserverpb as pb;

use super::house::{House, Listener, Plan, Site, Whose};
use super::knock::{Answer, Caller, Page, Tls};
use crate::harness::{Seat, eventually, run};

/// A head that no server reads to its end: Go's bound is 1 MiB, ours is shorter.
const HUGE: usize = 2 << 20;

/// See the module.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stranger {
    NoCertificate,
    OtherAuthority,
    Ended,
    Revoked,
    /// His certificate is good, and its name is no user's.
    NoUser,
    BadToken,
    OldToken,
    /// A user, but not of this key.
    NotPermitted,
    /// A page whose own name leads to us.
    Rebound,
    HugeHeader,
}

use Stranger::{
    BadToken, Ended, HugeHeader, NoCertificate, NoUser, NotPermitted, OldToken, OtherAuthority,
    Rebound, Revoked,
};

/// What he asks for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wire {
    Grpc,
    Json,
    V2,
    Metrics,
    Health,
    /// A page by TLS 1.2.
    Tls12,
}

/// Who came, where to, and what for.
type Visit = (Stranger, Listener, Wire);

/// Strangers whom TLS itself refuses.
const BY_TLS: [Stranger; 4] = [NoCertificate, OtherAuthority, Ended, Revoked];
/// Those who get as far as a request.
const BY_REQUEST: [Stranger; 6] = [NoUser, BadToken, OldToken, NotPermitted, Rebound, HugeHeader];

const PAGES: [Wire; 4] = [Wire::Json, Wire::V2, Wire::Metrics, Wire::Health];

/// One difference that is meant: whoever of `whom` comes, to one of `at`, for one of `wires`.
struct Known {
    whom: &'static [Stranger],
    at: &'static [Listener],
    wires: &'static [Wire],
    whose: &'static [Whose],
    ours: fn(&Answer) -> bool,
    theirs: fn(&Answer) -> bool,
    because: &'static str,
}

const EVERYWHERE: &[Listener] = &[Listener::Client, Listener::Http, Listener::Metrics];
const ETCDS: &[Whose] = &[Whose::Etcd36, Whose::Etcd35];
const ALL_WIRES: &[Wire] =
    &[Wire::Grpc, Wire::Json, Wire::V2, Wire::Metrics, Wire::Health, Wire::Tls12];

fn alerts(answer: &Answer, name: &str) -> bool {
    matches!(answer, Answer::Alert(alert) if alert == name)
}

fn is_page(answer: &Answer, status: u16, text: &str) -> bool {
    *answer == Answer::Http(status, text.to_owned())
}

const KNOWN: &[Known] = &[
    Known {
        whom: &[Revoked],
        at: EVERYWHERE,
        wires: ALL_WIRES,
        whose: ETCDS,
        ours: |it| alerts(it, "CertificateRevoked"),
        // The second where HTTP is apart, and gRPC's listener got its list later than the others.
        theirs: |it| *it == Answer::Silence || alerts(it, "BadCertificate"),
        because: "etcd looks at its list when the handshake has ended, and hangs up; we say why",
    },
    Known {
        whom: &[NoCertificate, OtherAuthority, Ended],
        at: EVERYWHERE,
        wires: ALL_WIRES,
        whose: &[Whose::Etcd35],
        ours: |it| matches!(it, Answer::Alert(name) if name != "BadCertificate"),
        theirs: |it| alerts(it, "BadCertificate"),
        because: "the Go that 3.5.1 was built with knew one alert for all; 3.6 says what we say",
    },
    Known {
        whom: &[NoCertificate],
        at: EVERYWHERE,
        wires: &[Wire::Tls12],
        whose: &[Whose::Etcd36],
        ours: |it| alerts(it, "CertificateRequired"),
        theirs: |it| alerts(it, "HandshakeFailure"),
        because: "the TLS beneath us says in 1.2, too, what 1.3 has a number for",
    },
    Known {
        whom: &[NoUser],
        at: EVERYWHERE,
        wires: &[Wire::Json],
        whose: ETCDS,
        ours: |it| is_page(it, 400, r#"{"code":3,"message":"etcdserver: user name is empty"}"#),
        theirs: |it| {
            let text = "CommonName of client sending a request against gateway will be ignored and not used as expected";
            is_page(it, 400, text)
        },
        because: "etcd's gateway refuses every certificate with a name; here it is nobody's (docs/compatibility.md)",
    },
    Known {
        whom: &[HugeHeader],
        at: EVERYWHERE,
        wires: &PAGES,
        whose: ETCDS,
        // Hung up on while he speaks, he may not hear it.
        ours: |it| is_page(it, 431, "") || *it == Answer::Silence,
        // The second is how gRPC's own listener ends what is no HTTP/2.
        theirs: |it| {
            is_page(it, 431, "431 Request Header Fields Too Large") || *it == Answer::Silence
        },
        because: "the status is the same; the HTTP beneath us has no body for it",
    },
    Known {
        whom: &[HugeHeader],
        at: &[Listener::Client],
        wires: &[Wire::Grpc],
        whose: ETCDS,
        ours: |it| is_page(it, 431, "") || *it == Answer::Silence,
        theirs: |it| matches!(it, Answer::Grpc(3 | 7, _) | Answer::Http(431, _)),
        because: "a head of 2 MiB is read by etcd's gRPC where it has a listener of its own, and by nobody here",
    },
    Known {
        whom: &BY_REQUEST,
        at: &[Listener::Client],
        wires: &PAGES,
        whose: &[Whose::Etcd36],
        ours: |it| is_page(it, 404, "404 page not found"),
        theirs: |it| *it == Answer::Silence,
        because: "at a listener for gRPC alone etcd hangs up on HTTP/1.1; we say that there is no such page",
    },
];

/// All visits that make sense at a member of this plan.
fn visits(plan: Plan, whose: Whose) -> Vec<Visit> {
    let mut listeners = vec![Listener::Client, Listener::Metrics];
    if plan.apart {
        listeners.insert(1, Listener::Http);
    }
    let mut visits = Vec::new();
    for at in listeners {
        let wires: Vec<Wire> = match at {
            Listener::Metrics => vec![Wire::Metrics, Wire::Health],
            Listener::Http => PAGES.to_vec(),
            _ => [&[Wire::Grpc][..], &PAGES].concat(),
        };
        for wire in wires {
            // 3.6 has no v2 API.
            if wire == Wire::V2 && whose == Whose::Etcd36 {
                continue;
            }
            let by_tls = BY_TLS.iter().filter(|_| !plan.plain);
            for &who in by_tls.chain(&BY_REQUEST) {
                // By a certificate nobody is known in clear; a browser's page speaks no gRPC.
                let is_odd =
                    (who == NoUser && plan.plain) || (who == Rebound && wire == Wire::Grpc);
                if !is_odd {
                    visits.push((who, at, wire));
                }
            }
        }
        if !plan.plain {
            visits.extend(BY_TLS.map(|who| (who, at, Wire::Tls12)));
        }
    }
    visits
}

/// The certificate that he shows.
fn shown(site: &Site, who: Stranger, wire: Wire) -> Tls {
    let stem = match who {
        NoCertificate => None,
        OtherAuthority => Some("other/client-root"),
        Ended => Some("certs/client-late"),
        Revoked => Some("certs/client-mallory"),
        NoUser => Some("certs/client-ghost"),
        // By its name etcd's gateway would refuse it; a token is what is tried.
        _ => Some("certs/client-nameless"),
    };
    let stem = stem.map(|stem| site.folder.path().join(stem));
    match wire {
        Wire::Tls12 => Tls::old(&site.certs(), stem.as_deref()),
        _ => Tls::of(&site.certs(), stem.as_deref()),
    }
}

/// What a stranger is told.
async fn told(house: &House, (who, at, wire): Visit, old: &str) -> Answer {
    let tls = shown(&house.site, who, wire);
    let caller = house.caller(at, &tls);
    let token = match who {
        BadToken => Some("nonsense.1".to_owned()),
        OldToken => Some(old.to_owned()),
        NotPermitted => Some(house.token("bob").await),
        _ => None,
    };
    let huge = if who == HugeHeader { "x".repeat(HUGE) } else { String::new() };
    if wire == Wire::Grpc {
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(token.as_deref().map(|token| ("token", token)));
        if who == HugeHeader {
            headers.push(("x-huge", &huge));
        }
        return range(&caller, &headers, "a").await;
    }
    let (method, path, body) = match wire {
        Wire::Json => ("POST", "/v3/kv/range", r#"{"key":"YQ=="}"#),
        Wire::V2 => ("GET", "/v2/keys/nothing", ""),
        Wire::Metrics => ("GET", "/metrics", ""),
        _ => ("GET", "/health", ""),
    };
    // Without the first etcd's gateway lends the name of its own certificate (`holes.rs`).
    let mut headers = "Accept: */*\r\n".to_owned();
    headers += &token.map(|it| format!("Authorization: {it}\r\n")).unwrap_or_default();
    if who == HugeHeader {
        headers += &format!("X-Huge: {huge}\r\n");
    }
    let host = (who == Rebound).then_some("evil.example");
    plain(caller.page(&Page { method, path, host, headers, body }))
}

async fn range(caller: &Caller<'_>, headers: &[(&str, &str)], key: &str) -> Answer {
    let request = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    caller.grpc("etcdserverpb.KV/Range", headers, &request.encode_to_vec()).await.0
}

/// An answer in JSON without what differs from member to member, and 3.5's second text (docs/compatibility.md).
fn plain(answer: Answer) -> Answer {
    let Answer::Http(status, body) = &answer else { return answer };
    let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(body) else {
        return answer;
    };
    for part in ["error", "details", "index"] {
        object.remove(part);
    }
    Answer::Http(*status, serde_json::Value::Object(object).to_string())
}

/// What everybody is told at every door of a member.
async fn tour(whose: Whose, site: &Arc<Site>, plan: Plan) -> Option<BTreeMap<Visit, Answer>> {
    let house = House::open(whose, site, plan).await?;
    let old = house.token("bob").await;
    let tls = site.shows("certs/client-nameless");
    let caller = house.caller(Listener::Client, &tls);
    // Used, it lives; so it is tried rarely.
    eventually("the token ends", async || {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let answer = range(&caller, &[("token", &old)], "b").await;
        (answer != Answer::Grpc(0, String::new())).then_some(())
    })
    .await;
    let mut heard = BTreeMap::new();
    for visit in visits(plan, whose) {
        heard.insert(visit, told(&house, visit, &old).await);
    }
    // Whoever is no stranger is served after all of them.
    let root = house.token("root").await;
    house.put(Some(&root), "b").await;
    Some(heard)
}

/// Every difference that is not known, and every known one that is none.
fn compare(
    ours: &BTreeMap<Visit, Answer>,
    theirs: &BTreeMap<Visit, Answer>,
    whose: Whose,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (visit @ &(who, at, wire), their) in theirs {
        let our = &ours[visit];
        let mut known = KNOWN.iter().filter(|known| {
            known.whom.contains(&who)
                && known.at.contains(&at)
                && known.wires.contains(&wire)
                && known.whose.contains(&whose)
                && (known.ours)(our)
        });
        if our != their && !known.clone().any(|known| (known.theirs)(their)) {
            wrong.push(format!("{visit:?}: ours {our:?}, {whose:?} {their:?}"));
        }
        // How much of a huge head is read before the end is a matter of luck.
        if our == their
            && who != HugeHeader
            && let Some(known) = known.next()
        {
            wrong.push(format!("{visit:?}: {whose:?} differs no more: {}", known.because));
        }
    }
    wrong
}

fn judged(plan: Plan) {
    let _seat = Seat::take();
    run(async {
        let site = Site::new();
        let ours = tour(Whose::Ours, &site, plan).await.unwrap();
        let mut wrong = Vec::new();
        for whose in [Whose::Etcd36, Whose::Etcd35] {
            if let Some(theirs) = tour(whose, &site, plan).await {
                wrong.extend(compare(&ours, &theirs, whose));
            }
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    });
}

const SHORT_TOKENS: &str = "--auth-token-ttl=1";

#[test]
fn where_one_listener_has_everything() {
    judged(Plan { words: &[SHORT_TOKENS], ..Plan::default() });
}

/// etcd's hole of July 2026 (GHSA-3wh4-j44w-pg92): with these addresses apart, one of them had no revocation list.
#[test]
fn where_http_has_listeners_of_its_own() {
    judged(Plan { apart: true, words: &[SHORT_TOKENS], ..Plan::default() });
}

#[test]
fn where_clients_come_in_clear() {
    let words = &[SHORT_TOKENS, "--host-whitelist=localhost,127.0.0.1"];
    judged(Plan { plain: true, apart: false, words });
    judged(Plan { plain: true, apart: true, words });
}
