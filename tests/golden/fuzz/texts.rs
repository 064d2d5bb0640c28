//! Texts that people, DNS and discovery services write.

use std::str::FromStr;

use quorate::base::{ClusterId, MemberId, parse_duration};
use quorate::client::{Client, Config};
use quorate::config::{Initial, List, founders, nearest, switch};
use quorate::discovery::{Entry, Place, Resolver, Token, Venue, clash, size, token_of};
use quorate::state::v2;
use quorate::transport::Url;

use super::judge::judge;
use super::mutate::Inputs;

/// Nearly always a text; what is none is read as somebody would.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn urls_and_endpoints() {
    // A client is made where tasks can be.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words = ["http://", "https://", "[::1]", ":", "/", "@", "%", "unix://", "65536", "\u{0}"];
    judge(Inputs::new("urls", Vec::new(), &words, 800), |bytes| {
        let text = text(bytes);
        if let Ok(url) = Url::from_str(&text) {
            assert_eq!(Url::from_str(&url.to_string()), Ok(url.clone()));
            if let Ok(address) = url.bind_address() {
                assert_eq!(address.port(), url.port);
            }
        }
        // It is read when it is made, and nobody is dialled; what was begun for it ends with it.
        runtime.block_on(async {
            drop(Client::lazy(Config::new([text.clone()])));
            tokio::task::yield_now().await;
        });
        if let Some(resolver) = Resolver::parse(&text) {
            let address = resolver.server_address().unwrap();
            assert_eq!(Resolver::parse(&address.to_string()), Some(resolver));
        }
    });
}

#[test]
fn places_and_entries_of_a_discovery_service() {
    let words =
        ["/_etcd/registry/", "/_config/size", "/members/", "=http://h:1", ",", "..", "quic://"];
    judge(Inputs::new("discovery", Vec::new(), &words, 4_000), |bytes| {
        let text = text(bytes);
        if let Some(token) = Token::parse(&text) {
            assert_eq!(token.as_str(), text);
            assert_eq!(
                Place::of_key(token.size_key().as_bytes()),
                Some(Place::Size(token.clone()))
            );
            assert_eq!(Place::of_path(token.directory().as_bytes()), Some(Place::Whole(token)));
        }
        // A key of the registry belongs to a token, whichever way it is asked.
        for place in [Place::of_key(bytes), Place::of_path(bytes)].into_iter().flatten() {
            let (Place::Whole(token) | Place::Size(token) | Place::Member(token, _)) = place;
            assert_eq!(token_of(bytes), Some(token));
        }
        if let Ok(entry) = Entry::parse(&text) {
            let parts: Vec<String> =
                entry.urls.iter().map(|url| format!("{}={url}", entry.name)).collect();
            assert_eq!(Entry::parse(&parts.join(",")), Ok(entry.clone()));
            assert!(clash(&entry, [("1", &entry)]).is_some());
        }
        assert!(size(&text).is_none_or(|size| size > 0));
        let _ = Venue::parse(&text);
        let _ = Venue::by_token(&text, std::slice::from_ref(&text), true);
        let _ = Venue::proxy(&text);
    });
}

#[test]
fn durations_numbers_and_lists() {
    let words = ["1h", "1m30s", "µs", "ns", ".", "1e400", "0x", "n1=http://h:1", ",", "true"];
    judge(Inputs::new("durations", Vec::new(), &words, 3_000), |bytes| {
        let text = text(bytes);
        if let Ok(duration) = parse_duration(&text) {
            // To the precision of what it is printed with, it is the same again.
            let again = parse_duration(&format!("{}ns", duration.as_nanos())).unwrap();
            let gap = again.abs_diff(duration).as_secs_f64();
            assert!(
                gap <= duration.as_secs_f64() * 1e-9 + 2e-9,
                "{text:?}: {duration:?}, {again:?}"
            );
        }
        if let Ok(id) = MemberId::from_str(&text) {
            assert_eq!(MemberId::from_str(&id.to_string()).ok(), Some(id));
        }
        if let Ok(id) = ClusterId::from_str(&text) {
            assert_eq!(ClusterId::from_str(&id.to_string()).ok(), Some(id));
        }
        let _ = (List::parse(&text), Initial::parse(&text), switch(&text));
        let _ = founders(&text, "token");
        let _ = nearest(&text, ["name", "data-dir"]);
    });
}

#[test]
fn paths_of_the_v2_tree() {
    let words = ["/", "//", "..", "./", "%2f", "\u{0}"];
    judge(Inputs::new("v2-paths", Vec::new(), &words, 4_000), |bytes| {
        let clean = v2::clean(bytes);
        // What is clean stays as it is, begins at the root, and leads nowhere above it.
        assert_eq!(v2::clean(&clean), clean);
        assert!(clean.starts_with(b"/"), "{}", clean.escape_ascii());
        assert!(!clean.split(|byte| *byte == b'/').any(|part| part == b".." || part == b"."));
    });
}
