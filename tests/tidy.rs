//! The house rules as tests: what can be decided by looking, and nothing else.
//!
//! The tables below are the rules. A new arrow between rooms, a new home for a crate or a new exception is a change of
//! a table, with its reason beside it. Each rule is a function from text to complaints, tested on small texts here and
//! then run over the project.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::{Source, closing, is_word, rust_files, text_files, word_lines, words};

/// A room of `src/`: what its files may import, and words that its code must not contain.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
    forbidden: &'static [&'static [&'static str]],
}

/// Below the engine nothing awaits, reads a clock or rolls dice.
const TURNS_ABOVE: &[&str] = &["async", "await", "Instant", "SystemTime", "SystemClock"];
/// Iteration over a hash map is in an order of its own: two members would apply one entry differently.
const HASHED: &[&str] = &["HashMap", "HashSet"];

/// The stairs go one way: a room imports rooms that stand before it in this table.
const ROOMS: &[Room] = &[
    Room { name: "base", may_import: &[], forbidden: &[HASHED] },
    Room { name: "proto", may_import: &["base"], forbidden: &[] },
    Room { name: "storage", may_import: &["base"], forbidden: &[TURNS_ABOVE] },
    Room { name: "mvcc", may_import: &["base", "storage"], forbidden: &[TURNS_ABOVE, HASHED] },
    Room { name: "consensus", may_import: &["base", "storage"], forbidden: &[TURNS_ABOVE, HASHED] },
    Room {
        name: "state",
        may_import: &["base", "proto", "storage", "mvcc"],
        forbidden: &[TURNS_ABOVE, HASHED],
    },
    Room { name: "watch", may_import: &["base", "mvcc"], forbidden: &[TURNS_ABOVE] },
    Room {
        // proto: what members ask each other (forwarded proposals, keep-alives) is proto's.
        name: "engine",
        may_import: &["base", "proto", "storage", "mvcc", "consensus", "state", "watch"],
        forbidden: &[],
    },
    Room { name: "tls", may_import: &["base"], forbidden: &[] },
    Room { name: "transport", may_import: &["base", "tls"], forbidden: &[] },
    Room {
        // proto: a discovery service of etcd 3.6 is asked for keys.
        name: "discovery",
        may_import: &["base", "proto", "tls", "transport"],
        forbidden: &[],
    },
    Room {
        name: "client",
        may_import: &["base", "proto", "tls", "transport", "discovery"],
        forbidden: &[],
    },
    Room {
        name: "api", // discovery: the keys of its service.
        may_import: &["base", "proto", "tls", "transport", "discovery", "state", "watch", "engine"],
        forbidden: &[],
    },
    // transport: a stream that speaks HTTP is handed over as it is.
    Room { name: "proxy", may_import: &["base", "proto", "transport", "client"], forbidden: &[] },
    Room {
        // proto: the bodies of the commands they propose are its messages.
        name: "keepers",
        may_import: &["base", "proto", "state", "engine"],
        forbidden: &[],
    },
    Room {
        name: "node",
        may_import: &[
            "base",
            "proto",
            "storage",
            "mvcc",
            "consensus",
            "state",
            "watch",
            "engine",
            "tls",
            "transport",
            "discovery",
            "client",
            "api",
            "proxy",
            "keepers",
        ],
        forbidden: &[],
    },
    // transport, discovery: a checked configuration speaks of URLs and listeners, of a domain and of who is asked for it.
    Room {
        name: "config",
        may_import: &["base", "tls", "transport", "discovery", "node"],
        forbidden: &[],
    },
    Room {
        name: "cli",
        may_import: &[
            "base",
            "proto",
            "storage",
            "state",
            "engine",
            "tls",
            "transport",
            "discovery",
            "client",
            "node",
            "config",
        ],
        forbidden: &[],
    },
];

/// Crates that have homes: named in the code of these rooms and nowhere else.
const HOMES: &[(&str, &[&str])] = &[
    ("clap", &["config", "cli"]),
    ("clap_complete", &["cli"]),
    ("comfy_table", &["cli"]),
    // cli: the profile of a folder's cluster, a client's settings.
    ("figment", &["config", "cli"]),
    ("heed", &["storage"]),
    ("hickory_resolver", &["discovery"]),
    // cli: the v2 API has no other wire. client: gRPC, where no QUIC leads to a server.
    ("http_body_util", &["discovery", "client", "api", "cli"]),
    ("hyper", &["discovery", "client", "api", "cli"]),
    ("hyper_util", &["discovery", "client", "api", "cli"]),
    ("jsonwebtoken", &["api"]),
    ("prost_reflect", &["api"]),
    ("protobuf", &["consensus"]),
    ("quinn", &["transport"]),
    ("quinn_proto", &["transport"]),
    ("raft", &["consensus"]),
    ("rcgen", &["tls"]),
    ("rustls", &["tls", "transport"]),
    ("slog", &["consensus"]),
    (
        "tokio",
        &[
            "proto",
            "engine",
            "tls",
            "transport",
            "discovery",
            "client",
            "api",
            "proxy",
            "keepers",
            "node",
            "cli",
        ],
    ),
    ("tokio_rustls", &["transport"]),
    ("toml_edit", &["config", "cli"]),
    ("x509_parser", &["tls"]),
    // Dice: ids and nonces are drawn before the log, never below the engine.
    ("getrandom", &["engine", "tls", "transport", "client", "api", "keepers", "node", "cli"]),
    ("fastrand", &[]),
];

/// Modules that a door leaves open: constants, codecs and pure functions that read better with their module's name.
const OPEN_MODULES: &[(&str, &[&str])] = &[
    ("base", &["clock", "limits", "meter"]),
    (
        "proto",
        &[
            "frame",
            "hello",
            "authpb",
            "mvccpb",
            "etcdserverpb",
            "v3lockpb",
            "v3electionpb",
            "quorate",
        ],
    ),
    ("consensus", &["wire"]),
    ("state", &["check", "v2"]),
    ("tls", &["make"]),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Written by a program, and compared with what it writes by a test of their own.
const GENERATED: &str = "src/proto/generated/";

/// Functions that may be longer: (file, function), with the reason in a comment.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    // A table of threads: the name of each, and its loop of a few lines.
    ("src/engine/threads.rs", "spawn"),
];

/// The one file that may say `unsafe`: LMDB maps a file.
const UNSAFE_FILES: &[&str] = &["src/storage/env.rs"];

#[test]
fn rooms_import_downwards_and_in_no_circle() {
    let mut complaints = circles(ROOMS);
    for source in project("src") {
        complaints.extend(wrong_imports(ROOMS, &source));
    }
    none(complaints);
}

#[test]
fn every_room_is_in_the_table() {
    let found: BTreeSet<String> =
        project("src").iter().filter_map(|source| Some(source.room()?.to_owned())).collect();
    let told: BTreeSet<String> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(found, told);
}

#[test]
fn rooms_say_no_word_that_is_not_theirs() {
    let mut complaints = Vec::new();
    for source in project("src") {
        complaints.extend(forbidden_words(ROOMS, &source));
        complaints.extend(homeless_crates(HOMES, &source));
        if !UNSAFE_FILES.contains(&source.path.as_str()) {
            let lines = word_lines(&source.code, "unsafe");
            complaints
                .extend(lines.into_iter().map(|line| at(&source, line, "unsafe has one file")));
        }
    }
    none(complaints);
}

#[test]
fn doors_tell_a_story_and_hold_no_logic() {
    none(project("src").iter().flat_map(|source| door(OPEN_MODULES, source)).collect());
}

#[test]
fn files_and_functions_fit_on_a_screen() {
    let mut complaints = Vec::new();
    let mut used = BTreeSet::new();
    for source in project("src").into_iter().chain(project("tests")) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
        }
        for (name, line, lines) in functions(&source.code) {
            let exception = (source.path.as_str(), name.as_str());
            if lines <= FUNCTION_LINES_MAX {
                continue;
            } else if let Some(known) = LONG_FUNCTIONS.iter().find(|known| **known == exception) {
                used.insert(known);
            } else {
                complaints.push(at(&source, line, &format!("{name} has {lines} lines")));
            }
        }
    }
    let unused = LONG_FUNCTIONS.iter().filter(|exception| !used.contains(exception));
    complaints.extend(unused.map(|exception| format!("{exception:?} needs no exception")));
    none(complaints);
}

#[test]
fn what_ships_never_unwraps() {
    let mut complaints = Vec::new();
    for source in project("src") {
        let lines = unwraps(&source.shipped);
        complaints
            .extend(lines.into_iter().map(|line| at(&source, line, "unwrap() outside tests")));
    }
    none(complaints);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    none(text_files(root).iter().flat_map(|(path, text)| foreign(path, text)).collect());
}

/// Imports of rooms that the table does not allow, and paths that leave a room by its stairs (`super`).
fn wrong_imports(rooms: &[Room], source: &Source) -> Vec<String> {
    let Some(room) = source.room().and_then(|name| rooms.iter().find(|room| room.name == name))
    else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    for (line, name) in crate_paths(&source.shipped) {
        let is_room = rooms.iter().any(|room| room.name == name);
        if is_room && name != room.name && !room.may_import.contains(&name.as_str()) {
            complaints.push(at(source, line, &format!("{} must not import {name}", room.name)));
        }
    }
    for (line, steps) in super_chains(&source.shipped) {
        if steps > source.depth() {
            complaints.push(at(
                source,
                line,
                "a path to another room is written crate::room::Item",
            ));
        }
    }
    complaints
}

/// Rooms that import a room not before them: with that order no circle can be closed.
fn circles(rooms: &[Room]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (place, room) in rooms.iter().enumerate() {
        for import in room.may_import {
            if !rooms[..place].iter().any(|before| before.name == *import) {
                complaints.push(format!("{} imports {import}, which is not below it", room.name));
            }
        }
    }
    complaints
}

fn forbidden_words(rooms: &[Room], source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let room = rooms.iter().find(|room| source.room() == Some(room.name));
    for word in room.into_iter().flat_map(|room| room.forbidden.iter().copied().flatten()) {
        // The clock's own file, and its name in the door.
        if *word == "SystemClock" && source.path.starts_with("src/base/") {
            continue;
        }
        let lines = word_lines(&source.shipped, word);
        complaints.extend(
            lines.into_iter().map(|line| at(source, line, &format!("{word} has no place here"))),
        );
    }
    complaints
}

fn homeless_crates(homes: &[(&str, &[&str])], source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(room) = source.room() else {
        return complaints;
    };
    for (name, rooms) in homes {
        if rooms.contains(&room) {
            continue;
        }
        for (start, line) in words(&source.shipped, name) {
            let is_path = source.shipped[start + name.len()..].trim_start().starts_with("::");
            let is_inner = source.shipped[..start].trim_end().ends_with("::");
            if is_path && !is_inner {
                complaints.push(at(source, line, &format!("{name} is at home in {rooms:?}")));
            }
        }
    }
    complaints
}

/// A `mod.rs` without a story, a room's door with logic in it, or with a module left open that is not in the table.
fn door(open: &[(&str, &[&str])], source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_root = matches!(source.path.as_str(), "src/lib.rs" | "src/main.rs");
    if (source.path.ends_with("/mod.rs") || is_root) && !source.text.starts_with("//!") {
        complaints.push(at(source, 1, "begins without a story (//!)"));
    }
    let Some(room) = source.room() else {
        return complaints;
    };
    if source.path != format!("src/{room}/mod.rs") {
        return complaints;
    }
    for word in ["fn", "impl", "macro_rules"] {
        let lines = word_lines(&source.shipped, word);
        complaints.extend(lines.into_iter().map(|line| at(source, line, "a door holds no logic")));
    }
    let named = open.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, modules)| modules);
    for (start, line) in words(&source.shipped, "mod") {
        let before = source.shipped[..start].trim_end();
        let is_nested = before.matches('{').count() > before.matches('}').count();
        let is_open = !is_nested && (before.ends_with("pub") || before.ends_with("pub(crate)"));
        let rest = source.shipped[start + 3..].trim_start();
        let name = &rest[..rest.bytes().take_while(|byte| is_word(*byte)).count()];
        if is_open && !named.contains(&name) {
            complaints.push(at(source, line, &format!("module {name} is open")));
        }
    }
    complaints
}

/// Name, first line and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in words(code, "fn") {
        let rest = code[start + 2..].trim_start();
        let name = &rest[..rest.bytes().take_while(|byte| is_word(*byte)).count()];
        let mut depth = 0_usize;
        let body = code.bytes().enumerate().skip(start).find(|(_, byte)| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(byte, b'{' | b';')
        });
        if let Some((open, b'{')) = body
            && !name.is_empty()
        {
            let lines = code[start..closing(code, open)].matches('\n').count() + 1;
            found.push((name.to_owned(), line, lines));
        }
    }
    found
}

/// Lines that call `unwrap` without an argument.
fn unwraps(code: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (start, line) in words(code, "unwrap") {
        let is_call = code[start + 6..].trim_start().starts_with("()");
        if is_call && code[..start].trim_end().ends_with('.') {
            lines.push(line);
        }
    }
    lines
}

/// Places of the machine this was written on, and papers that are not in the repository.
fn foreign(path: &str, text: &str) -> Vec<String> {
    let names = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("sea", "ms"),
        concat!("etcd-", "surface"),
        concat!("engineering-", "facts"),
    ];
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for name in names.iter().filter(|name| line.contains(*name)) {
            complaints.push(format!("{path}:{}: {name} is not in this project", number + 1));
        }
    }
    complaints
}

/// First names of the paths that begin with `crate::`, those in braces included.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, line) in words(code, "crate") {
        let Some(rest) = code[start + 5..].trim_start().strip_prefix("::") else {
            continue;
        };
        let rest = rest.trim_start();
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        for name in names {
            let length = name.bytes().take_while(|byte| is_word(*byte)).count();
            found.push((line, name[..length].to_owned()));
        }
    }
    found
}

/// What stands behind the commas of a use group, up to its closing brace.
fn top_level_names(group: &str) -> Vec<&str> {
    let (mut depth, mut names, mut from) = (0_usize, Vec::new(), 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' | b',' if depth == 0 => {
                names.push(group[from..at].trim_start());
                from = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// Lines and lengths of `super::super::...`.
fn super_chains(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in words(code, "super") {
        if code[..start].trim_end().ends_with("::") {
            continue; // counted with its first
        }
        let (mut rest, mut steps) = (&code[start..], 0);
        while let Some(next) =
            rest.strip_prefix("super").and_then(|r| r.trim_start().strip_prefix("::"))
        {
            (rest, steps) = (next.trim_start(), steps + 1);
        }
        found.push((line, steps));
    }
    found
}

fn at(source: &Source, line: usize, complaint: &str) -> String {
    format!("{}:{line}: {complaint}", source.path)
}

fn project(folder: &str) -> Vec<Source> {
    let mut found = rust_files(Path::new(env!("CARGO_MANIFEST_DIR")), folder);
    found.retain(|source| !source.path.starts_with(GENERATED));
    assert!(!found.is_empty(), "no files under {folder}");
    found
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
