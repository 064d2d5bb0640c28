//! Settings, wherever they are written: a mistake is told, with its place, and is never a panic.

use std::path::Path;

use quorate::config::{Rules, Sources, effective};

use super::judge::judge;
use super::mutate::Inputs;

/// What a file of these bytes makes of a server.
fn load(path: &Path, bytes: &[u8], rules: Rules) {
    std::fs::write(path, bytes).unwrap();
    let sources = Sources { file: Some(path.to_owned()), rules, ..Sources::default() };
    match effective(&sources) {
        Ok(effective) => assert!(!effective.settings.is_empty()),
        Err(mistakes) => {
            assert!(!mistakes.lines().is_empty(), "refused without a word");
            assert!(mistakes.lines().iter().all(|line| !line.trim().is_empty()));
        }
    }
}

#[test]
fn files_in_toml() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.toml");
    let words = [
        "name = ",
        "[initial-cluster]\n",
        "[[",
        "]]",
        "'''",
        "\"\"\"",
        "0x",
        "1e9",
        "\\u",
        "\n",
        "{",
        "}",
        "= [",
    ];
    judge(Inputs::new("toml", Vec::new(), &words, 500), |bytes| {
        load(&path, bytes, Rules::Quorate);
    });
}

#[test]
fn files_in_yaml_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.conf.yml");
    let words = [
        "name: ",
        "- ",
        "  ",
        "\n",
        "&a",
        "*a",
        "!!",
        "|",
        ">",
        "{",
        "[",
        "'",
        "\"",
        "? ",
        "---\n",
        "<<: *a",
        "client-transport-security:\n",
    ];
    judge(Inputs::new("yaml", Vec::new(), &words, 700), |bytes| {
        load(&path, bytes, Rules::Etcd);
    });
}

/// Pairs, a line each: `--name=value` is a flag, `NAME=value` a variable.
#[test]
fn variables_and_flags() {
    let words = [
        "--",
        "ETCD_",
        "QUORATE_",
        "=",
        "\n",
        "name",
        "listen-client-urls",
        "http://",
        "1s",
        "true",
        ",",
    ];
    judge(Inputs::new("words", Vec::new(), &words, 400), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for rules in [Rules::Quorate, Rules::Etcd] {
            let mut sources = Sources { rules, ..Sources::default() };
            for line in text.lines() {
                let (name, value) = line.split_once('=').unwrap_or((line, ""));
                // A file of somebody else's is not what is tried here.
                if name.to_lowercase().replace('_', "-").contains("config-file") {
                    continue;
                }
                match name.strip_prefix("--") {
                    Some(name) => sources.flags.push((name.to_owned(), value.to_owned())),
                    None => sources.environment.push((name.to_owned(), value.to_owned())),
                }
            }
            if let Err(mistakes) = effective(&sources) {
                assert!(!mistakes.lines().is_empty(), "refused without a word");
            }
        }
    });
}
