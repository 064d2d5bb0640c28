//! `get`, `put`, `del`, `compaction`: from words to requests.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;

use crate::client::{Client, prefix_end};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::args::Format;
use super::connect::Session;
use super::exit::{Code, Exit};
use super::go::{parse_hex_int, parse_int, quote};
use super::print::{Deleted, Got, Printer, Stored};

/// A word as the bytes that were typed.
pub(super) fn bytes(word: &OsStr) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

const SEVERAL: &str =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
const EITHER: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";

/// etcdctl does not look at further words, so scripts that have some go on working; a person is told.
pub(super) fn tell_ignored(more: &[OsString]) {
    for word in more {
        eprintln!("Warning: {} is one word too many and ignored", word.display());
    }
}

#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "quorate get [OPTIONS] KEY [RANGE_END]",
    after_help = "Examples:\n  \
        quorate get greeting                        the key and its value\n  \
        quorate get greeting --print-value-only\n  \
        quorate get --prefix config/ --keys-only    everything below config/\n  \
        quorate get a c                             from a up to c, c not included\n  \
        quorate get greeting --rev 5 -w json        as it was at revision 5\n  \
        quorate get --prefix \"\" --count-only -w fields"
)]
pub(super) struct Get {
    /// The key, or the first one of a range
    key: Option<OsString>,
    /// The end of a range, not included
    range_end: Option<OsString>,
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// KEY and every key after it
    #[arg(long)]
    from_key: bool,
    /// As the store was at this revision
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    rev: i64,
    /// At most so many keys; 0: all
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    limit: i64,
    /// ASCEND or DESCEND
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// KEY, VERSION, CREATE, MODIFY or VALUE
    #[arg(long, value_name = "FIELD")]
    sort_by: Option<String>,
    /// Keys without values
    #[arg(long)]
    keys_only: bool,
    /// Only the number of keys (with --write-out=fields)
    #[arg(long)]
    count_only: bool,
    /// Only the values (with --write-out=simple)
    #[arg(long)]
    print_value_only: bool,
    /// l: linearizable; s: serializable, what the asked member has
    #[arg(long, value_name = "l|s", default_value = "l")]
    consistency: String,
    /// Keys created at this revision or later
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    min_create_rev: i64,
    /// Keys created at this revision or before
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    max_create_rev: i64,
    /// Keys written last at this revision or later
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    min_mod_rev: i64,
    /// Keys written last at this revision or before
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    max_mod_rev: i64,
    /// Read it in pieces, however large it is
    #[arg(long)]
    stream: bool,
}

impl Get {
    pub(super) fn request(&self) -> Result<pb::RangeRequest, Exit> {
        let key = self.key.as_deref().ok_or_else(|| {
            Exit::bad_args(
                "get command needs one argument as key and an optional argument as range_end",
            )
        })?;
        if self.prefix && self.from_key {
            return Err(Exit::bad_args(EITHER));
        }
        if self.keys_only && self.count_only {
            return Err(Exit::bad_args(
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
            ));
        }
        let serializable = is_serializable(&self.consistency)?;
        let (key, range_end) = span(key, self.range_end.as_deref(), self.prefix, self.from_key)?;
        let mut request = pb::RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev.max(0),
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_create_revision: self.min_create_rev.max(0),
            min_mod_revision: self.min_mod_rev.max(0),
            ..Default::default()
        };
        request.set_sort_order(sort_order(self.order.as_deref().unwrap_or_default())?);
        request.set_sort_target(sort_target(self.sort_by.as_deref().unwrap_or_default())?);
        request.max_create_revision = span_of_revisions(
            ("getMinCreateRev", self.min_create_rev),
            ("getMaxCreateRev", self.max_create_rev),
        )?;
        request.max_mod_revision = span_of_revisions(
            ("getMinModRev", self.min_mod_rev),
            ("getMaxModRev", self.max_mod_rev),
        )?;
        Ok(request)
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let mut printer = session.printer;
        let request = self.request()?;
        tell_ignored(&self.more);
        if self.count_only && printer.format != Format::Fields {
            return Err(Exit::bad_args("--count-only is only for `--write-out=fields`"));
        }
        if self.print_value_only && printer.format != Format::Simple {
            return Err(Exit::bad_args("print-value-only is only for `--write-out=simple`"));
        }
        printer.value_only = self.print_value_only;
        let client = session.client().await?;
        if self.stream {
            return in_pieces(&client, &request, printer).await;
        }
        printer.print(&Got(&client.send(request).await?))
    }
}

/// Each piece as it comes, where it can be shown by itself.
async fn in_pieces(
    client: &Client,
    request: &pb::RangeRequest,
    printer: Printer,
) -> Result<(), Exit> {
    let mut pieces = client.range_stream(request).await?;
    let mut whole = pb::RangeResponse::default();
    while let Some(piece) = pieces.next().await? {
        if printer.format == Format::Simple {
            printer.print(&Got(&piece))?;
            continue;
        }
        whole.kvs.extend(piece.kvs);
        whole.header = piece.header.or(whole.header);
        whole.more |= piece.more;
        whole.count = whole.count.max(piece.count);
    }
    if printer.format == Format::Simple { Ok(()) } else { printer.print(&Got(&whole)) }
}

/// `--consistency`.
pub(super) fn is_serializable(word: &str) -> Result<bool, Exit> {
    match word {
        "l" => Ok(false),
        "s" => Ok(true),
        other => {
            let text = format!("unknown consistency flag {}", quote(other.as_bytes()));
            Err(Exit::new(Code::BadFeature, text))
        }
    }
}

fn sort_order(word: &str) -> Result<SortOrder, Exit> {
    match word.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort order {word}"))),
    }
}

fn sort_target(word: &str) -> Result<SortTarget, Exit> {
    match word.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "VERSION" => Ok(SortTarget::Version),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        _ => Err(Exit::new(Code::BadFeature, format!("bad sort target {word}"))),
    }
}

/// The upper end, 0 where there is none; it must not be below the lower one.
fn span_of_revisions((from, min): (&str, i64), (to, max): (&str, i64)) -> Result<i64, Exit> {
    if max > 0 && min > max {
        return Err(Exit::new(Code::BadFeature, format!("{from}(={min}) > {to}(={max})")));
    }
    Ok(max.max(0))
}

/// `key` and `range_end` of a request, with etcdctl's rules for what goes together.
pub(super) fn span(
    key: &OsStr,
    range_end: Option<&OsStr>,
    prefix: bool,
    from_key: bool,
) -> Result<(Bytes, Bytes), Exit> {
    if prefix && from_key {
        return Err(Exit::bad_args(EITHER));
    }
    if range_end.is_some() && (prefix || from_key) {
        return Err(Exit::bad_args(SEVERAL));
    }
    let key = bytes(key);
    // The smallest key is one zero byte, because no key is empty.
    let start = |key: Bytes| if key.is_empty() { Bytes::from_static(b"\0") } else { key };
    Ok(if prefix {
        let end = prefix_end(&key);
        (start(key), end)
    } else if from_key {
        (start(key), Bytes::from_static(b"\0"))
    } else {
        (key, range_end.map(bytes).unwrap_or_default())
    })
}

const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "quorate put [OPTIONS] KEY [VALUE]",
    after_help = "Examples:\n  \
        quorate put greeting hello\n  \
        quorate put config/app < app.yaml           the value from a file\n  \
        quorate put greeting hello --prev-kv        and show what it replaces\n  \
        quorate put worker/1 alive --lease 694d5765fc71500b\n  \
        quorate put temperature -- -5               a value that begins with a dash"
)]
pub(super) struct Put {
    /// The key
    key: Option<OsString>,
    /// Its value; read from stdin if it is not given
    value: Option<OsString>,
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// Deleted when this lease (hexadecimal) ends
    #[arg(long, value_name = "ID", default_value = "0", hide_default_value = true)]
    lease: String,
    /// Print what was there before
    #[arg(long)]
    prev_kv: bool,
    /// Keep the value that is there
    #[arg(long)]
    ignore_value: bool,
    /// Keep the lease that is there
    #[arg(long)]
    ignore_lease: bool,
}

impl Put {
    /// `read` is asked for the value when it was not given.
    pub(super) fn request(
        &self,
        read: impl FnOnce() -> Result<Bytes, Exit>,
    ) -> Result<pb::PutRequest, Exit> {
        let key = self.key.as_deref().ok_or_else(|| Exit::bad_args(NEEDS))?;
        let value = match &self.value {
            Some(_) if self.ignore_value => {
                return Err(Exit::bad_args(
                    "put command needs only 1 argument when 'ignore-value' is set",
                ));
            }
            Some(value) => bytes(value),
            None if self.ignore_value => Bytes::new(),
            None => read()?,
        };
        let lease = parse_hex_int(&self.lease).map_err(|error| {
            Exit::bad_args(format!("bad lease ID ({error}), expecting ID in Hex"))
        })?;
        Ok(pb::PutRequest {
            key: bytes(key),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let request = self.request(|| {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value)?;
            if value.is_empty() { Err(Exit::bad_args(NEEDS)) } else { Ok(Bytes::from(value)) }
        })?;
        tell_ignored(&self.more);
        let answer = session.client().await?.send(request).await?;
        session.printer.print(&Stored(&answer))
    }
}

#[derive(Args, Clone, Debug, Default)]
#[command(
    override_usage = "quorate del [OPTIONS] KEY [RANGE_END]",
    after_help = "Examples:\n  \
        quorate del greeting\n  \
        quorate del --prefix config/ --prev-kv      and show what was there\n  \
        quorate del --range a c                     from a up to c, c not included\n\n\
        With RANGE_END and without --range it waits for 2 seconds, so that Ctrl-C can stop it."
)]
pub(super) struct Del {
    /// The key, or the first one of a range
    key: Option<OsString>,
    /// The end of a range, not included
    range_end: Option<OsString>,
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// KEY and every key after it
    #[arg(long)]
    from_key: bool,
    /// Print what was there before
    #[arg(long)]
    prev_kv: bool,
    /// A range is meant: do not wait
    #[arg(long)]
    range: bool,
}

impl Del {
    pub(super) fn request(&self) -> Result<pb::DeleteRangeRequest, Exit> {
        let key = self.key.as_deref().filter(|_| self.more.is_empty()).ok_or_else(|| {
            Exit::bad_args(
                "del command needs one argument as key and an optional argument as range_end",
            )
        })?;
        let (key, range_end) = span(key, self.range_end.as_deref(), self.prefix, self.from_key)?;
        Ok(pb::DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv })
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let request = self.request()?;
        if self.range_end.is_some() && !self.range {
            eprintln!(
                "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 seconds \
                 to cancel. You can provide `--range` flag to avoid the delay.",
                quote(&request.key),
                quote(&request.range_end)
            );
            tokio::time::sleep(REGRET).await;
        }
        let answer = session.client().await?.send(request).await?;
        session.printer.print(&Deleted(&answer))
    }
}

/// Time to think again before a range is deleted, as etcdctl gives it.
const REGRET: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate compaction [OPTIONS] REVISION",
    after_help = "Examples:\n  \
        quorate compaction 1000                     forget what was overwritten before revision 1000\n  \
        quorate compaction 1000 --physical          and wait until it is gone from the disk"
)]
pub(super) struct Compaction {
    /// What was overwritten or deleted before it is forgotten
    revision: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// Answer when the rows are gone from the disk
    #[arg(long)]
    physical: bool,
}

impl Compaction {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let revision = self
            .revision
            .filter(|_| self.more.is_empty())
            .ok_or_else(|| Exit::bad_args("compaction command needs 1 argument"))?;
        let revision = parse_int(&revision).map_err(Exit::error)?;
        session.client().await?.compact(revision, self.physical).await?;
        println!("compacted revision {revision}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_etcdctl_does() {
        let span = |key: &str, end: Option<&str>, prefix, from_key| {
            span(key.as_ref(), end.map(OsStr::new), prefix, from_key)
        };
        assert_eq!(span("a", None, false, false).unwrap(), ("a".into(), "".into()));
        assert_eq!(span("a", Some("c"), false, false).unwrap(), ("a".into(), "c".into()));
        assert_eq!(span("a", None, true, false).unwrap(), ("a".into(), "b".into()));
        assert_eq!(span("", None, true, false).unwrap(), ("\0".into(), "\0".into()));
        assert_eq!(span("b", None, false, true).unwrap(), ("b".into(), "\0".into()));
        assert_eq!(span("a", None, true, true).unwrap_err().code, Code::BadArgs);
        assert_eq!(span("a", Some("c"), true, false).unwrap_err().code, Code::BadArgs);
    }

    #[test]
    fn a_put_reads_its_value_only_when_it_has_none() {
        let stdin = || Ok(Bytes::from_static(b"typed\n"));
        let never = || Err(Exit::error("asked"));
        let put = Put { key: Some("k".into()), lease: "1f".into(), ..Put::default() };
        assert_eq!(put.request(stdin).unwrap().value, "typed\n");
        assert_eq!(put.request(stdin).unwrap().lease, 31);
        let ignoring = Put { ignore_value: true, ..put.clone() };
        assert_eq!(ignoring.request(never).unwrap().value, "");
        let given = Put { value: Some("v".into()), ..put.clone() };
        assert_eq!(given.request(never).unwrap().value, "v");
        let both = Put { ignore_value: true, ..given };
        assert!(both.request(never).is_err());
        let wrong = Put { lease: "zz".into(), ..put };
        assert!(wrong.request(stdin).unwrap_err().text.contains("bad lease ID"));
    }
}
