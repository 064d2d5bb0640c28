//! `config check` and `config show`: what a server would start with, and what is wrong with it, before it is started.

use crate::program::{Folder, Output, finish};

fn folder(text: &str) -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path().join("n.toml"), text).unwrap();
    folder
}

fn check(folder: &Folder, more: &[&str]) -> Output {
    folder.run(&[&["config", "check", "--config-file", "n.toml"], more].concat())
}

#[test]
fn check_tells_every_mistake_at_once() {
    let folder = folder(
        "nmae = 'n1'\nelection-timeout = 300\nunsafe-no-fsync = true\nsnapshot-count = 1000\npeer-cert-file = 7\n",
    );
    let output = check(&folder, &["--log-level", "loud", "--initial-cluster-state=old"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert_eq!(output.stdout, "");
    let expected = [
        "Error: n.toml:1: unknown key nmae; did you mean name?",
        "n.toml:3: unsafe-no-fsync does nothing here: it would lose acknowledged writes",
        "n.toml:5: peer-cert-file is ",
        "--initial-cluster-state: initial-cluster-state is \"old\"; it is new or existing",
        "n.toml:2: election-timeout is 300 ms",
        "--log-level: log-level is \"loud\"",
    ];
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{}", output.stderr);
    for (line, begins) in lines.iter().zip(expected) {
        assert!(line.starts_with(begins), "{line}\nbegins not with\n{begins}");
    }
}

#[test]
fn check_reads_certificates_and_compares_the_roster() {
    let text = "name = 'n3'\n[initial-cluster]\nn1 = 'http://127.0.0.1:1'\n";
    let folder = folder(text);
    let output = check(&folder, &[]);
    assert!(output.stderr.contains("couldn't find local name \"n3\""), "{output:?}");
    assert_eq!(output.code, 3);

    std::fs::write(folder.path().join("n.toml"), "").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let url = "https://127.0.0.1:1";
    let files =
        ["peer-cert-file", "peer-key-file", "peer-trusted-ca-file", "cert-file", "key-file"];
    let mut words: Vec<String> = files.iter().map(|file| format!("--{file}=empty")).collect();
    for key in ["listen-peer", "initial-advertise-peer", "listen-client", "advertise-client"] {
        words.push(format!("--{key}-urls={url}"));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = check(&folder, &words);
    assert!(output.stderr.contains("empty: holds no certificate"), "{output:?}");
    assert_eq!(output.code, 3);

    let output = check(&folder, &["--max-wals", "5"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "ok\n"), "{output:?}");
    let warned = "Warning: --max-wals: max-wals does nothing here: the log is trimmed by";
    assert!(output.stderr.starts_with(warned), "{output:?}");
}

#[test]
fn every_sample_is_ok() {
    let folder = Folder::new();
    folder.run(&["cert", "ca"]).ok();
    folder.run(&["cert", "client", "root"]).ok();
    for name in ["n1", "n2", "n3", "p1"] {
        folder.run(&["cert", "peer", name]).ok();
        folder.run(&["cert", "server", name]).ok();
    }
    for sample in ["default", "single", "three/n1", "three/n2", "three/n3", "proxy"] {
        let path = format!("{}/config/{sample}.toml", env!("CARGO_MANIFEST_DIR"));
        let output = folder.run(&["config", "check", "--config-file", &path]);
        assert_eq!((output.code, output.stdout.as_str()), (0, "ok\n"), "{sample}: {output:?}");
    }
}

#[test]
fn show_names_the_source_of_each_value() {
    let folder = folder("heartbeat-interval = 50\nelection-timeout = 500\n");
    let shown = |format: &str| {
        let words = ["config", "show", "--config-file", "n.toml", "-w", format, "--name", "n1"];
        let mut command = folder.command(&words);
        command.env("ETCD_INITIAL_CLUSTER_TOKEN", "t");
        finish(&mut command).ok()
    };
    let table = shown("table");
    let cells = |key: &str| -> Vec<String> {
        let row = table.lines().find(|line| line.contains(&format!(" {key} |"))).unwrap();
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    assert_eq!(cells("name"), ["name", "n1", "--name"]);
    assert_eq!(cells("election-timeout"), ["election-timeout", "500", "n.toml:2"]);
    let token = ["initial-cluster-token", "t", "ETCD_INITIAL_CLUSTER_TOKEN"];
    assert_eq!(cells("initial-cluster-token"), token);
    assert_eq!(cells("data-dir"), ["data-dir", "n1.etcd", "default (from name)"]);

    let json: serde_json::Value = serde_json::from_str(&shown("json")).unwrap();
    let settings = json["settings"].as_array().unwrap();
    let heartbeat = settings.iter().find(|it| it["key"] == "heartbeat-interval").unwrap();
    assert_eq!(heartbeat["value"], 50);
    assert_eq!(heartbeat["source"], "n.toml:1");

    // What is shown as TOML is a file that means the same.
    std::fs::write(folder.path().join("shown.toml"), shown("toml")).unwrap();
    let again = folder.run(&["config", "show", "--config-file", "shown.toml", "-w", "json"]).ok();
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    for (first, second) in settings.iter().zip(again["settings"].as_array().unwrap()) {
        assert_eq!((&first["key"], &first["value"]), (&second["key"], &second["value"]));
    }
}
