//! `check datascale`: many keys, and what they add to a server's memory.

use crate::cli::bench::resident;
use crate::cli::connect::Session;
use crate::cli::exit::{Code, Exit};
use crate::cli::progress::Progress;

use super::args::{After, Model};
use super::press::{Press, random_key};
use super::site::Site;

const KEY_BYTES: usize = 512;
static VALUE: [u8; 512] = [0; 512];

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    keys: u64,
    workers: u32,
}

impl Load {
    pub(super) fn named(model: Model) -> Self {
        let (keys, workers) = match model {
            Model::Small => (10_000, 50),
            Model::Medium => (100_000, 200),
            Model::Large => (1_000_000, 500),
            Model::ExtraLarge => (3_000_000, 1_000),
        };
        Self { keys, workers }
    }
}

pub(super) async fn run(
    session: &Session,
    load: Load,
    prefix: &str,
    after: After,
) -> Result<(), Exit> {
    let mut site = Site::prepare(session, prefix, after, load.workers).await?;
    let before = memory(session, "before")?;
    println!(
        "Start data scale check for work load [{} key-value pairs, {} bytes per key-value, {} concurrent clients].",
        load.keys,
        KEY_BYTES + VALUE.len(),
        load.workers
    );
    let (tally, is_whole) =
        site.load(async |press, prefix| write(press, load, prefix).await).await?;
    let memory = memory(session, "after");
    let revision = site.delete().await?;
    site.compact(revision).await?;
    site.defragment().await?;
    if !is_whole {
        return Err(Exit::error("stopped before all keys were written: there is nothing to judge"));
    }
    let used = memory? as f64 - before as f64;
    let failures = tally.failures();
    if !failures.is_empty() {
        for line in failures {
            println!("{line}");
        }
        return Err(Exit::silent(Code::Error));
    }
    println!("PASS: Approximate system memory used : {:.2} MB.", used / MIB);
    Ok(())
}

async fn write(press: &mut Press, load: Load, prefix: &str) -> Result<(), Exit> {
    let mut progress = Progress::new("writing");
    for written in 0..load.keys {
        let worker = press.worker().await;
        press.put(worker, random_key(prefix, KEY_BYTES)?, &VALUE);
        progress.count(written + 1, load.keys, "keys");
    }
    Ok(())
}

/// Resident bytes of the server at the first endpoint.
fn memory(session: &Session, when: &str) -> Result<u64, Exit> {
    let Some(endpoint) = session.endpoints.first() else {
        return Err(Exit::bad_args("no endpoint given"));
    };
    resident(endpoint).ok_or_else(|| {
        println!("FAIL: Could not read process_resident_memory_bytes {when} the put operations.");
        Exit::error(format!(
            "{endpoint} is no process of this machine whose memory /proc shows: run the check where the server runs, as its user, with its loopback address in --endpoints"
        ))
    })
}
