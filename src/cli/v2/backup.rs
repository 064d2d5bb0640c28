//! `backup`: a stopped member's data directory as another one.

use std::path::Path;

use super::failure::{Failure, say};
use super::flags::Words;
use crate::node;

/// Asks no server.
pub(super) fn backup(words: &Words) -> Result<(), Failure> {
    for flag in ["wal-dir", "backup-wal-dir"] {
        if !words.text(flag).is_empty() {
            return Err(Failure::told(format_args!(
                "--{flag}: a member's log is in its data directory; leave it out"
            )));
        }
    }
    let said = |flag: &str| match words.text(flag) {
        "" => Err(Failure::told(format_args!("--{flag} is missing: it names a directory"))),
        said => Ok(said.to_owned()),
    };
    let (from, to) = (said("data-dir")?, said("backup-dir")?);
    node::backup(Path::new(&from), Path::new(&to)).map_err(Failure::told)?;
    say(format_args!(
        "{from} is copied to {to}; a cluster of its own begins there with --force-new-cluster"
    ))
}
