//! `txn`: etcdctl's lines of compares and operations, from a person or from stdin.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use clap::{Args, Parser, Subcommand};

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;

use super::connect::Session;
use super::exit::{Code, Exit};
use super::kv;
use super::print::Transacted;

/// Compares, a blank line, operations for when they hold, a blank line, operations for when they do not, a blank line.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Lines:\n  mod(\"key\") > \"0\"      also version, create, value, lease; =, !=, <, >\n  \
                        put key value       get and del too, with their flags"
)]
pub(super) struct Txn {
    /// Say what is expected before each part
    #[arg(short = 'i', long)]
    interactive: bool,
}

impl Txn {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let request = read(&mut std::io::stdin().lock(), self.interactive)?;
        let answer = session.client().await?.send(request).await?;
        session.printer.print(&Transacted(&answer))
    }
}

fn read(input: &mut dyn BufRead, interactive: bool) -> Result<pb::TxnRequest, Exit> {
    let prompt = |text: &str| {
        if interactive {
            println!("{text}");
        }
    };
    prompt("compares:");
    let compare = part(input)?.iter().map(|line| parse_compare(line)).collect::<Result<_, _>>()?;
    prompt("success requests (get, put, del):");
    let success = part(input)?.iter().map(|line| parse_op(line)).collect::<Result<_, _>>()?;
    prompt("failure requests (get, put, del):");
    let failure = part(input)?.iter().map(|line| parse_op(line)).collect::<Result<_, _>>()?;
    Ok(pb::TxnRequest { compare, success, failure })
}

/// Lines up to a blank one; the end of the input ends a part, too.
fn part(input: &mut dyn BufRead) -> Result<Vec<String>, Exit> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let count = input.read_until(b'\n', &mut line)?;
        let line = String::from_utf8(line).map_err(|_| {
            Exit::new(Code::InvalidInput, "a line is not UTF-8: write bytes as \\xNN")
        })?;
        let line = line.trim();
        if count == 0 || line.is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_owned());
    }
}

/// `target("key") op "value"`.
fn parse_compare(line: &str) -> Result<pb::Compare, Exit> {
    let wrong = |why: &str| {
        Exit::new(
            Code::InvalidInput,
            format!("malformed comparison: {line} ({why}); write one such as mod(\"key\") > \"0\""),
        )
    };
    let (target, rest) = line.split_once('(').ok_or_else(|| wrong("no parenthesis"))?;
    let (key, rest) = quoted(rest).ok_or_else(|| wrong("the key has no quotes"))?;
    let rest =
        rest.trim_start().strip_prefix(')').ok_or_else(|| wrong("no closing parenthesis"))?;
    let rest = rest.trim_start();
    let split = rest.find('"').ok_or_else(|| wrong("the value has no quotes"))?;
    let (operator, rest) = (rest[..split].trim(), &rest[split..]);
    let (value, rest) = quoted(rest).ok_or_else(|| wrong("the value has no quotes"))?;
    if !rest.trim().is_empty() {
        return Err(wrong("something follows the value"));
    }
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        ">" => CompareResult::Greater,
        _ => return Err(wrong("the operator is =, !=, < or >")),
    };
    let number = || {
        let text = String::from_utf8_lossy(&value);
        text.parse::<i64>().map_err(|_| wrong("the value is no whole number"))
    };
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => {
            let id = kv::lease_id(&String::from_utf8_lossy(&value))?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        _ => return Err(wrong("the target is version, create, mod, value or lease")),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        range_end: Bytes::new(),
    })
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    op: Op,
}

#[derive(Subcommand)]
enum Op {
    Get(kv::Get),
    Put(kv::Put),
    Del(kv::Del),
}

/// `put key value`, `get key`, `del key`, with their flags.
fn parse_op(line: &str) -> Result<pb::RequestOp, Exit> {
    let wrong =
        |why: &str| Exit::new(Code::InvalidInput, format!("invalid txn request: {line} ({why})"));
    let words: Vec<OsString> = split_words(line)
        .ok_or_else(|| wrong("a quote is not closed"))?
        .into_iter()
        .map(OsString::from_vec)
        .collect();
    let parsed = Line::try_parse_from(words).map_err(|error| wrong(&first_line(&error)))?;
    let request = match parsed.op {
        Op::Get(get) => Request::RequestRange(get.request()?),
        Op::Del(del) => Request::RequestDeleteRange(del.request()?),
        Op::Put(put) => Request::RequestPut(put.request(|| Err(wrong("put needs a value")))?),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

/// clap's message without usage and hints.
pub(super) fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Words between blanks; with single quotes as they are, with double quotes unescaped. None if a quote stays open.
pub(super) fn split_words(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        while let Some(first) = rest.chars().next().filter(|c| !c.is_whitespace()) {
            if first == '"' {
                let (text, after) = quoted(rest)?;
                word.extend(text);
                rest = after;
            } else if first == '\'' {
                let (text, after) = rest[1..].split_once('\'')?;
                word.extend(text.as_bytes());
                rest = after;
            } else {
                word.extend(&rest.as_bytes()[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    Some(words)
}

/// The bytes between double quotes at the front, unescaped as Go does, and what follows.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((out, rest)),
            '\\' => rest = unescape(rest, &mut out)?,
            c => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What follows a backslash.
fn unescape<'a>(rest: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let simple = match c {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'a' => 7,
        'b' => 8,
        'v' => 11,
        'f' => 12,
        '\\' | '"' | '\'' => c as u8,
        'x' => {
            out.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            return after.get(2..);
        }
        'u' => {
            let c = char::from_u32(u32::from_str_radix(after.get(..4)?, 16).ok()?)?;
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            return after.get(4..);
        }
        '0'..='7' => {
            out.push(u8::from_str_radix(rest.get(..3)?, 8).ok()?);
            return rest.get(3..);
        }
        _ => return None,
    };
    out.push(simple);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcdctls_example_is_read() {
        let lines = "mod(\"key1\") > \"0\"\n\nput key1 \"overwrote-key1\"\n\nput key1 'created key1'\nput key2 \"some extra key\" --prev-kv\n\n";
        let txn = read(&mut lines.as_bytes(), false).unwrap();
        assert_eq!(txn.compare[0].target_union, Some(TargetUnion::ModRevision(0)));
        assert_eq!(txn.compare[0].result(), CompareResult::Greater);
        assert_eq!(txn.success.len(), 1);
        let Some(Request::RequestPut(put)) = &txn.failure[0].request else { panic!("no put") };
        assert_eq!((&put.key[..], &put.value[..]), (&b"key1"[..], &b"created key1"[..]));
        let Some(Request::RequestPut(put)) = &txn.failure[1].request else { panic!("no put") };
        assert!(put.prev_kv && put.value == "some extra key");
    }

    #[test]
    fn compares_know_every_target_and_gos_quotes() {
        let union = |line: &str| parse_compare(line).unwrap().target_union.unwrap();
        assert_eq!(union(r#"ver("k")="1""#), TargetUnion::Version(1));
        assert_eq!(union(r#"c("k") != "2""#), TargetUnion::CreateRevision(2));
        assert_eq!(
            union(r#"val("k") < "a\x01\"b""#),
            TargetUnion::Value(Bytes::from_static(b"a\x01\"b"))
        );
        assert_eq!(union(r#"lease("k") = "1f""#), TargetUnion::Lease(31));
    }

    #[test]
    fn a_mistaken_line_is_shown_with_its_mistake() {
        let told = |lines: &str| {
            let exit = read(&mut lines.as_bytes(), false).unwrap_err();
            assert_eq!(exit.code, Code::InvalidInput);
            exit.text
        };
        assert!(told("mod(\"k\") ~ \"0\"\n").contains("the operator is"));
        assert!(told("mood(\"k\") = \"0\"\n").contains("the target is"));
        assert!(told("mod(\"k\") = \"x\"\n").contains("no whole number"));
        assert!(told("mod(k) = \"0\"\n").contains("the key has no quotes"));
        assert!(told("\nput k\n").contains("put needs a value"));
        assert!(told("\nput \"k v\n").contains("a quote is not closed"));
        assert!(told("\npot k v\n").contains("invalid txn request: pot k v"));
    }
}
