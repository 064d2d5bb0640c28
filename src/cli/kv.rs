//! `get`, `put`, `del`, `compaction`: from words to requests.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use clap::Args;

use crate::client::prefix_end;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::args::Format;
use super::connect::Session;
use super::duration::parse_hex;
use super::exit::{Code, Exit};
use super::print::{Compacted, Deleted, Got, Stored};

/// A word as the bytes that were typed.
pub(super) fn bytes(word: &OsStr) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Get {
    /// The key, or the first one of a range
    key: OsString,
    /// The end of a range, not included
    range_end: Option<OsString>,
    /// l: linearizable; s: serializable, what the asked member has
    #[arg(long, value_name = "l|s", default_value = "l")]
    consistency: String,
    /// ASCEND or DESCEND
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// KEY, VERSION, CREATE, MODIFY or VALUE
    #[arg(long, value_name = "FIELD")]
    sort_by: Option<String>,
    /// At most so many keys; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: i64,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// KEY and every key after it
    #[arg(long)]
    from_key: bool,
    /// As the store was at this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    rev: i64,
    /// Keys without values
    #[arg(long)]
    keys_only: bool,
    /// Only the number of keys (with --write-out=fields)
    #[arg(long)]
    count_only: bool,
    /// Only the values
    #[arg(long)]
    print_value_only: bool,
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide = true)]
    min_create_rev: i64,
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide = true)]
    max_create_rev: i64,
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide = true)]
    min_mod_rev: i64,
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide = true)]
    max_mod_rev: i64,
}

impl Get {
    pub(super) fn request(&self) -> Result<pb::RangeRequest, Exit> {
        let serializable = match self.consistency.as_str() {
            "l" => false,
            "s" => true,
            other => {
                let text = format!("unknown consistency flag {other:?}: it is l or s");
                return Err(Exit::new(Code::BadFeature, text));
            }
        };
        let (key, range_end) =
            span(&self.key, self.range_end.as_deref(), self.prefix, self.from_key)?;
        let mut request = pb::RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev,
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: self.min_mod_rev,
            max_mod_revision: self.max_mod_rev,
            min_create_revision: self.min_create_rev,
            max_create_revision: self.max_create_rev,
            ..Default::default()
        };
        request.set_sort_order(match upper(self.order.as_ref()).as_str() {
            "" => SortOrder::None,
            "ASCEND" => SortOrder::Ascend,
            "DESCEND" => SortOrder::Descend,
            other => return Err(Exit::new(Code::BadFeature, format!("bad sort order {other}"))),
        });
        request.set_sort_target(match upper(self.sort_by.as_ref()).as_str() {
            "" | "KEY" => SortTarget::Key,
            "VERSION" => SortTarget::Version,
            "CREATE" => SortTarget::Create,
            "MODIFY" => SortTarget::Mod,
            "VALUE" => SortTarget::Value,
            other => return Err(Exit::new(Code::BadFeature, format!("bad sort target {other}"))),
        });
        Ok(request)
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let mut printer = session.printer;
        if self.count_only && printer.format != Format::Fields {
            return Err(Exit::bad_args("--count-only is only for `--write-out=fields`"));
        }
        if self.print_value_only && printer.format != Format::Simple {
            return Err(Exit::bad_args("--print-value-only is only for `--write-out=simple`"));
        }
        printer.value_only = self.print_value_only;
        let request = self.request()?;
        let answer = session.client().await?.send(request).await?;
        printer.print(&Got(&answer))
    }
}

fn upper(word: Option<&String>) -> String {
    word.map(|word| word.to_uppercase()).unwrap_or_default()
}

/// `key` and `range_end` of a request, with etcdctl's rules for what goes together.
pub(super) fn span(
    key: &OsStr,
    range_end: Option<&OsStr>,
    prefix: bool,
    from_key: bool,
) -> Result<(Bytes, Bytes), Exit> {
    if prefix && from_key {
        return Err(Exit::bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    if range_end.is_some() && (prefix || from_key) {
        return Err(Exit::bad_args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
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

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Put {
    key: OsString,
    /// Read from stdin if it is not given
    value: Option<OsString>,
    /// Deleted when this lease (hexadecimal) ends
    #[arg(long, value_name = "ID", default_value = "0")]
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
        let value = match &self.value {
            Some(_) if self.ignore_value => {
                return Err(Exit::bad_args("--ignore-value keeps the value: give none"));
            }
            Some(value) => bytes(value),
            None if self.ignore_value => Bytes::new(),
            None => read()?,
        };
        Ok(pb::PutRequest {
            key: bytes(&self.key),
            value,
            lease: lease_id(&self.lease)?,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let request = self.request(|| {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value)?;
            Ok(Bytes::from(value))
        })?;
        let answer = session.client().await?.send(request).await?;
        session.printer.print(&Stored(&answer))
    }
}

/// A lease's id as it is passed around.
pub(super) fn lease_id(text: &str) -> Result<i64, Exit> {
    let id = parse_hex("lease", text).map_err(Exit::bad_args)?;
    i64::try_from(id).map_err(|_| Exit::bad_args(format!("bad lease ID {text:?}: it is too large")))
}

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Del {
    /// The key, or the first one of a range
    key: OsString,
    /// The end of a range, not included
    range_end: Option<OsString>,
    /// Every key that begins with KEY
    #[arg(long)]
    prefix: bool,
    /// KEY and every key after it
    #[arg(long)]
    from_key: bool,
    /// Print what was there before
    #[arg(long)]
    prev_kv: bool,
    /// A range is meant (as it is anyway with two arguments)
    #[arg(long, hide = true)]
    range: bool,
}

impl Del {
    pub(super) fn request(&self) -> Result<pb::DeleteRangeRequest, Exit> {
        let (key, range_end) =
            span(&self.key, self.range_end.as_deref(), self.prefix, self.from_key)?;
        Ok(pb::DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv })
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let request = self.request()?;
        let answer = session.client().await?.send(request).await?;
        session.printer.print(&Deleted(&answer))
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct Compaction {
    /// What was overwritten or deleted before it is forgotten
    revision: i64,
    /// Answer when the rows are gone from the disk
    #[arg(long)]
    physical: bool,
}

impl Compaction {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let client = session.client().await?;
        let answer = client.compact(self.revision, self.physical).await?;
        session.printer.print(&Compacted(self.revision, &answer))
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
        let put = Put { key: "k".into(), lease: "1f".into(), ..Put::default() };
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
