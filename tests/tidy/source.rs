//! Source text as the rules look at it: without comments, strings and tests, line for line.
//!
//! No parser: a lexer of a few dozen lines that knows where comments and literals begin and end. What it blanks it
//! replaces by spaces, so that positions and line numbers stay.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the project.
pub(super) struct Source {
    /// Path from the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and literals.
    pub(super) code: String,
    /// The code without what is compiled for tests alone.
    pub(super) shipped: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let shipped = blank_tests(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// The room that the file belongs to; none for the roots of the crate.
    pub(super) fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    /// How many modules lie above this one up to the crate's root, beside its own.
    pub(super) fn depth(&self) -> usize {
        let folders = self.path.matches('/').count().saturating_sub(1);
        folders - usize::from(self.path.ends_with("/mod.rs"))
    }
}

/// The Rust files under `folder`, in order; files that a `#[cfg(test)] mod name;` declares ship nothing.
pub(super) fn rust_files(root: &Path, folder: &str) -> Vec<Source> {
    let mut sources: Vec<Source> = files(&root.join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| {
            Some(Source::new(&relative(root, &path), &fs::read_to_string(&path).ok()?))
        })
        .collect();
    let of_tests: Vec<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        if of_tests.iter().any(|prefix| source.path.starts_with(prefix)) {
            source.shipped = String::new();
        }
    }
    sources
}

/// Larger files were not written by hand: somebody's data directory, perhaps.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Every file that is text, with its path from `root`, without what is built or belongs to git.
pub(super) fn text_files(root: &Path) -> Vec<(String, String)> {
    files(root)
        .into_iter()
        .filter(|path| path.metadata().is_ok_and(|meta| meta.len() <= TEXT_BYTES_MAX))
        .filter_map(|path| Some((relative(root, &path), fs::read_to_string(&path).ok()?)))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref() {
            Some(".git" | "target") | None => {}
            Some(_) if path.is_dir() => found.extend(files(&path)),
            Some(_) => found.push(path),
        }
    }
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The paths (`src/room/tests.rs`, `src/room/tests/`) of modules that exist for tests alone.
fn test_files(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    for (at, mark) in source.code.match_indices(TEST_MARK) {
        let mut item = source.code[at + mark.len()..].trim_start();
        while let Some((_, rest)) = item.strip_prefix("#[").and_then(|rest| rest.split_once(']')) {
            item = rest.trim_start();
        }
        if let Some((name, _)) = item.strip_prefix("mod ").and_then(|rest| rest.split_once(';'))
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            found.push(format!("{folder}/{name}.rs"));
            found.push(format!("{folder}/{name}/"));
        }
    }
    found
}

const TEST_MARK: &str = "#[cfg(test)]";

/// Replaces every item behind `#[cfg(test)]` by spaces.
fn blank_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find(TEST_MARK) {
        let start = from + found;
        let body = start + TEST_MARK.len();
        let end = item_end(code, body);
        blank(&mut bytes[start..end]);
        from = end;
    }
    String::from_utf8(bytes).expect("only whole characters were blanked")
}

/// Where the item that begins at `start` ends: behind its braces, or its semicolon.
fn item_end(code: &str, start: usize) -> usize {
    match code[start..].find(['{', ';']) {
        Some(at) if code[start + at..].starts_with('{') => closing(code, start + at) + 1,
        Some(at) => start + at + 1,
        None => code.len(),
    }
}

/// The brace that closes the one at `open`; the end of the code if none does.
pub(super) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Replaces comments, strings and characters by spaces; quotes and line ends stay.
fn blank_literals(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_bytes(&text.as_bytes()[at..], at > 0 && is_word(bytes[at - 1]));
        if end > at {
            blank(&mut bytes[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(bytes).expect("only whole characters were blanked")
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

pub(super) fn word_lines(code: &str, word: &str) -> Vec<usize> {
    words(code, word).into_iter().map(|(_, line)| line).collect()
}

/// Start and line of every place where `word` stands alone.
pub(super) fn words(code: &str, word: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let (mut found, mut counted, mut line) = (Vec::new(), 0, 1);
    for (start, _) in code.match_indices(word) {
        let end = start + word.len();
        line += code[counted..start].matches('\n').count();
        counted = start;
        let is_joined = (start > 0 && is_word(bytes[start - 1]))
            || bytes.get(end).is_some_and(|byte| is_word(*byte));
        if !is_joined {
            found.push((start, line));
        }
    }
    found
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of the comment or literal at the beginning of `rest`; 0 if there is none.
fn literal_bytes(rest: &[u8], is_inside_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => find(rest, 0, b"\n"),
        [b'/', b'*', ..] => block_comment_bytes(rest),
        [b'"', ..] => string_bytes(rest),
        [b'r', ..] | [b'b' | b'c', b'r', ..] if !is_inside_word => raw_string_bytes(rest),
        [b'\'', b'\\', ..] => find(rest, 3, b"'") + 1,
        [b'\'', first, ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 } // a lifetime
        }
        _ => 0,
    }
}

fn find(text: &[u8], from: usize, word: &[u8]) -> usize {
    let found = text.get(from..).and_then(|rest| rest.windows(word.len()).position(|w| w == word));
    found.map_or(text.len() - 1, |at| from + at)
}

fn block_comment_bytes(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn string_bytes(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_bytes(rest: &[u8]) -> usize {
    let mark = if rest[0] == b'r' { 1 } else { 2 };
    let hashes = rest[mark..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(mark + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    find(rest, mark + hashes + 1, &end) + end.len()
}

#[test]
fn literals_and_comments_are_blanked_and_code_is_not() {
    let text = r####"let a = "x // \" {"; // unwrap()
let b = r#"{ " "#; let c = b"{"; let d = '{'; let e = '\''; /* { /* } */ */ fn f<'a>(r: &'a str) {}
let g = 'ä'; let h = "ä"; bar"{"; r"\"; real"####;
    let code = blank_literals(text);
    assert_eq!(code.lines().count(), 3);
    assert_eq!(code.len(), text.len());
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "let a = ; let b = ; let c = b ; let d = ; let e = ; fn f<'a>(r: &'a str) {} let g = ; let h = ; bar ; ; real"
    );
}

#[test]
fn tests_are_not_shipped() {
    let text =
        "fn a() {}\n#[cfg(test)]\nuse x;\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}";
    let source = Source::new("src/room/file.rs", text);
    let words: Vec<&str> = source.shipped.split_whitespace().collect();
    assert_eq!(words.join(" "), "fn a() {} fn c() {}");
    assert_eq!(source.shipped.lines().count(), text.lines().count());

    let parent = Source::new("src/room/mod.rs", "mod a;\n#[cfg(test)]\nmod tests;\n");
    assert_eq!(test_files(&parent), ["src/room/tests.rs", "src/room/tests/"]);
    let parent = Source::new("src/room/a.rs", "#[cfg(test)]\n#[cfg(unix)]\nmod b;\n");
    assert_eq!(test_files(&parent), ["src/room/a/b.rs", "src/room/a/b/"]);
}

#[test]
fn rooms_and_depths_are_read_from_paths() {
    let at = |path: &str| {
        let source = Source::new(path, "");
        (source.room().map(str::to_owned), source.depth())
    };
    assert_eq!(at("src/lib.rs"), (None, 0));
    assert_eq!(at("src/base/mod.rs"), (Some("base".to_owned()), 0));
    assert_eq!(at("src/base/ids.rs"), (Some("base".to_owned()), 1));
    assert_eq!(at("src/storage/wal/mod.rs"), (Some("storage".to_owned()), 1));
    assert_eq!(at("src/storage/wal/open.rs"), (Some("storage".to_owned()), 2));
}
