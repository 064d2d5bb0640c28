//! Nobody's mistake prints a panic or a bare Debug: each is told with what to write instead.

use crate::program::{Folder, Output, free_port};

fn told(folder: &Folder, words: &[&str]) -> Output {
    let output = folder.run(words);
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for word in ["panicked", "RUST_BACKTRACE", "Err(", "Some(", "None,"] {
        assert!(!output.stderr.contains(word), "{word:?} in {output:?}");
    }
    output
}

#[test]
fn a_mistaken_file_is_told_with_line_and_right_key() {
    let folder = Folder::new();
    let write = |text: &str| std::fs::write(folder.path().join("n.toml"), text).unwrap();
    let serve = ["serve", "--config-file", "n.toml"];
    write("name = \"n1\"\ninitial-clutser = \"n1=https://127.0.0.1:1\"\n");
    let output = told(&folder, &serve);
    assert_eq!(
        output.stderr,
        "Error: n.toml:2: unknown key initial-clutser; did you mean initial-cluster?\n"
    );
    assert_eq!(output.code, 3);
    write("heartbeat-interval = \"often\"\n");
    let output = told(&folder, &serve);
    assert!(
        output.stderr.contains("n.toml:1: heartbeat-interval is string \"often\""),
        "{output:?}"
    );
    let output = told(&folder, &["serve", "--config-file", "nothing.toml"]);
    assert!(
        output.stderr.contains("cannot read the configuration file nothing.toml"),
        "{output:?}"
    );
}

#[test]
fn etcds_start_up_checks_are_made() {
    let folder = Folder::new();
    let (a, b) = (free_port(), free_port());
    let (peer, client) = (format!("http://127.0.0.1:{a}"), format!("http://127.0.0.1:{b}"));
    let output = told(&folder, &["--listen-client-urls", &client]);
    assert!(output.stderr.contains("advertise-client-urls is required"), "{output:?}");
    let output = told(&folder, &["serve", "--discovery", "https://discovery.etcd.io"]);
    assert!(output.stderr.contains("the token is missing: write http://host"), "{output:?}");
    let output = told(&folder, &["serve", "--election-timeout", "300"]);
    assert!(output.stderr.contains("at least 5 heartbeats"), "{output:?}");
    let output = told(&folder, &["serve", "--listen-peer-urls", "https://127.0.0.1:1"]);
    assert!(output.stderr.contains("make certificates with `quorate cert`"), "{output:?}");

    let base = ["serve", "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer];
    let with = |more: &[&str]| {
        let mut words = base.to_vec();
        words.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        words.extend(more);
        told(&folder, &words)
    };
    let cluster = format!("n1={peer},n2=http://127.0.0.1:1");
    let output = with(&["--name", "n3", "--initial-cluster", &cluster]);
    assert!(output.stderr.contains("couldn't find local name \"n3\""), "{output:?}");
    let other = "n1=http://127.0.0.1:3,n2=http://127.0.0.1:1";
    let output = with(&["--name", "n1", "--initial-cluster", other]);
    assert!(output.stderr.contains("initial-cluster has n1=http://127.0.0.1:3"), "{output:?}");
}

#[test]
fn mistyped_words_get_a_suggestion_and_the_exit_codes_are_etcdctls() {
    let folder = Folder::new();
    for (words, told_word, code) in [
        (&["wacth", "k"][..], "\twatch\n", 1),
        (&["get", "k", "--prefx"], "\t--prefix\n", 1),
        (&["lease", "grnt", "5"], "\tgrant\n", 1),
        (&["get"], "get command needs one argument as key", 128),
        (&["get", "k", "-w", "yaml"], "simple, json, table, fields or protobuf", 4),
        (&["get", "k", "--order", "sideways"], "bad sort order sideways", 4),
        (&["lease", "revoke", "xyz"], "bad lease ID", 128),
        (&["get", "k", "--prefix", "--from-key"], "cannot be set at the same time", 128),
        (&["--endpoints", "127.0.0.1:1", "--dial-timeout", "200ms", "get", "k"], "127.0.0.1:1", 2),
        (&["--cacert", "nothing.crt", "get", "k"], "nothing.crt", 128),
    ] {
        let output = told(&folder, words);
        assert!(output.stderr.contains(told_word), "{words:?}: {output:?}");
        assert_eq!(output.code, code, "{words:?}: {output:?}");
    }
    let output = folder.run_with(&["txn"], "mod(\"k\") ~ \"0\"\n\n\n\n");
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("malformed comparison"), "{output:?}");
}

#[test]
fn a_used_port_and_a_used_directory_are_told() {
    let folder = Folder::new();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let words = [
        "serve",
        "--listen-peer-urls",
        &url,
        "--initial-advertise-peer-urls",
        &url,
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
    ];
    let socket = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let output = told(&folder, &words);
    assert!(output.stderr.contains("another process has this port"), "{output:?}");
    drop(socket);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = told(&folder, &words);
    assert!(output.stderr.contains("another process has this port"), "{output:?}");
    drop(listener);
    let mut server = folder.spawn("server", &words);
    crate::program::until("it serves", || {
        assert!(!server.has_ended(), "{}", server.stderr());
        server.stderr().contains("ready to serve client requests").then_some(())
    });
    let output = told(&folder, &words);
    assert!(output.stderr.contains("is in use by another process"), "{output:?}");
    // Without a scheme, http:// is meant: nobody verifies anybody.
    let endpoint = format!("127.0.0.1:{port}");
    folder.run(&["--endpoints", &endpoint, "put", "a", "1"]).ok();
    assert_eq!(folder.run(&["--endpoints", &endpoint, "get", "a"]).ok(), "a\n1\n");
}
