//! Programs of `tests/interop` against a member, where their languages and libraries are found.

use std::io::Write as _;
use std::process::Command;

use super::super::harness::{quorate, run};
use super::alone::Alone;

/// A Python that has the libraries: `QUORATE_PYTHON`, or `python3`. None, and a line that says so, where there is none.
fn python() -> Option<String> {
    let python = std::env::var("QUORATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut probe = Command::new(&python);
    probe.args(["-c", "import etcd3, etcd3gw"]);
    probe.env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python");
    if probe.output().is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let is_required = std::env::var("QUORATE_CLIENTS").is_ok_and(|value| value == "required");
    assert!(!is_required, "{python} has no etcd3 and etcd3gw, and QUORATE_CLIENTS says it must");
    // Not by println: that of a test that passes is not shown.
    let _ =
        writeln!(std::io::stderr(), "SKIPPED: Python's clients need {python} with etcd3, etcd3gw");
    None
}

#[test]
fn pythons_clients_do_their_everyday_work() {
    let Some(python) = python() else { return };
    run(async {
        let (alone, client) = Alone::of(quorate(), &[]).await;
        drop(client);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/python/everyday.py");
        let port = alone.address.port().to_string();
        let output = Command::new(python).args([script, "127.0.0.1", &port]).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out == "ok\n", "{out}{err}");
    });
}
