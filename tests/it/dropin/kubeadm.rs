//! The flags that kubeadm writes into its manifest of etcd, of Kubernetes 1.29 (etcd 3.5) and 1.34 (3.6), with its
//! certificates: a member serves over TLS, and /health stands where the probe looks for it.

use super::Links;
use super::tls::{Tls, client};
use crate::harness::Seat;
use crate::program::free_port;

const MANIFESTS: [&str; 2] = [
    "--advertise-client-urls=https://127.0.0.1:CLIENT --cert-file=certs/server-n1.crt --client-cert-auth=true \
     --data-dir=etcd --experimental-initial-corrupt-check=true --experimental-watch-progress-notify-interval=5s \
     --initial-advertise-peer-urls=https://127.0.0.1:PEER --initial-cluster=cp=https://127.0.0.1:PEER \
     --key-file=certs/server-n1.key --listen-client-urls=https://127.0.0.1:CLIENT \
     --listen-metrics-urls=http://127.0.0.1:METRICS --listen-peer-urls=https://127.0.0.1:PEER --name=cp \
     --peer-cert-file=certs/peer-n1.crt --peer-client-cert-auth=true --peer-key-file=certs/peer-n1.key \
     --peer-trusted-ca-file=certs/ca.crt --snapshot-count=10000 --trusted-ca-file=certs/ca.crt",
    "--advertise-client-urls=https://127.0.0.1:CLIENT --cert-file=certs/server-n1.crt --client-cert-auth=true \
     --data-dir=etcd --feature-gates=InitialCorruptCheck=true --initial-advertise-peer-urls=https://127.0.0.1:PEER \
     --initial-cluster=cp=https://127.0.0.1:PEER --key-file=certs/server-n1.key \
     --listen-client-urls=https://127.0.0.1:CLIENT --listen-metrics-urls=http://127.0.0.1:METRICS \
     --listen-peer-urls=https://127.0.0.1:PEER --name=cp --peer-cert-file=certs/peer-n1.crt \
     --peer-client-cert-auth=true --peer-key-file=certs/peer-n1.key --peer-trusted-ca-file=certs/ca.crt \
     --snapshot-count=10000 --trusted-ca-file=certs/ca.crt --watch-progress-notify-interval=5s",
];

#[test]
fn the_manifests_of_kubeadm_start_a_member() {
    let (_seat, links) = (Seat::take(), Links::new());
    links.folder.run(&["cert", "cluster", "n1"]).ok();
    for (number, manifest) in MANIFESTS.iter().enumerate() {
        let (client_port, peer, metrics) = (free_port(), free_port(), free_port());
        let words = manifest
            .replace("CLIENT", &client_port.to_string())
            .replace("PEER", &peer.to_string())
            .replace("METRICS", &metrics.to_string())
            .replace("--data-dir=etcd", &format!("--data-dir=etcd-{number}"));
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut member = links.etcd(&format!("cp-{number}"), &words);
        Links::ready(&mut member);
        let certs = links.folder.path().join("certs");
        let health = client::get(client_port, "/health", &Tls::with(&certs, "client-root"));
        assert!(health.unwrap().contains("\"health\":\"true\""));
        assert!(client::get(client_port, "/health", &Tls::without(&certs)).is_err());
        let probe = client::get_in_clear(metrics, "/health?serializable=true").unwrap();
        assert!(probe.contains("\"health\":\"true\""), "{probe}");
    }
}
