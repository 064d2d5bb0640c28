//! From an etcd over TLS with client certificates to a cluster of three, by both wires.

use std::process::Command;

use quorate::client::{Client, Config, Wire};

use super::sides::Held;
use super::{etcds, fill};
use crate::harness::{Cluster, run};
use crate::program::{Output, finish, free_port, until};

#[test]
fn a_secured_etcd_goes_to_three_members_over_either_wire() {
    let Some(program) = etcds().into_iter().next() else { return };
    for wire in ["quic", "grpc"] {
        let cluster = Cluster::start(3);
        let dir = cluster.dir();
        let url = format!("https://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(&program);
        command.current_dir(dir).args(["--name", "etcd", "--data-dir", "etcd"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("etcd={peer}"), "--client-cert-auth"]);
        command.args(["--cert-file", "certs/server-n1.crt", "--key-file", "certs/server-n1.key"]);
        command.args(["--trusted-ca-file", "certs/ca.crt"]);
        let log = dir.join("etcd.log");
        let _etcd = crate::harness::Process::spawn(command, &log);
        until("the etcd serves", || {
            let said = std::fs::read_to_string(&log).unwrap();
            said.contains("ready to serve client requests").then_some(())
        });
        run(async {
            let mut config = Config::new([&url]).tls(cluster.client_files());
            config.wire = Wire::Grpc;
            let from = Client::lazy(config).unwrap();
            fill(&from, "keys", 1_500).await;
            let lease = from.lease_grant(600, 0).await.unwrap().id;
            from.put("leased", "1").lease(lease).await.unwrap();
            let migrate = |words: &[&str], with: &[&str]| -> Output {
                let mut command = cluster.cli(&[0, 1, 2]);
                command.arg("migrate").args(words).args(["--wire", wire, "--from", &url]);
                finish(command.args(["--from-cacert", "certs/ca.crt"]).args(with))
            };
            let without = migrate(&["copy"], &[]);
            assert_eq!(without.code, 2, "{without:?}");
            assert!(without.stderr.contains("the source cannot be reached"), "{without:?}");
            let shown =
                ["--from-cert", "certs/client-root.crt", "--from-key", "certs/client-root.key"];
            migrate(&["copy"], &shown).ok();
            from.put("keys/000001", "new").await.unwrap();
            migrate(&["follow", "--until-caught-up"], &shown).ok();
            migrate(&["finish"], &shown).ok();
            Held::by(&from).await.assert_same(&Held::by(&cluster.client()).await);
        });
    }
}
