//! Members that were told different things of their cluster.

use crate::harness::Seat;
use crate::program::{Folder, Process, free_port, until};

struct Told<'a> {
    name: &'a str,
    port: u16,
    list: &'a str,
    token: &'a str,
}

fn start(folder: &Folder, told: &Told<'_>) -> Process {
    let url = format!("http://127.0.0.1:{}", told.port);
    let mut words = vec!["serve".to_owned(), format!("--name={}", told.name)];
    for key in [
        "listen-peer-urls",
        "initial-advertise-peer-urls",
        "listen-client-urls",
        "advertise-client-urls",
    ] {
        words.push(format!("--{key}={url}"));
    }
    words.push(format!("--initial-cluster={}", told.list));
    words.push(format!("--initial-cluster-token={}", told.token));
    folder.spawn(told.name, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn members_that_were_given_different_lists_form_nothing() {
    let _seat = Seat::take();
    let folder = Folder::new();
    let ports = [free_port(), free_port(), free_port()];
    let entry = |n: usize| format!("n{}=http://127.0.0.1:{}", n + 1, ports[n]);
    let all = format!("{},{},{}", entry(0), entry(1), entry(2));
    let reversed = format!("{},{},{}", entry(2), entry(1), entry(0));
    let two = format!("{},{}", entry(0), entry(1));
    // n1 and n3 differ in the token, n2 in the list: no two of them mean the same cluster.
    let told = [
        Told { name: "n1", port: ports[0], list: &all, token: "t" },
        Told { name: "n2", port: ports[1], list: &two, token: "t" },
        Told { name: "n3", port: ports[2], list: &all, token: "u" },
    ];
    let mut processes: Vec<Process> = told.iter().map(|it| start(&folder, it)).collect();
    for process in &processes {
        until("each says why it does not form", || {
            let said = process.stderr();
            assert!(!said.contains("ready to serve"), "{said}");
            (said.contains("is not cluster") && said.contains("initial-cluster-token"))
                .then_some(())
        });
    }
    // The same list in another order, and the same token, is the same cluster.
    for (at, list) in [(1, &reversed), (2, &all)] {
        drop(processes.remove(1));
        let name = told[at].name;
        std::fs::remove_dir_all(folder.path().join(format!("{name}.etcd"))).unwrap();
        std::fs::remove_file(folder.path().join(format!("{name}.err"))).unwrap();
        processes.push(start(&folder, &Told { name, port: ports[at], list, token: "t" }));
    }
    for process in &processes {
        until("the mended cluster serves", || {
            process.stderr().contains("ready to serve").then_some(())
        });
    }
}

#[test]
fn a_member_with_data_of_another_cluster_is_told() {
    let _seat = Seat::take();
    let folder = Folder::new();
    let ports = [free_port(), free_port(), free_port()];
    let entry = |n: usize| format!("n{}=http://127.0.0.1:{}", n + 1, ports[n]);
    let (own, all) = (entry(0), format!("{},{},{}", entry(0), entry(1), entry(2)));
    let old = start(&folder, &Told { name: "n1", port: ports[0], list: &own, token: "old" });
    until("it serves alone", || old.stderr().contains("ready to serve").then_some(()));
    drop(old);
    let names = ["n1", "n2", "n3"];
    let told = |at: usize| Told { name: names[at], port: ports[at], list: &all, token: "t" };
    let members = [0, 1, 2].map(|at| start(&folder, &told(at)));
    let says = |at: usize, text: &str| {
        until(text, || members[at].stderr().contains(text).then_some(()));
    };
    says(0, "initial-cluster, discovery and their like are ignored");
    // The two others are a majority of what they were told, and each side says what is wrong.
    for at in 0..3 {
        says(at, "or one has another cluster's data in its data-dir");
    }
    says(1, "ready to serve");
}
