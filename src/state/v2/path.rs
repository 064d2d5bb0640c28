//! Keys are paths: clean, absolute, bytes of any kind but `/` in their names.

/// The path as Go's `path.Clean` has it, from the root: no empty names, no `.`, no `..`, no `/` at the end.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut clean = Vec::with_capacity(path.len() + 1);
    for name in &names {
        clean.push(b'/');
        clean.extend_from_slice(name);
    }
    if clean.is_empty() { b"/".to_vec() } else { clean }
}

pub(super) fn is_root(path: &[u8]) -> bool {
    path == b"/"
}

/// The directory and the name of a clean path; the root has neither.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if is_root(path) {
        return None;
    }
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let (directory, name) = path.split_at(at);
    let directory = if directory.is_empty() { &b"/"[..] } else { directory };
    Some((directory, name.get(1..)?))
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = if is_root(directory) { &b""[..] } else { directory };
    [directory, b"/", name].concat()
}

/// The directories above a clean path, from below the root downwards.
pub(super) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    ends.filter_map(move |(at, _)| path.get(..at))
}

/// Whether `path` lies below `directory`.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    if is_root(directory) {
        return !is_root(path);
    }
    path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Not listed in its directory.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'_')
}

/// Whether a watcher of `watched` is not told of `path`: the way down from the one to the other is hidden.
pub(super) fn is_hidden_below(watched: &[u8], path: &[u8]) -> bool {
    let rest = if is_root(watched) { path } else { path.get(watched.len()..).unwrap_or_default() };
    rest.windows(2).any(|pair| pair == b"/_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_path_has_a_directory_a_name_and_ancestors() {
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"/a/b"), Some((&b"/a"[..], &b"b"[..])));
        assert_eq!(split(b"/"), None);
        assert_eq!((join(b"/", b"a"), join(b"/a", b"b")), (b"/a".to_vec(), b"/a/b".to_vec()));
        assert_eq!(ancestors(b"/a/b/c").collect::<Vec<_>>(), [&b"/a"[..], b"/a/b"]);
        assert_eq!(ancestors(b"/a").count() + ancestors(b"/").count(), 0);
    }

    #[test]
    fn below_is_not_beside() {
        assert!(is_below(b"/a/b", b"/a") && is_below(b"/a", b"/"));
        assert!(!is_below(b"/ab", b"/a") && !is_below(b"/a", b"/a") && !is_below(b"/", b"/"));
    }

    #[test]
    fn hidden_is_what_lies_behind_an_underscore_below_the_watcher() {
        assert!(is_hidden_below(b"/", b"/_a") && is_hidden_below(b"/a", b"/a/b/_c/d"));
        assert!(!is_hidden_below(b"/_a", b"/_a/b") && !is_hidden_below(b"/", b"/a_"));
        assert!(!is_hidden_below(b"/a/b/c", b"/a"), "a directory above was deleted");
    }
}
