//! A member whose data is damaged or lost begins anew under another id: the part that needs no server.
//!
//! ```text
//!   locked    nobody runs on the data directory, so the member has stopped
//!   anew      db, wal, reset-secret, identity -> <data-dir>/damaged-<id>/     then an empty member of another id
//! ```
//!
//! The old id must have been removed from the cluster before [`Damaged::anew`]: a voter that has forgotten its votes
//! and promises may never speak again. Nothing is deleted. Interrupted at any point, it can be begun again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::open::{Beginning, begin};
use crate::base::{ClusterId, MemberId};
use crate::storage::{DataDir, Fault, Identity};

/// What makes a member, the identity last: until it is moved, everybody can see whose the rest is.
const PARTS: [&str; 4] = ["db", "wal", "reset-secret", "identity"];

/// A data directory that is locked, and whose it is.
pub struct Damaged {
    dir: DataDir,
}

impl Damaged {
    /// Fails while a member runs on it.
    pub fn lock(data_dir: &Path) -> Result<Self, Error> {
        Ok(Self { dir: DataDir::open(data_dir)? })
    }

    /// Cluster and member; none if the directory says nothing of them.
    pub fn member(&self) -> Option<(ClusterId, MemberId)> {
        self.dir.identity().map(|identity| (identity.cluster, identity.member))
    }

    /// Puts everything aside, and leaves an empty member that takes all it needs from the others when it is started.
    /// Where the old data is; none if there was nothing.
    pub fn anew(
        self,
        cluster: ClusterId,
        member: MemberId,
        name: &str,
    ) -> Result<Option<PathBuf>, Error> {
        let path = self.dir.path().to_owned();
        let aside = self.set_aside()?;
        drop(self.dir);
        let mut dir = DataDir::open(&path)?;
        let identity = Identity { cluster, member, name: name.to_owned() };
        begin(&mut dir, &identity, &Beginning::Empty)?;
        Ok(aside)
    }

    fn set_aside(&self) -> Result<Option<PathBuf>, Error> {
        let Some((_, member)) = self.member() else {
            let has_data = ["db", "wal"].iter().any(|part| !is_empty(&self.dir.path().join(part)));
            return if has_data { self.move_to("damaged").map(Some) } else { Ok(None) };
        };
        self.move_to(&format!("damaged-{member}")).map(Some)
    }

    /// A new directory: what an earlier attempt has put aside stays apart.
    fn move_to(&self, name: &str) -> Result<PathBuf, Error> {
        let mut aside = self.dir.path().join(name);
        let mut number = 1;
        while let Err(source) = fs::create_dir(&aside) {
            if source.kind() != io::ErrorKind::AlreadyExists {
                return Err(Fault::io("make the directory", aside, source).into());
            }
            number += 1;
            aside = self.dir.path().join(format!("{name}-{number}"));
        }
        for part in PARTS {
            let from = self.dir.path().join(part);
            match fs::rename(&from, aside.join(part)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Fault::io("put aside", from, source).into());
                }
                _ => {}
            }
        }
        Ok(aside)
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut files| files.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Stamp, Store, StoreConfig};

    #[test]
    fn damaged_data_is_put_aside_and_an_empty_member_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |member| Identity {
            cluster: ClusterId(7),
            member: MemberId(member),
            name: "n1".to_owned(),
        };
        let mut dir = DataDir::open(folder.path()).unwrap();
        dir.write_identity(&identity(1)).unwrap();
        fs::write(dir.wal_dir().join("x.wal"), "precious").unwrap();
        assert!(Damaged::lock(folder.path()).is_err(), "somebody runs on it");
        drop(dir);

        for (old, new) in [(1, 2), (2, 3)] {
            let damaged = Damaged::lock(folder.path()).unwrap();
            assert_eq!(damaged.member(), Some((ClusterId(7), MemberId(old))));
            let aside = damaged.anew(ClusterId(7), MemberId(new), "n1").unwrap().unwrap();
            assert!(aside.ends_with(format!("damaged-{old}")), "{}", aside.display());
            assert!(aside.join("identity").exists() && aside.join("db").exists());
        }
        let kept = fs::read(folder.path().join("damaged-1/wal/x.wal")).unwrap();
        assert_eq!(kept, b"precious");
        let dir = DataDir::open(folder.path()).unwrap();
        assert_eq!(dir.identity(), Some(&identity(3)));
        let store = Store::open(&dir.db_dir(), StoreConfig::default()).unwrap();
        assert_eq!(store.stamp(), Stamp::EMPTY);
    }
}
