//! The rows of the page: what is asked of both systems.

/// What a row is compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// Operations a second, the more the better.
    Throughput,
    /// Median time, the less the better.
    Median,
}

/// Who drives Quorate; etcd is driven by its own client in every row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Driver {
    /// `quorate bench`, over our native protocol.
    Ours,
    /// The same program that drives etcd, over gRPC.
    Etcds,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// For `--only`.
    pub name: &'static str,
    pub driver: Driver,
    pub title: String,
    pub load: &'static str,
    pub words: Vec<String>,
    pub by: By,
    /// What we want, as a factor in our favour.
    pub aim: Option<f64>,
    /// Keys are written before it is measured.
    pub prepares: bool,
    /// Where it is not as all others'.
    pub seconds: Option<u64>,
    pub pairs: Option<usize>,
}

/// Every row that wants three nodes, in the order in which they are run: those that leave much behind come last.
pub(crate) fn all(quick: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, title, load, extra, aim) in [
        ("put", "put", "put", "", [2.0, 0.0, 6.0, 0.0]),
        ("get", "get, linearizable", "get", "", [0.0, 0.0, 8.0, 0.0]),
        ("sget", "get, serializable", "get", "--serializable", [0.0, 0.0, 10.0, 0.0]),
    ] {
        for (in_flight, aim) in [1, 64, 256, 1_000].into_iter().zip(aim) {
            rows.push(Row {
                name,
                driver: Driver::Ours,
                title: format!("{title}, {in_flight} in flight"),
                load,
                words: words(&[&format!("--in-flight={in_flight}"), extra]),
                by: if in_flight == 1 { By::Median } else { By::Throughput },
                aim: (aim > 0.0).then_some(aim),
                prepares: load == "get",
                seconds: None,
                pairs: None,
            });
        }
    }
    rows.push(Row {
        name: "mixed",
        driver: Driver::Ours,
        title: "mixed 1:3, linearizable, 256 in flight".to_owned(),
        load: "mixed",
        words: words(&["--in-flight=256", "--reads=3"]),
        by: By::Throughput,
        aim: None,
        prepares: true,
        seconds: None,
        pairs: None,
    });
    rows.extend(grpc());
    rows.extend(large(quick));
    rows
}

/// What a user of etcd's client gets who changes nothing but the server.
fn grpc() -> Vec<Row> {
    [
        ("put, 1 in flight", "put", "--in-flight=1", "", None),
        ("put, 256 in flight", "put", "--in-flight=256", "", Some(3.0)),
        ("get, linearizable, 256 in flight", "get", "--in-flight=256", "", Some(3.0)),
        ("get, serializable, 256 in flight", "get", "--in-flight=256", "--serializable", Some(3.0)),
    ]
    .into_iter()
    .map(|(title, load, in_flight, extra, aim)| Row {
        name: "grpc",
        driver: Driver::Etcds,
        title: format!("gRPC: {title}"),
        load,
        words: words(&[in_flight, extra]),
        by: if in_flight == "--in-flight=1" { By::Median } else { By::Throughput },
        aim,
        prepares: load == "get",
        seconds: None,
        pairs: None,
    })
    .collect()
}

fn large(quick: bool) -> Vec<Row> {
    let (keys, watchers, leases) =
        if quick { (200_000, 2_000, 20_000) } else { (1_000_000, 10_000, 100_000) };
    vec![
        Row {
            name: "watch",
            driver: Driver::Ours,
            title: format!("{watchers} watchers of one prefix"),
            load: "watch",
            words: words(&["--in-flight=1", &format!("--watchers={watchers}"), "--connections=10"]),
            by: By::Throughput,
            aim: None,
            prepares: false,
            seconds: Some(if quick { 3 } else { 8 }),
            pairs: Some(1),
        },
        Row {
            name: "page",
            driver: Driver::Ours,
            title: format!("page of 100 keys with the count of {keys}, 8 in flight"),
            load: "get",
            words: words(&[
                "--in-flight=8",
                "--page=100",
                &format!("--keys={keys}"),
                "--prefix=many/",
            ]),
            by: By::Throughput,
            aim: Some(100.0),
            prepares: true,
            seconds: Some(if quick { 3 } else { 6 }),
            pairs: None,
        },
        Row {
            name: "lease",
            driver: Driver::Ours,
            title: format!("{leases} leases of 60 s kept alive"),
            load: "lease",
            words: words(&[
                "--in-flight=64",
                "--ttl=60",
                &format!("--leases={leases}"),
                "--connections=10",
            ]),
            by: By::Throughput,
            aim: None,
            prepares: false,
            // One round of renewals is a third of the time.
            seconds: Some(20),
            pairs: Some(1),
        },
    ]
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect()
}
