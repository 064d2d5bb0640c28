//! The third article's script, line by line: a discovery service, five nodes and a sixth, on a machine of their own with
//! the ports that it names.

use std::io::Write as _;

use crate::harness::{Machines, Process, Seat, eventually, run};
use crate::program::output;

/// Its lines for a shell, as they stand but for the continued lines and what puts them in the background.
const DISCOVERY: &str = "./etcd --name discovery";
const SIZE: &str =
    "curl -X PUT http://localhost:2379/v2/keys/_etcd/registry/test/_config/size -d value=5";
const SHOWN: &str = "curl -X GET http://localhost:2379/v2/keys/_etcd/registry/test";
const LIST: &str = "./etcdctl --endpoint http://localhost:12379 member list";
const ADD: &str =
    "./etcdctl --endpoint http://localhost:12379 member add test6 http://localhost:62380";
const SIXTH: &str = "./etcd --name test6 --initial-advertise-peer-urls http://localhost:62380 \
--listen-peer-urls http://localhost:62380 \
--listen-client-urls http://localhost:62379 \
--advertise-client-urls http://localhost:62379 \
--initial-cluster-token test-cluster \
--initial-cluster test6=http://localhost:62380,test1=http://localhost:12380,test5=http://localhost:52380,test3=http://localhost:32380,test4=http://localhost:42380,test2=http://localhost:22380 \
--initial-cluster-state existing";

fn node(n: usize) -> String {
    format!(
        "./etcd --name test{n} --initial-advertise-peer-urls http://localhost:{n}2380 \
         --listen-peer-urls http://localhost:{n}2380 \
         --listen-client-urls http://localhost:{n}2379 \
         --advertise-client-urls http://localhost:{n}2379 \
         --discovery http://localhost:2379/v2/keys/_etcd/registry/test"
    )
}

/// The machine, and who runs on it.
struct Desk {
    machines: Machines,
}

impl Desk {
    /// A line in the background, its words in a log of its own.
    fn background(&self, name: &str, line: &str) -> Process {
        let log = self.machines.home(0).join(format!("{name}.log"));
        Process::spawn(self.machines.command(0, &["sh", "-c", &format!("exec {line}")]), &log)
    }

    /// A line, and what it prints; none if it fails.
    fn line(&self, line: &str) -> Option<String> {
        let mut command = self.machines.command(0, &["sh", "-c", line]);
        // As in its time.
        let output = output(command.env("ETCDCTL_API", "2"));
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The real etcdctl 3.4 speaks v2, as the article's did.
fn etcdctl() -> String {
    std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "/usr/bin/etcdctl".to_owned())
}

#[test]
fn the_third_articles_script_forms_a_cluster_of_five_and_then_of_six() {
    let _seat = Seat::take();
    let Some(machines) = Machines::connect(&[("desk", "10.0.0.1")]) else { return };
    let desk = Desk { machines };
    let home = desk.machines.home(0);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_quorate"), home.join("etcd")).unwrap();
    if desk.line("curl --version").is_none() || !std::path::Path::new(&etcdctl()).exists() {
        // Not by println: that of a test that passes is not shown.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: the third article needs curl and etcdctl 3.4");
        return;
    }
    std::os::unix::fs::symlink(etcdctl(), home.join("etcdctl")).unwrap();
    run(async {
        let _discovery = desk.background("discovery", DISCOVERY);
        eventually("the size is taken", || async {
            let set = r#""key":"/_etcd/registry/test/_config/size","value":"5""#;
            desk.line(SIZE).filter(|told| told.contains(set))
        })
        .await;
        let told = desk.line(SHOWN).unwrap();
        assert!(told.contains(r#""key":"/_etcd/registry/test","dir":true"#), "{told}");
        let mut nodes: Vec<Process> = Vec::new();
        for n in 1..=4 {
            nodes.push(desk.background(&format!("test{n}"), &node(n)));
        }
        eventually("four wait for the fifth", || async {
            nodes.iter().all(|it| it.log().contains("\"missing\":1")).then_some(())
        })
        .await;
        assert!(desk.line(LIST).is_none(), "four of five are no cluster");
        nodes.push(desk.background("test5", &node(5)));
        let listed = eventually("five members that are all started", || async {
            let listed = desk.line(LIST)?;
            (listed.matches(": name=test").count() == 5
                && listed.matches(" clientURLs=http://").count() == 5
                && listed.contains("isLeader=true"))
            .then_some(listed)
        })
        .await;
        for n in 1..=5 {
            let line = format!(
                "name=test{n} peerURLs=http://localhost:{n}2380 clientURLs=http://localhost:{n}2379"
            );
            assert!(listed.contains(&line), "{listed}");
        }
        one_more_is_a_proxy(&desk).await;
        // What comes next starts a member of its name, at its addresses.
        desk.line("rm -r test6.etcd").unwrap();
        let added = eventually("the sixth is added", || async { desk.line(ADD) }).await;
        assert!(added.contains("Added member named test6 with ID"), "{added}");
        nodes.push(desk.background("test6", SIXTH));
        eventually("six members", || async {
            (desk.line(LIST)?.matches(" clientURLs=http://").count() == 6).then_some(())
        })
        .await;
        // It is not told to the discovery service.
        let told = desk.line(SHOWN).unwrap();
        assert_eq!(told.matches("=http://localhost").count(), 5, "{told}");
    });
}

/// One more than were asked for, which answers as the members do.
async fn one_more_is_a_proxy(desk: &Desk) {
    let _surplus = desk.background("surplus", &node(6));
    eventually("the surplus node answers", || async {
        let listed = desk.line(&LIST.replace("12379", "62379"))?;
        (listed.matches(" clientURLs=http://").count() == 5).then_some(())
    })
    .await;
    let set = desk.line("curl -X PUT http://localhost:62379/v2/keys/by -d value=proxy").unwrap();
    assert!(set.contains(r#""action":"set""#), "{set}");
    let told = desk.line("curl http://localhost:32379/v2/keys/by?quorum=true").unwrap();
    assert!(told.contains(r#""value":"proxy""#), "{told}");
    assert!(desk.line(SHOWN).unwrap().matches("=http://localhost").count() == 5);
}
