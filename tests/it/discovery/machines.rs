//! The three bootstraps on machines of their own, each with its address, its host name and etcd's ports: by a list, by a
//! discovery service, by DNS.

use std::collections::BTreeSet;

use super::nodes::cluster_of;
use super::zone::{host, is_there, settings, srv};
use crate::harness::{Machines, Process, Seat};
use crate::program::{Output, finish, until};

/// The members' machines, and one for whom they ask.
const PLAN: [(&str, &str); 4] =
    [("n1", "10.0.0.1"), ("n2", "10.0.0.2"), ("n3", "10.0.0.3"), ("desk", "10.0.0.9")];
const DESK: usize = 3;

struct Rack {
    // Before their machines.
    running: Vec<Process>,
    machines: Machines,
    _seat: Seat,
}

impl Rack {
    fn connect() -> Option<Self> {
        let seat = Seat::take();
        Some(Self { running: Vec::new(), machines: Machines::connect(&PLAN)?, _seat: seat })
    }

    fn run(&mut self, at: usize, words: &[&str]) {
        let process = Process::spawn(self.machines.command(at, words), &self.machines.log(at));
        self.running.push(process);
    }

    /// A member, whom the others know by its name with `domain` behind it.
    fn start(&mut self, at: usize, domain: &str, how: &[&str]) {
        let (name, _) = PLAN[at];
        let words = [
            format!("--name={name}"),
            "--listen-peer-urls=http://0.0.0.0:2380".to_owned(),
            format!("--initial-advertise-peer-urls=http://{name}{domain}:2380"),
            "--listen-client-urls=http://0.0.0.0:2379".to_owned(),
            format!("--advertise-client-urls=http://{name}{domain}:2379"),
        ];
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(how.iter().copied()).collect();
        self.run(at, &[&["quorate"], &words[..]].concat());
    }

    fn log(&self, at: usize) -> String {
        std::fs::read_to_string(self.machines.log(at)).unwrap_or_default()
    }

    fn ask(&self, at: usize, words: &[&str]) -> Output {
        finish(&mut self.machines.command(at, &[&["quorate"], words].concat()))
    }

    #[track_caller]
    fn says(&self, at: usize, text: &str) {
        until(&format!("{} says {text}", PLAN[at].0), || self.log(at).contains(text).then_some(()));
    }

    /// All three serve as one cluster, and each finds all of them from its own machine; `names` is how a client finds
    /// hosts.
    #[track_caller]
    fn is_one(&self, names: &[&str]) {
        for at in 0..DESK {
            self.says(at, "ready to serve client requests");
        }
        let clusters: BTreeSet<String> =
            (0..DESK).filter_map(|at| cluster_of(&self.log(at))).collect();
        assert_eq!(clusters.len(), 1, "{clusters:?}");
        for at in 0..DESK {
            let healthy = until("all members are well", || {
                let told =
                    self.ask(at, &[names, &["endpoint", "health", "--cluster"]].concat()).stdout;
                (told.matches("is healthy").count() == DESK).then_some(told)
            });
            for (name, _) in &PLAN[..DESK] {
                assert!(healthy.contains(&format!("http://{name}")), "{healthy}");
            }
        }
        self.ask(0, &["put", "greeting", "hello"]).ok();
        assert_eq!(self.ask(2, &["get", "greeting"]).ok(), "greeting\nhello\n");
    }
}

#[test]
fn three_machines_form_by_a_list() {
    let Some(mut rack) = Rack::connect() else { return };
    let list = "--initial-cluster=n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380";
    for at in 0..DESK {
        rack.start(at, "", &[list, "--initial-cluster-token=rack"]);
    }
    rack.is_one(&[]);
}

#[test]
fn three_machines_form_by_a_discovery_service() {
    let Some(mut rack) = Rack::connect() else { return };
    let listen =
        ["--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://desk:2379"];
    rack.run(DESK, &[&["quorate", "discovery"], &listen[..]].concat());
    rack.says(DESK, "ready to serve client requests");
    // Who founds the cluster asks for a token, as a stranger may.
    let made = rack.ask(0, &["--endpoints=http://desk:2379", "discovery", "new", "--size=3"]).ok();
    let url = made.lines().find_map(|line| line.strip_prefix("--discovery ")).unwrap();
    let how = ["--discovery", url];
    for at in 0..2 {
        rack.start(at, "", &how);
    }
    for at in 0..2 {
        rack.says(at, "\"missing\":1");
    }
    assert_ne!(rack.ask(0, &["get", "greeting"]).code, 0, "two of three are no cluster");
    rack.start(2, "", &how);
    rack.is_one(&[]);
    // The operator sees it on the service's machine.
    let listed = rack.ask(DESK, &["discovery", "list"]).ok();
    assert!(listed.contains(", 3 of 3, "), "{listed}");
}

#[test]
fn three_machines_form_by_dns() {
    if !is_there() {
        return;
    }
    let Some(mut rack) = Rack::connect() else { return };
    let mut records = Vec::new();
    for (name, address) in &PLAN[..DESK] {
        let name = format!("{name}.q.test");
        records.push(host(&name, address));
        records.push(srv("_etcd-server._tcp.q.test", &name, 2380));
        records.push(srv("_etcd-client._tcp.q.test", &name, 2379));
    }
    let path = rack.machines.home(DESK).join("dnsmasq.conf");
    std::fs::write(&path, settings("10.0.0.9".parse().unwrap(), 53, &records)).unwrap();
    rack.run(
        DESK,
        &["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=dnsmasq.conf"],
    );
    for at in 0..DESK {
        rack.start(at, ".q.test", &["--discovery-srv=q.test", "--dns-server=10.0.0.9"]);
    }
    rack.is_one(&["--dns-server=10.0.0.9"]);
    // Somebody who has nothing but the domain.
    let by_dns = ["--discovery-srv=q.test", "--dns-server=10.0.0.9", "get", "greeting"];
    assert_eq!(rack.ask(DESK, &by_dns).ok(), "greeting\nhello\n");
}
