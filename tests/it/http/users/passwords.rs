//! Passwords are nowhere: not in the log, nor in the database, nor in what members print; tokens neither.

use std::path::Path;

use super::super::super::harness::run;
use super::super::alone::Alone;
use super::super::gateway::post;
use super::{client, enable};

/// What nobody else would write.
const PASSWORDS: [&str; 3] = ["sesame-open-7f3a", "sesame-shut-9c1e", "sesame-lost-4b2d"];

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
}

#[test]
fn no_file_has_a_password_or_a_token() {
    run(async {
        let (alone, _grpc) = Alone::start(&["--log-level=debug"]).await;
        let anybody = client(&[alone.address], None);
        enable(&anybody).await;
        let root = client(&[alone.address], super::ROOT);
        root.user_add("carl", PASSWORDS[0]).await.unwrap();
        root.user_change_password("carl", PASSWORDS[1]).await.unwrap();
        let carl = client(&[alone.address], Some(("carl", PASSWORDS[1])));
        assert_eq!(super::refused(carl.put("x", "").await), super::denied());
        let wrong = client(&[alone.address], Some(("carl", PASSWORDS[2])));
        let (code, text) = super::refused(wrong.get("x").await);
        assert_eq!(code, quorate::proto::Code::InvalidArgument, "{text}");
        let body = format!(r#"{{"name":"carl","password":"{}"}}"#, PASSWORDS[1]);
        let (_, said) = post(alone.address, "/v3/auth/authenticate", &body).await;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let secret = said["token"].as_str().unwrap().split('.').next().unwrap().to_owned();
        assert_eq!(secret.len(), 16);

        let mut found = Vec::new();
        files(alone.dir(), &mut found);
        let has =
            |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        // The names are there, so this looks where they would be.
        assert!(found.iter().any(|(path, bytes)| path.contains("wal") && has(bytes, "carl")));
        for (path, bytes) in &found {
            for text in PASSWORDS.iter().copied().chain([secret.as_str()]) {
                assert!(!has(bytes, text), "{path} has {text}");
            }
        }
    });
}
