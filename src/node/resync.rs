//! A member whose data is damaged or lost begins anew under another id: the part that needs no server.
//!
//! ```text
//!   locked    nobody runs on the data directory, so the member has stopped
//!   anew      db, wal, reset-secret, identity -> <data-dir>/damaged-<id>/     then an empty member of another id,
//!             and <data-dir>/resync, which names it until it votes
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
use crate::storage::{DataDir, Fault, Identity, PageCheck, Store};

/// What makes a member, the identity last: until it is moved, everybody can see whose the rest is.
const PARTS: [&str; 4] = ["db", "wal", "reset-secret", "identity"];

/// Holds the id of the member that waits to be promoted.
const UNDERWAY: &str = "resync";

/// A data directory that is locked, and whose it is.
pub struct Damaged {
    dir: DataDir,
    /// Why its identity says nothing.
    unreadable: Option<Fault>,
}

impl Damaged {
    /// Fails while a member runs on it ([`Error::is_in_use`]).
    pub fn lock(data_dir: &Path) -> Result<Self, Error> {
        let (dir, unreadable) = DataDir::open_damaged(data_dir)?;
        Ok(Self { dir, unreadable })
    }

    /// The member that an earlier attempt has put into this directory, and that did not vote yet when it ended. It may
    /// run by now.
    pub fn underway(data_dir: &Path) -> Option<MemberId> {
        fs::read_to_string(data_dir.join(UNDERWAY)).ok()?.trim().parse().ok()
    }

    /// That member votes: nothing is left to do.
    pub fn finished(data_dir: &Path) {
        // Left behind it does no harm.
        let _ = fs::remove_file(data_dir.join(UNDERWAY));
    }

    /// Why nobody can tell which member it was.
    pub fn unreadable(&self) -> Option<&Fault> {
        self.unreadable.as_ref()
    }

    /// Whether it has a database, and one that can be believed.
    pub fn has_sound_data(&self) -> bool {
        let db_dir = self.dir.db_dir();
        Store::exists(&db_dir) && Store::check(&db_dir).and_then(PageCheck::finish).is_ok()
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
        let underway = path.join(UNDERWAY);
        let noted = fs::write(&underway, format!("{member}\n"));
        noted.map_err(|source| Fault::io("write", underway, source))?;
        drop(self.dir);
        let mut dir = DataDir::open(&path)?;
        let identity = Identity { cluster, member, name: name.to_owned() };
        begin(&mut dir, &identity, &Beginning::Empty)?;
        Ok(aside)
    }

    fn set_aside(&self) -> Result<Option<PathBuf>, Error> {
        let Some((_, member)) = self.member() else {
            let has_data = ["db", "wal"].iter().any(|part| !is_empty(&self.dir.path().join(part)));
            return if has_data || self.unreadable.is_some() {
                self.move_to("damaged").map(Some)
            } else {
                Ok(None)
            };
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
    use crate::storage::{Stamp, StoreConfig};

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
        assert_eq!(Damaged::underway(folder.path()), Some(MemberId(3)));
        assert!(Damaged::lock(folder.path()).unwrap().has_sound_data());
        let kept = fs::read(folder.path().join("damaged-1/wal/x.wal")).unwrap();
        assert_eq!(kept, b"precious");
        let dir = DataDir::open(folder.path()).unwrap();
        assert_eq!(dir.identity(), Some(&identity(3)));
        let store = Store::open(&dir.db_dir(), StoreConfig::default()).unwrap();
        assert_eq!(store.stamp(), Stamp::EMPTY);
    }
    #[test]
    fn whatever_an_interruption_left_is_put_aside_by_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            Identity { cluster: ClusterId(7), member: MemberId(1), name: "n1".to_owned() };
        let mut dir = DataDir::open(folder.path()).unwrap();
        begin(&mut dir, &identity, &Beginning::Empty).unwrap();
        drop(dir);
        // Between two of the parts: the identity still says whose the rest is.
        fs::create_dir(folder.path().join("damaged-1")).unwrap();
        fs::rename(folder.path().join("db"), folder.path().join("damaged-1/db")).unwrap();
        let damaged = Damaged::lock(folder.path()).unwrap();
        assert!(damaged.member() == Some((ClusterId(7), MemberId(1))) && !damaged.has_sound_data());
        let aside = damaged.anew(ClusterId(7), MemberId(2), "n1").unwrap().unwrap();
        assert!(aside.ends_with("damaged-1-2") && aside.join("identity").exists());
        // The new identity without its database.
        fs::remove_dir_all(folder.path().join("db")).unwrap();
        let damaged = Damaged::lock(folder.path()).unwrap();
        assert!(damaged.member() == Some((ClusterId(7), MemberId(2))) && !damaged.has_sound_data());
        damaged.anew(ClusterId(7), MemberId(2), "n1").unwrap();
        // An identity that nobody can read.
        fs::write(folder.path().join("identity"), "quorate id").unwrap();
        let damaged = Damaged::lock(folder.path()).unwrap();
        assert!(damaged.member().is_none() && damaged.unreadable().is_some());
        let aside = damaged.anew(ClusterId(7), MemberId(3), "n1").unwrap().unwrap();
        assert!(aside.ends_with("damaged") && aside.join("db/CURRENT").exists());
        let damaged = Damaged::lock(folder.path()).unwrap();
        assert_eq!(damaged.member(), Some((ClusterId(7), MemberId(3))));
        assert!(damaged.has_sound_data());
    }
}
