//! One segment file as the writer holds it, and the names of files.

use std::sync::Arc;

use super::super::disk::{Disk, DiskFile};
use super::super::fault::Fault;
use super::format::{BadHeader, FORMAT_VERSION, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::WalConfig;
use crate::base::Index;

/// A spare that was never used; recycled ones keep the number they had.
pub(super) const FRESH_SPARE: &str = "fresh.spare";

/// On its way to become a segment for one large batch.
pub(super) const LARGE_SPARE: &str = "large.spare";

/// A segment in use.
pub(super) struct Segment {
    pub(super) generation: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Length of the file.
    pub(super) bytes: u64,
    /// Where the next batch goes.
    pub(super) used: u64,
    /// No live entry of this segment has a higher index.
    pub(super) last_index: Index,
}

pub(in crate::storage) fn segment_name(generation: u64) -> String {
    format!("{generation:016x}.wal")
}

pub(super) fn spare_name(generation: u64) -> String {
    format!("{generation:016x}.spare")
}

/// What lies in the directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Generations, ascending.
    pub(super) segments: Vec<u64>,
    pub(super) spares: Vec<String>,
}

impl Listing {
    /// Files of other names are nobody's business here.
    pub(super) fn read(disk: &dyn Disk) -> Result<Self, Fault> {
        let names =
            disk.list().map_err(|source| Fault::io("list the log's directory", "wal", source))?;
        let mut listing = Self::default();
        for name in names {
            if let Some(generation) = name.strip_suffix(".wal")
                && let Ok(number) = u64::from_str_radix(generation, 16)
                && segment_name(number) == name
            {
                listing.segments.push(number);
            } else if name.ends_with(".spare") {
                listing.spares.push(name);
            }
        }
        listing.segments.sort_unstable();
        listing.spares.sort_unstable();
        Ok(listing)
    }
}

/// Reads and judges a segment's header.
pub(super) fn read_header(
    file: &dyn DiskFile,
    generation: u64,
    config: &WalConfig,
) -> Result<SegmentHeader, Fault> {
    let name = segment_name(generation);
    let failed = |source| Fault::io("read the log segment", &name, source);
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
    if file.bytes().map_err(failed)? < SEGMENT_HEADER_BYTES {
        return Err(Fault::corrupt("a log segment is shorter than its header", name));
    }
    file.read_at(&mut bytes, 0).map_err(failed)?;
    let place = format!("{name} at offset 0");
    let header = SegmentHeader::decode(&bytes).map_err(|bad| match bad {
        BadHeader::NotASegment => Fault::corrupt("a log segment does not begin as one", &place),
        BadHeader::Checksum => Fault::corrupt("a log segment's header fails its checksum", &place),
        BadHeader::Version(found) => Fault::Foreign {
            what: format!("log format {found}, and this program reads {FORMAT_VERSION}"),
            place: name.clone(),
        },
    })?;
    if (header.cluster, header.member) != (config.cluster, config.member) {
        let what = format!(
            "the log of member {} of cluster {}, and this is member {} of cluster {}",
            header.member, header.cluster, config.member, config.cluster
        );
        return Err(Fault::Foreign { what, place: name });
    }
    if header.generation != generation {
        let what = format!("a log segment says that it is number {:016x}", header.generation);
        return Err(Fault::corrupt(what, place));
    }
    Ok(header)
}
