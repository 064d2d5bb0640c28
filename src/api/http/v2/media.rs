//! Whether a `Content-Type` is one, as Go's `ParseMediaType` has it: etcd refuses a form under any other. Pure.

use std::collections::BTreeSet;

/// Beside letters and digits, what a token may hold.
const TOKEN_SIGNS: &[u8] = b"!#$%&'*+-.^_`{|}~";
/// What a backslash may stand before.
const ESCAPED_SIGNS: &[u8] = b"()<>@,;:\\\"/[]?=";

/// The type without its parameters, in small letters; what is wrong with it otherwise, in Go's words. What is not said
/// is bytes.
pub(super) fn kind(said: &[u8]) -> Result<String, &'static str> {
    if said.is_empty() {
        return Ok("application/octet-stream".to_owned());
    }
    let end = said.iter().position(|byte| *byte == b';').unwrap_or(said.len());
    let (name, parameters) = said.split_at(end);
    let name = name.trim_ascii().to_ascii_lowercase();
    check(&name)?;
    read(parameters)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn check(name: &[u8]) -> Result<(), &'static str> {
    let (first, rest) = token(name);
    if first.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest.strip_prefix(b"/").ok_or("mime: expected slash after first token")?;
    match token(rest) {
        (b"", _) => Err("mime: expected token after slash"),
        (_, b"") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// Each `; name=value`; a last semicolon may be bare.
fn read(parameters: &[u8]) -> Result<(), &'static str> {
    let mut names = BTreeSet::new();
    let mut rest = parameters.trim_ascii();
    while !matches!(rest, b"" | b";") {
        let (name, after) = parameter(rest).ok_or("mime: invalid media parameter")?;
        if !names.insert(name) {
            return Err("mime: duplicate parameter name");
        }
        rest = after.trim_ascii();
    }
    Ok(())
}

/// The name of the first one, and what stands behind its value.
fn parameter(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (name, rest) = token(text.strip_prefix(b";")?.trim_ascii_start());
    let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let after = match value.strip_prefix(b"\"") {
        Some(text) => quoted(text)?,
        None => {
            let (plain, after) = token(value);
            (!plain.is_empty()).then_some(after)?
        }
    };
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), after))
}

/// What stands behind the closing quote.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', sign, after @ ..] if ESCAPED_SIGNS.contains(sign) => after,
            [b'\r' | b'\n', ..] | [] => return None,
            [_, after @ ..] => after,
        };
    }
}

fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || TOKEN_SIGNS.contains(byte);
    text.split_at(text.iter().position(|byte| !is_of_one(byte)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_type_and_parameters() {
        for (said, name) in [
            ("", "application/octet-stream"),
            ("Text", "text"),
            ("A/B;", "a/b"),
            (" a/b ; ", "a/b"),
            ("a/b;c = d ; e*0=\"f;\\\" g\"", "a/b"),
            ("a/b; c=\"\"; d=\"ü\"", "a/b"),
        ] {
            assert_eq!(kind(said.as_bytes()).as_deref(), Ok(name), "{said}");
        }
    }

    #[test]
    fn what_is_none_is_told_as_go_tells_it() {
        let parameter = "mime: invalid media parameter";
        for (said, wrong) in [
            ("/b", "mime: no media type"),
            (";c=d", "mime: no media type"),
            ("a b", "mime: expected slash after first token"),
            ("a/", "mime: expected token after slash"),
            ("a/b c", "mime: unexpected content after media subtype"),
            ("a/b/c", "mime: unexpected content after media subtype"),
            ("a/b; c=d; C=e", "mime: duplicate parameter name"),
            ("a/b; c", parameter),
            ("a/b; c=", parameter),
            ("a/b; =d", parameter),
            ("a/b; c=\"d", parameter),
            ("a/b; c=d e", parameter),
            ("a/b; c=d;; e=f", parameter),
        ] {
            assert_eq!(kind(said.as_bytes()), Err(wrong), "{said}");
        }
    }
}
