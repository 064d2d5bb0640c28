//! Bytes that reach the disk. /proc/PID/io counts a whole folio of the page cache where one block of it was written, so
//! the device itself is asked; what other programs write meanwhile counts, too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::cluster::Cluster;
use crate::load;
use crate::rows::{self, By, Driver, Row};

/// A key and a value, as both programs have them when nothing else is said.
const PUT_BYTES: f64 = 32.0 + 256.0;

/// Bytes written to the device for each byte of keys and values put, by all members together.
pub(crate) fn written(cluster: &Cluster, seconds: u64) -> Outcome<Option<f64>> {
    let row = Row {
        name: "written",
        driver: Driver::Ours,
        title: String::new(),
        load: "put",
        words: rows::words(&["--in-flight=256", "--warm-up=0s"]),
        by: By::Throughput,
        aim: None,
        prepares: false,
        seconds: None,
        pairs: None,
    };
    let Some(before) = synced(&cluster.dir)? else { return Ok(None) };
    let run = load::run(cluster, &row, seconds)?;
    let after = synced(&cluster.dir)?.unwrap_or(before);
    let put = run["operations"].as_f64().unwrap_or(0.0) * PUT_BYTES;
    Ok((put > 0.0).then(|| (after - before) as f64 / put))
}

/// Bytes written to the device under `dir` when all that was written is there.
fn synced(dir: &Path) -> Outcome<Option<u64>> {
    Command::new("sync").status()?;
    let device = std::fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let Ok(stat) = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else {
        return Ok(None);
    };
    let sectors: Option<u64> = stat.split_whitespace().nth(6).and_then(|field| field.parse().ok());
    Ok(sectors.map(|sectors| sectors * 512))
}
