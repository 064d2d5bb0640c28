//! The printer, and the page that an answer writes itself on.

use std::io::Write;

use crate::cli::args::Format;
use crate::cli::exit::{Code, Exit};
use crate::cli::go::quote;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::mvccpb::KeyValue;

use super::json::Object;
use super::table::Table;

/// An answer's shapes. One that has no such shape says so by none, and the command ends with etcdctl's exit code.
pub(crate) trait Show {
    fn simple(&self, page: &mut Page);

    fn fields(&self, page: &mut Page);

    /// etcdctl has no fields for some.
    fn has_fields(&self) -> bool {
        true
    }

    fn json(&self, hex: bool) -> String;

    fn table(&self) -> Option<Table> {
        None
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}

/// Chooses the shape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Printer {
    pub format: Format,
    pub hex: bool,
    /// `--print-value-only`.
    pub value_only: bool,
}

impl Printer {
    pub(crate) fn print(&self, answer: &impl Show) -> Result<(), Exit> {
        let mut page = Page { hex: self.hex, value_only: self.value_only, bytes: Vec::new() };
        match self.format {
            Format::Simple => answer.simple(&mut page),
            Format::Fields if !answer.has_fields() => return Err(unsupported("fields")),
            Format::Fields => answer.fields(&mut page),
            Format::Json => page.line(&answer.json(self.hex)),
            Format::Table => match answer.table() {
                Some(table) => page.line(&table.to_string()),
                None => return Err(unsupported("table")),
            },
            Format::Protobuf => match answer.protobuf() {
                Some(bytes) => page.bytes = bytes,
                None => return Err(unsupported("protobuf")),
            },
        }
        page.write()
    }
}

fn unsupported(format: &str) -> Exit {
    Exit::new(Code::BadFeature, format!("{format} not supported as output format"))
}

/// What will be written to stdout.
#[derive(Debug, Default)]
pub(crate) struct Page {
    hex: bool,
    value_only: bool,
    bytes: Vec<u8>,
}

impl Page {
    pub(crate) fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }

    pub(super) fn bytes_line(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.push(b'\n');
    }

    /// Key and value, a line each.
    pub(super) fn key_value(&mut self, kv: &KeyValue) {
        if !self.value_only {
            self.raw(&kv.key);
        }
        self.raw(&kv.value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.hex {
            self.line(&hex(bytes));
        } else {
            self.bytes_line(bytes);
        }
    }

    /// `"Name" : value`.
    pub(super) fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(&format!("\"{name}\" : {value}"));
    }

    /// The same with Go's quotes. As in etcdctl, `--hex` has no say here.
    pub(super) fn quoted(&mut self, name: &str, value: &[u8]) {
        self.field(name, quote(value));
    }

    pub(super) fn id(&mut self, name: &str, id: u64) {
        if self.hex {
            self.field(name, format!("{id:x}"));
        } else {
            self.field(name, id);
        }
    }

    pub(super) fn header(&mut self, header: Option<&ResponseHeader>) {
        let Some(header) = header else { return };
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    pub(super) fn key_value_fields(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.lease(&format!("{prefix}Lease"), kv.lease);
    }

    pub(super) fn lease(&mut self, name: &str, id: i64) {
        if self.hex {
            self.field(name, format!("{id:016x}"));
        } else {
            self.field(name, id);
        }
    }

    fn write(self) -> Result<(), Exit> {
        let mut out = std::io::stdout().lock();
        match out.write_all(&self.bytes).and_then(|()| out.flush()) {
            // Who reads us has read enough: `quorate get ... | head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(Exit::silent(Code::Io))
            }
            other => other.map_err(Exit::from),
        }
    }

    #[cfg(test)]
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// `\x66\x6f`.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The header as Go's JSON has it.
pub(super) fn header_json(header: Option<&ResponseHeader>) -> Object {
    let Some(header) = header else { return Object::default() };
    Object::default()
        .unsigned("cluster_id", header.cluster_id)
        .unsigned("member_id", header.member_id)
        .number("revision", header.revision)
        .unsigned("raft_term", header.raft_term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_hexadecimal() {
        assert_eq!(hex(b"fo"), r"\x66\x6f");
    }
}
