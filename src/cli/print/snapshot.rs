//! What a snapshot's file holds.

use crate::cli::duration::format_bytes;
use crate::node::{HashedFile, SnapshotContent};

use super::json::{Object, text};
use super::page::{Page, Show};
use super::table::Table;

pub(crate) struct Inspected<'a>(pub &'a SnapshotContent);

impl Inspected<'_> {
    fn bytes(&self) -> i64 {
        i64::try_from(self.0.bytes).unwrap_or(i64::MAX)
    }
}

impl Show for Inspected<'_> {
    fn simple(&self, page: &mut Page) {
        for row in self.table().into_iter().flat_map(|table| table.rows) {
            page.line(&row.join(", "));
        }
    }

    fn fields(&self, page: &mut Page) {
        page.field("Hash", self.0.hash);
        page.field("Revision", self.0.stamp.revision);
        page.field("Keys", self.0.rows);
        page.field("Size", self.bytes());
        page.field("Version", text(env!("CARGO_PKG_VERSION")));
    }

    fn json(&self, _: bool) -> String {
        Object::default()
            .raw("hash", self.0.hash)
            .raw("revision", self.0.stamp.revision)
            .raw("totalKey", self.0.rows)
            .raw("totalSize", self.bytes())
            .raw("version", text(env!("CARGO_PKG_VERSION")))
            .encode()
    }

    fn table(&self) -> Option<Table> {
        let row = vec![
            format!("{:x}", self.0.hash),
            self.0.stamp.revision.to_string(),
            self.0.rows.to_string(),
            format_bytes(self.bytes()),
            env!("CARGO_PKG_VERSION").to_owned(),
        ];
        let header = vec!["hash", "revision", "total keys", "total size", "storage version"];
        Some(Table { header, rows: vec![row] })
    }
}

impl Show for HashedFile {
    fn simple(&self, page: &mut Page) {
        for row in self.table().into_iter().flat_map(|table| table.rows) {
            page.line(&row.join(", "));
        }
    }

    fn fields(&self, page: &mut Page) {
        page.field("Hash", self.hash);
        page.field("Hash revision", self.revision);
        page.field("Compact revision", self.compacted);
    }

    fn json(&self, _: bool) -> String {
        Object::default()
            .raw("hash", self.hash)
            .raw("hashRevision", self.revision)
            .raw("compactRevision", self.compacted)
            .encode()
    }

    fn table(&self) -> Option<Table> {
        let row =
            vec![self.hash.to_string(), self.revision.to_string(), self.compacted.to_string()];
        let header = vec!["hash", "hash revision", "compact revision"];
        Some(Table { header, rows: vec![row] })
    }
}
