//! A systemd unit that was written for etcd: its environment, its notification, its end by a signal.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::Signal;

use super::Links;
use crate::harness::Seat;
use crate::program::{PATIENCE, free_port};

const UNIT: &str = include_str!("etcd.service");

/// What systemd would tell the process: the unit's settings, and those of the file that it names.
fn environment(file: &str) -> Vec<(String, String)> {
    let of_unit = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    let all = of_unit.chain(file.lines()).filter_map(|line| line.split_once('='));
    all.map(|(name, value)| (name.to_owned(), value.trim_matches('"').replace("%H", "host-1")))
        .collect()
}

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).expect("nothing was notified");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn a_systemd_unit_of_etcds_starts_it_is_told_and_stops_it() {
    let (_seat, links) = (Seat::take(), Links::new());
    let (client, peer) = (free_port(), free_port());
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let file = format!(
        "ETCD_LISTEN_CLIENT_URLS=\"{client}\"\nETCD_ADVERTISE_CLIENT_URLS=\"{client}\"\n\
         ETCD_LISTEN_PEER_URLS=\"{peer}\"\nETCD_INITIAL_ADVERTISE_PEER_URLS=\"{peer}\"\n\
         ETCD_INITIAL_CLUSTER=\"host-1={peer}\"\nETCD_UNHEARD_OF=\"x\"\n"
    );
    let command = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert_eq!(command, "/usr/bin/etcd $DAEMON_ARGS");
    assert!(UNIT.contains("\nType=notify\n"));
    let socket = UnixDatagram::bind(links.folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = links.command("etcd", &[]);
    command.envs(environment(&file)).env("ETCD_DATA_DIR", "default");
    command.env("NOTIFY_SOCKET", links.folder.path().join("notify"));
    let mut member = links.folder.spawn_command("member", command);

    assert_eq!(heard(&socket), "READY=1");
    // Ready means: it can be asked now.
    assert_eq!(links.etcdctl(&client, &["put", "k", "v"]).ok(), "OK\n");
    let said = member.stderr();
    assert!(said.contains("ETCD_UNHEARD_OF is no setting"), "{said}");
    let ready = said.lines().find(|line| line.contains("ready to serve client requests")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(ready).unwrap();
    assert_eq!((&ready["level"], &ready["name"]), (&"info".into(), &"host-1".into()));
    assert_eq!(ready["msg"], "ready to serve client requests");
    assert!(ready["ts"].as_str().is_some() && ready["caller"].as_str().is_some(), "{ready}");

    member.signal(Signal::TERM);
    assert_eq!(heard(&socket), "STOPPING=1");
    let ended = member.wait();
    assert_eq!(ended.signal(), Some(15), "{ended}");
    // What a supervisor does after that: the same command again.
    let mut command = links.command("etcd", &[]);
    command.envs(environment(&file)).env("ETCD_DATA_DIR", "default");
    let mut member = links.folder.spawn_command("again", command);
    Links::ready(&mut member);
    assert_eq!(links.etcdctl(&client, &["get", "k", "--print-value-only"]).ok(), "v\n");
    member.signal(Signal::INT);
    assert_eq!(member.wait().signal(), Some(2));
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err(), "nobody asked for the second one's notification");
}
