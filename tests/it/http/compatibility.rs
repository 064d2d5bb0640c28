//! docs/compatibility.md is true: every method, path, page and metric is as it says.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate::proto::Method;
use tokio::time::timeout;

use super::super::harness::run;
use super::alone::Alone;
use super::client::{Client, End, prefixed};
use super::gateway::post;
use super::pages::ask;

const TEXT: &str = include_str!("../../../docs/compatibility.md");

/// The rows of the table below a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, below) = TEXT.split_once(&format!("\n## {heading}\n")).expect(heading);
    let lines = below.lines().take_while(|line| !line.starts_with("## "));
    let table = lines.filter(|line| line.starts_with('|')).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.map(cells).collect()
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The gateway's paths, each with the name of its method.
pub(super) fn paths() -> Vec<(String, String)> {
    let of = |row: &Vec<String>| {
        let name = names(&row[0])[0].rsplit_once('/').unwrap().1.to_owned();
        names(&row[1]).into_iter().map(move |path| (path, name.clone()))
    };
    rows("Every method").iter().flat_map(of).collect()
}

/// How a method answers a request that says little; none if it does not within a moment.
async fn asked(client: &Client, path: &str, request: &[u8]) -> Option<Result<(), End>> {
    let mut stream = client.open(&format!("/{path}"), &[]).await;
    stream.bytes(prefixed(0, request), true);
    let answer = timeout(Duration::from_secs(5), stream.next()).await.ok()?;
    Some(answer.map(|_| ()))
}

#[test]
fn every_method_is_as_the_table_says() {
    let rows = rows("Every method");
    let listed: Vec<String> = rows.iter().map(|row| names(&row[0])[0].clone()).collect();
    let mut expected: Vec<&str> = Method::ALL.iter().map(|method| method.path()).collect();
    expected.extend(["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"]);
    assert_eq!(listed, expected);
    run(async {
        let (alone, client) = Alone::start(&[]).await;
        for (number, row) in rows.iter().enumerate() {
            let path = &listed[number];
            let name = u8::try_from(number).unwrap() + b'!';
            let request = match path.rsplit_once('/').unwrap().1 {
                // The version that etcd would go to.
                "Downgrade" => Bytes::from_static(b"\x12\x033.5"),
                // Nobody's locks and elections wait for each other's.
                _ if path.starts_with("etcdserverpb.KV") || path.starts_with("v3") => {
                    Bytes::copy_from_slice(&[0x0a, 1, name])
                }
                "UserAdd" | "RoleAdd" => Bytes::from_static(b"\x0a\x01a"),
                _ => Bytes::new(),
            };
            let answer = asked(&client, path, &request).await;
            // Whoever watches hears of nothing, and nobody leads.
            let waits = ["Watch/Watch", "Election/Leader", "Election/Observe"];
            let may_wait = waits.iter().any(|end| path.ends_with(end));
            assert!(answer.is_some() || may_wait, "{path}: no answer");
            let is_unimplemented = matches!(answer, Some(Err((12, _))));
            assert_eq!(is_unimplemented, row[2].starts_with("not served"), "{path}: {answer:?}");
            for path in names(&row[1]) {
                let (status, text) = post(alone.address, &path, "{").await;
                // The path is known, and what is said is no object.
                assert_eq!(status, 400, "{path}: {text}");
            }
        }
    });
}

#[test]
fn every_page_and_metric_is_as_the_tables_say() {
    run(async {
        let (alone, _client) = Alone::start(&["--metrics=extensive"]).await;
        for row in rows("Every page") {
            let path = &names(&row[0])[0];
            let (head, _) = ask(alone.address, &format!("GET {path}"), "").await;
            let is_there = !head.starts_with("HTTP/1.1 404 ");
            assert_eq!(is_there, row[1].starts_with("served"), "{path}: {head}");
        }
        let (_, page) = ask(alone.address, "GET /metrics", "").await;
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let found: BTreeSet<String> =
            types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        let (mut here, mut absent) = (BTreeSet::new(), BTreeSet::new());
        for row in rows("Every metric") {
            let names = names(&row[0]);
            if row[1].starts_with("not here") { &mut absent } else { &mut here }.extend(names);
        }
        assert_eq!(found, here);
        assert_eq!(here.intersection(&absent).next(), None);
    });
}
