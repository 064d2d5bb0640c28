//! Consensus as transcripts, in the manner of etcd/raft's interaction tests: a cluster in memory, one command at a time.
//!
//! Messages wait on the network until `deliver`, batches wait for the disk until `persist`; `stabilize` does both until
//! nothing is left. `UPDATE_GOLDENFILES=1 cargo test --test golden consensus` writes the outputs anew.

mod cluster;
mod edge;
mod member;
mod script;
mod worlds;

use std::fs;
use std::path::Path;

#[test]
fn consensus_behaves_as_its_transcripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/consensus");
    let mut scripts: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_none());
    scripts.sort();
    assert!(scripts.len() >= 15, "the transcripts are there");
    for path in scripts {
        goldenscript::run(&mut script::Script::default(), &path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
