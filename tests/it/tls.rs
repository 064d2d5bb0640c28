//! Who is not known stays outside, and is told why.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::base::SystemClock;
use quorate::engine::AskKind;
use quorate::tls::{Keychain, KeychainFiles, PlaneFiles};
use quorate::transport::{Guest, Names, Versions, inquire};

use super::harness::{Cluster, cert, failure, quorate};
use crate::program::output;

/// A `get` of somebody with these files.
fn get(cluster: &Cluster, files: &[(&str, &Path)]) -> Command {
    let mut command = quorate();
    command.current_dir(cluster.dir()).arg("--endpoints").arg(&cluster.members[0].url);
    for (flag, path) in files {
        command.arg(flag).arg(path);
    }
    command.args(["get", "k"]);
    command
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let cluster = Cluster::start(1);
    cert(cluster.dir(), &["ca", "--dir", "other"]);
    cert(cluster.dir(), &["client", "mallory", "--dir", "other"]);
    let (certs, other) = (cluster.dir().join("certs"), cluster.dir().join("other"));
    let ca = certs.join("ca.crt");
    let refused = |files: &[(&str, &Path)]| failure(output(&mut get(&cluster, files)));

    let text = refused(&[("--cacert", &ca)]);
    assert!(text.contains("certificate"), "nothing was shown: {text}");
    println!("no certificate: {text}");

    let (crt, key) = (other.join("client-mallory.crt"), other.join("client-mallory.key"));
    let text = refused(&[("--cacert", &ca), ("--cert", &crt), ("--key", &key)]);
    assert!(text.contains("certificate"), "of another authority: {text}");
    println!("a stranger: {text}");

    let (crt, key) = (certs.join("client-root.crt"), certs.join("client-root.key"));
    let text = refused(&[("--cacert", &other.join("ca.crt")), ("--cert", &crt), ("--key", &key)]);
    assert!(text.contains("certificate"), "the server is of another authority: {text}");
    println!("a server of another authority: {text}");

    let files: [(&str, &Path); 3] = [("--cacert", &ca), ("--cert", &crt), ("--key", &key)];
    assert!(output(&mut get(&cluster, &files)).status.success());
}

/// Asks as somebody who would like to be a member, with this certificate.
fn ask_as(cluster: &Cluster, name: &str) -> Result<Bytes, String> {
    let certs = cluster.dir().join("certs");
    let files = PlaneFiles {
        cert: certs.join(format!("{name}.crt")),
        key: certs.join(format!("{name}.key")),
        client_cert: None,
        client_key: None,
        trusted_ca: Some(certs.join("ca.crt")),
        client_cert_auth: true,
        crl: None,
        ..PlaneFiles::default()
    };
    let files = KeychainFiles { peer: Some(files), ..KeychainFiles::default() };
    let guest = Guest {
        name: "guest".to_owned(),
        versions: Versions { min: (3, 6), max: (3, 6) },
        keychain: Keychain::load(files).map_err(|error| error.to_string())?,
        clock: Arc::new(SystemClock::new()),
        names: Names::default(),
    };
    let url = cluster.members[0].url.parse().unwrap();
    let patience = Duration::from_secs(10);
    inquire(&guest, &url, AskKind::Members as u16, Bytes::new(), patience)
        .map_err(|error| error.to_string())
}

#[test]
fn a_clients_certificate_does_not_open_the_members_protocol() {
    let cluster = Cluster::start(1);
    assert!(!ask_as(&cluster, "peer-n1").unwrap().is_empty());
    let text = ask_as(&cluster, "client-root").unwrap_err();
    println!("a client's certificate: {text}");
    assert!(text.contains("certificate"), "{text}");
    let text = ask_as(&cluster, "server-n1").unwrap_err();
    println!("a server's certificate: {text}");
    assert!(text.contains("certificate"), "{text}");
}
