//! A shell script that was written for etcd.

use std::process::Command;

use super::Links;
use crate::harness::Seat;
use crate::program::{finish, free_port};

#[test]
fn a_shell_script_of_etcds_comes_to_its_end() {
    let (_seat, links) = (Seat::take(), Links::new());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dropin/first-steps.sh");
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = links.folder.path().join("bin");
    let mut command = Command::new("sh");
    command.arg(script).current_dir(links.folder.path());
    command.env("PATH", format!("{}:{path}", bin.display()));
    command.env("CLIENT", format!("http://127.0.0.1:{}", free_port()));
    command.env("PEER", format!("http://127.0.0.1:{}", free_port()));
    for (name, _) in std::env::vars() {
        if name.starts_with("ETCD") || name.starts_with("QUORATE") {
            command.env_remove(name);
        }
    }
    let told = finish(&mut command);
    assert_eq!(told.code, 0, "{}\n{}", told.stdout, told.stderr);
    assert!(told.stdout.ends_with("ok\n"), "{}", told.stdout);
}
