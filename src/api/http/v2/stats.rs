//! `/v2/stats`: what this member counted.

use std::sync::atomic::Ordering;

use hyper::{Response, StatusCode};

use super::json;
use super::routes::{Asked, faulted, object};
use crate::api::http::body::Answer;
use crate::base::MemberId;
use crate::engine::{Outcomes, PeerMeters};

pub(super) async fn of_self(asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET") {
        return refused;
    }
    let (status, members) = match (asked.handle.status(), asked.handle.query()) {
        (Ok(status), Ok(query)) => (status, query.members()),
        (Err(fault), _) | (_, Err(fault)) => return faulted(&fault),
    };
    let raft = &status.raft;
    let name = members.member(status.member).map(|it| it.name.clone());
    let state = match (raft.is_leader, raft.leader) {
        (true, _) => "StateLeader",
        (false, Some(_)) => "StateFollower",
        (false, None) => "StateCandidate",
    };
    let now_ms = asked.handle.clock().wall_ms();
    let meters = asked.handle.meters();
    let mut text = r#"{"name":"#.to_owned();
    json::quote(&mut text, name.unwrap_or_default().as_bytes());
    text.push_str(&format!(
        r#","id":"{}","state":"{state}","startTime":"{}","leaderInfo":{{"leader":"{}","#,
        status.member,
        json::date(asked.session.shared.started_ms),
        raft.leader.unwrap_or(MemberId(0)),
    ));
    let rates = &asked.session.shared.rates;
    text.push_str(&format!(
        r#""uptime":"{}","startTime":"{}"}},"recvAppendRequestCnt":{}{},"sendAppendRequestCnt":{}{}}}"#,
        duration(now_ms - raft.leader_since_ms),
        json::date(raft.leader_since_ms),
        meters.received_appends.value(),
        rate("recv", rates.received.told()),
        meters.peers().values().map(|peer| peer.sent_appends.value()).sum::<u64>(),
        rate("send", rates.sent.told()),
    ));
    text.push('\n');
    object(StatusCode::OK, text)
}

/// What is zero is left out.
fn rate(name: &str, (appends_per_s, bytes_per_s): (f64, f64)) -> String {
    let told = [("Pkg", appends_per_s), ("Bandwidth", bytes_per_s)].into_iter();
    let told = told.filter(|(_, rate)| *rate > 0.0);
    told.map(|(what, rate)| format!(r#","{name}{what}Rate":{rate}"#)).collect()
}

pub(super) async fn of_leader(asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET") {
        return refused;
    }
    let (status, members) = match (asked.handle.status(), asked.handle.query()) {
        (Ok(status), Ok(query)) => (status, query.members()),
        (Err(fault), _) | (_, Err(fault)) => return faulted(&fault),
    };
    if !status.raft.is_leader {
        return object(StatusCode::FORBIDDEN, json::message("not current leader"));
    }
    let peers = asked.handle.meters().peers();
    let others = members.list();
    let others = others.iter().map(|member| MemberId(member.id)).filter(|id| *id != status.member);
    let told = others.filter_map(|id| Some(follower(id, peers.get(&id)?)));
    let followers = told.collect::<Vec<_>>().join(",");
    let leader = status.member;
    object(StatusCode::OK, format!("{{\"leader\":\"{leader}\",\"followers\":{{{followers}}}}}\n"))
}

/// Round trips to it in milliseconds, and its appends: those that were handed to the network, and how often it was
/// found out of reach.
fn follower(id: MemberId, peer: &PeerMeters) -> String {
    let trips = peer.latency.told();
    format!(
        r#""{id}":{{"latency":{{"current":{},"average":{},"standardDeviation":{},"minimum":{},"maximum":{}}},"counts":{{"fail":{},"success":{}}}}}"#,
        trips.current_ms,
        trips.average_ms,
        trips.deviation_ms,
        trips.minimum_ms,
        trips.maximum_ms,
        peer.unreachable.value(),
        peer.sent_appends.value(),
    )
}

pub(super) fn of_store(asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET") {
        return refused;
    }
    let meters = asked.handle.tree_meters();
    let outcomes: [(&str, &Outcomes); 7] = [
        ("gets", &meters.gets),
        ("sets", &meters.sets),
        ("delete", &meters.deletes),
        ("update", &meters.updates),
        ("create", &meters.creates),
        ("compareAndSwap", &meters.swaps),
        ("compareAndDelete", &meters.compared_deletes),
    ];
    let mut text = "{".to_owned();
    for (name, counted) in outcomes {
        let (done, refused) = (counted.done.value(), counted.refused.value());
        text.push_str(&format!(r#""{name}Success":{done},"{name}Fail":{refused},"#));
    }
    let (expired, watchers) = (meters.expired.value(), meters.watchers.load(Ordering::Relaxed));
    text.push_str(&format!(r#""expireCount":{expired},"watchers":{watchers}}}"#));
    object(StatusCode::OK, text)
}

/// As Go writes a duration.
fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let fraction = match ms % 1_000 {
        0 => String::new(),
        part => format!(".{part:03}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) if seconds == 0 && ms > 0 => format!("{ms}ms"),
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_zero_are_left_out() {
        assert_eq!(rate("recv", (0.0, 0.0)), "");
        let told = r#","sendPkgRate":2.5,"sendBandwidthRate":100"#;
        assert_eq!(rate("send", (2.5, 100.0)), told);
    }

    #[test]
    fn durations_are_gos() {
        for (ms, text) in [
            (0, "0s"),
            (7, "7ms"),
            (1_335, "1.335s"),
            (61_000, "1m1s"),
            (17_365_910, "4h49m25.91s"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
