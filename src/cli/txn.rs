//! `txn`: etcdctl's lines of compares and operations, from a person or from stdin.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;

use super::args::without_go_switches;
use super::connect::Session;
use super::exit::{Code, Exit};
use super::go::{parse_hex_int, parse_int, quote};
use super::kv;
use super::mistyped::first_line;
use super::print::Transacted;

/// Compares, an empty line, operations for when they hold, an empty line, operations for when they do not, an empty
/// line.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate txn [OPTIONS]",
    after_help = "Lines:\n  mod(\"key\") > \"0\"      also version, create, value, lease; =, !=, <, >\n  \
                        put key value       get and del too, with their flags\n\n\
        Examples:\n  quorate txn -i\n  quorate txn <<'END'\n  \
        value(\"greeting\") = \"hello\"\n\n  put greeting goodbye\n\n  get greeting\n\n  END"
)]
pub(super) struct Txn {
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// Say what is expected before each part
    #[arg(short = 'i', long)]
    interactive: bool,
}

impl Txn {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        if !self.more.is_empty() {
            return Err(Exit::bad_args("txn command does not accept argument"));
        }
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
    let compare = part(input, parse_compare)?;
    prompt("success requests (get, put, del):");
    let success = part(input, parse_op)?;
    prompt("failure requests (get, put, del):");
    let failure = part(input, parse_op)?;
    Ok(pb::TxnRequest { compare, success, failure })
}

/// Lines up to an empty one, each understood before the next is read. An input that ends earlier is a mistake: what
/// wrote it may have died in the middle.
fn part<T>(
    input: &mut dyn BufRead,
    parse: impl Fn(&str) -> Result<T, Exit>,
) -> Result<Vec<T>, Exit> {
    let mut parsed = Vec::new();
    loop {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(invalid("EOF (each of the three parts ends with an empty line)"));
        }
        let line = String::from_utf8(line)
            .map_err(|_| invalid("a line is not UTF-8: write bytes as \\xNN"))?;
        match line.trim() {
            "" => return Ok(parsed),
            line => parsed.push(parse(line)?),
        }
    }
}

fn invalid(text: impl Into<String>) -> Exit {
    Exit::new(Code::InvalidInput, text)
}

/// `target("key") op "value"`; refused with etcdctl's texts.
fn parse_compare(line: &str) -> Result<pb::Compare, Exit> {
    let malformed = || invalid(format!("malformed comparison: {line}"));
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let got = |key: &[u8], operator: &str| {
        let (key, value) = (quote(key), quote(b""));
        invalid(format!("malformed comparison: {line}; got {target}({key}) {operator} {value}"))
    };
    let (key, rest) = quoted(rest.trim_start()).ok_or_else(|| got(b"", ""))?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(|| got(&key, ""))?;
    let rest = rest.trim_start();
    let split = rest.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(rest.len());
    let (operator, rest) = rest.split_at(split);
    let (value, rest) = quoted(rest.trim_start()).ok_or_else(|| got(&key, operator))?;
    if !rest.trim().is_empty() {
        return Err(invalid(format!("malformed comparison: {line} (something follows the value)")));
    }
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        ">" => CompareResult::Greater,
        _ => {
            let text = format!("malformed comparison: {line} (the operator is =, !=, < or >)");
            return Err(invalid(text));
        }
    };
    let text = String::from_utf8_lossy(&value).into_owned();
    let not_a_number = |_| invalid(format!("invalid txn compare request: {line}"));
    let number = || parse_int(&text).map_err(not_a_number);
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => {
            let id = parse_hex_int(&text).map_err(not_a_number)?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        _ => {
            let text = format!("malformed comparison: {line} (unknown target {target})");
            return Err(invalid(text));
        }
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
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    infer_subcommands = true,
    args_override_self = true
)]
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
    let wrong = |why: &str| invalid(format!("invalid txn request: {line} ({why})"));
    let words: Vec<OsString> = split_words(line)
        .ok_or_else(|| wrong("a quote is not closed"))?
        .into_iter()
        .map(OsString::from_vec)
        .collect();
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let words = without_go_switches(&Line::command(), words);
    let parsed = Line::try_parse_from(words).map_err(|error| wrong(&first_line(&error)))?;
    let request = match parsed.op {
        Op::Get(get) => Request::RequestRange(get.request()?),
        Op::Del(del) => Request::RequestDeleteRange(del.request()?),
        Op::Put(put) => Request::RequestPut(put.request(|| Err(wrong("put needs a value")))?),
    };
    Ok(pb::RequestOp { request: Some(request) })
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
        assert_eq!(told("bad\n"), "malformed comparison: bad");
        assert!(told("mod(\"k\") ~ \"0\"\n").contains("the operator is"));
        assert!(told("mood(\"k\") = \"0\"\n").contains("(unknown target mood)"));
        let text = "invalid txn compare request: mod(\"k\") = \"x\"";
        assert_eq!(told("mod(\"k\") = \"x\"\n"), text);
        let text = "malformed comparison: mod(k) = \"0\"; got mod(\"\")  \"\"";
        assert_eq!(told("mod(k) = \"0\"\n"), text);
        assert!(told("mod(\"k\") > \"0\"\n\nput k v\n").starts_with("EOF"));
        assert!(told("\nput k\n").contains("put needs a value"));
        assert!(told("\nput \"k v\n").contains("a quote is not closed"));
        assert!(told("\npot k v\n").contains("invalid txn request: pot k v"));
    }
}
