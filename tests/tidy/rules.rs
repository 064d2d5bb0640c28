//! The rules on small texts: what each of them finds, and what it lets be.

use super::*;

const SMALL: &[Room] = &[
    Room { name: "base", may_import: &[], forbidden: &[] },
    Room { name: "state", may_import: &["base"], forbidden: &[HASHED] },
    Room { name: "engine", may_import: &["base", "state"], forbidden: &[] },
];

fn imports(path: &str, text: &str) -> Vec<String> {
    wrong_imports(SMALL, &Source::new(path, text))
}

#[test]
fn an_import_upwards_is_found_wherever_it_stands() {
    assert!(imports("src/engine/a.rs", "use crate::state::X; use crate::engine::Y;").is_empty());
    for text in [
        "use crate::engine::X;",
        "use crate::{base::A, engine::{B, C}};",
        "fn f(x: &crate :: engine::X) {}",
        "use crate::{\n    base,\n    engine,\n};",
    ] {
        assert_eq!(imports("src/state/a.rs", text).len(), 1, "{text}");
    }
    let harmless =
        "// crate::engine\nlet a = \"crate::engine\";\n#[cfg(test)]\nuse crate::engine::X;";
    assert!(imports("src/state/a.rs", harmless).is_empty());
    let named = imports("src/state/a.rs", "\n\nuse crate::engine::X;");
    assert_eq!(named, ["src/state/a.rs:3: state must not import engine"]);
}

#[test]
fn a_path_out_of_the_room_is_found() {
    assert!(imports("src/state/a.rs", "use super::X; pub(super) fn f() {}").is_empty());
    assert!(imports("src/state/deep/a.rs", "use super::super::X;").is_empty());
    assert_eq!(imports("src/state/a.rs", "use super::super::engine::X;").len(), 1);
    assert_eq!(imports("src/state/mod.rs", "pub use super::engine::X;").len(), 1);
}

#[test]
fn a_circle_is_found_in_the_table() {
    let up = Room { name: "low", may_import: &["high"], forbidden: &[] };
    let down = Room { name: "high", may_import: &["low"], forbidden: &[] };
    assert_eq!(circles(&[up, down]), ["low imports high, which is not below it"]);
    assert!(circles(SMALL).is_empty());
}

#[test]
fn words_count_when_they_stand_alone() {
    let find = |text| forbidden_words(SMALL, &Source::new("src/state/a.rs", text)).len();
    assert_eq!(find("use std::collections::HashMap;\nlet a: HashMap<u8, u8>;"), 2);
    assert_eq!(find("let my_HashMap = \"HashMap\"; // HashMap"), 0);
    let find = |text| homeless_crates(HOMES, &Source::new("src/state/a.rs", text)).len();
    assert_eq!(find("use tokio::sync; fn f(x: heed::Env) {}"), 2);
    assert_eq!(find("let raft = 1; use crate::x::raft::Y; raft.step();"), 0);
}

#[test]
fn doors_are_checked() {
    let check = |path, text| door(&[("state", &["check"])], &Source::new(path, text)).len();
    assert_eq!(check("src/state/mod.rs", "//! Story.\nmod a;\npub mod check;\npub use a::A;"), 0);
    assert_eq!(check("src/state/mod.rs", "mod a;"), 1);
    assert_eq!(check("src/state/mod.rs", "//! Story.\npub mod a;\npub(crate) mod b;"), 2);
    assert_eq!(check("src/state/mod.rs", "//! Story.\nfn logic() {}"), 1);
    assert_eq!(check("src/state/deep/mod.rs", "//! Story.\nfn logic() {}"), 0);
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let code = "trait T { fn no_body(a: [u8; 2]); }\nfn a(f: fn(u8)) -> u8 {\n    if x { 1 }\n}\nfn b() {}";
    assert_eq!(functions(code), [("a".to_owned(), 2, 3), ("b".to_owned(), 5, 1)]);
}

#[test]
fn unwrap_is_found_in_what_ships() {
    let lines = |text: &str| unwraps(&Source::new("a.rs", text).shipped);
    assert_eq!(lines("a.unwrap();\nb\n  .unwrap();"), [1, 3]);
    assert!(lines("a.unwrap_or(1); fn unwrap() {} // .unwrap()").is_empty());
    assert!(lines("#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }").is_empty());
}

#[test]
fn foreign_names_are_found_in_any_text() {
    assert_eq!(foreign("a.md", concat!("\nsee /ho", "me/me/x")).len(), 1);
    assert!(foreign("a.md", "see docs/storage.md").is_empty());
}
