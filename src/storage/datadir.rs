//! The data directory of one member: private, locked while in use, and of one cluster and one member for ever.
//!
//! ```text
//!   identity   who lives here          lock           held by the running program
//!   wal/       the log                 reset-secret   lets a restarted member disown old connections
//!   db/        the database, one directory per generation
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::fault::Fault;
use crate::base::{ClusterId, MemberId};

const FORMAT_VERSION: &str = "1";
const IDENTITY: &str = "identity";
const IDENTITY_PART: &str = "identity.part";
const LOCK: &str = "lock";
const RESET_SECRET: &str = "reset-secret";
const RESET_SECRET_PART: &str = "reset-secret.part";

/// Who lives in a data directory; written once, before anything else is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// The member's name when it was born; for people, not compared.
    pub name: String,
}

/// An open data directory; the lock goes when this is dropped, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Option<Identity>,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "{path} is in use by another process; stop it first, or give this member its own --data-dir"
    )]
    Locked { path: PathBuf },

    #[error(
        "{path} belongs to member {found_member} of cluster {found_cluster}, and this is member {member} of cluster {cluster}; give each member its own --data-dir, or check --initial-cluster and --initial-cluster-token"
    )]
    OtherMember {
        path: PathBuf,
        found_cluster: ClusterId,
        found_member: MemberId,
        cluster: ClusterId,
        member: MemberId,
    },

    #[error("a member's name must be one line: {0:?}")]
    Name(String),

    #[error(transparent)]
    Fault(#[from] Fault),
}

impl DataDir {
    /// Whether the directory at `path` has an identity; looks without opening it.
    pub fn holds_a_member(path: &Path) -> bool {
        path.join(IDENTITY).exists()
    }

    /// Makes it if need be, closes it to others (0700) and locks it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        let lock = lock(&path)?;
        let identity = read_identity(&path.join(IDENTITY))?;
        Ok(Self { path, identity, _lock: lock })
    }

    /// The same where the identity may be damaged: then it has none, and the fault says why.
    pub fn open_damaged(path: impl Into<PathBuf>) -> Result<(Self, Option<Fault>), DataDirError> {
        let path = path.into();
        let lock = lock(&path)?;
        let (identity, fault) = match read_identity(&path.join(IDENTITY)) {
            Ok(identity) => (identity, None),
            // Nothing is wrong with it: another version wrote it.
            Err(fault @ Fault::Foreign { .. }) => return Err(fault.into()),
            Err(fault) => (None, Some(fault)),
        };
        Ok((Self { path, identity, _lock: lock }, fault))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// None in a directory where no member was born yet.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Refuses a directory that another member, or a member of another cluster, was born in.
    pub fn check(&self, cluster: ClusterId, member: MemberId) -> Result<(), DataDirError> {
        match &self.identity {
            Some(found) if (found.cluster, found.member) != (cluster, member) => {
                Err(DataDirError::OtherMember {
                    path: self.path.clone(),
                    found_cluster: found.cluster,
                    found_member: found.member,
                    cluster,
                    member,
                })
            }
            _ => Ok(()),
        }
    }

    /// Durable when it returns. A directory keeps the cluster and the member of its first identity.
    pub fn write_identity(&mut self, identity: &Identity) -> Result<(), DataDirError> {
        self.check(identity.cluster, identity.member)?;
        if identity.name.contains(char::is_control) {
            return Err(DataDirError::Name(identity.name.clone()));
        }
        self.replace(IDENTITY_PART, IDENTITY, encode_identity(identity).as_bytes())?;
        self.identity = Some(identity.clone());
        Ok(())
    }

    /// The secret that this directory keeps for its member, so that connections of an earlier process can be disowned
    /// at once; `fresh` becomes it where there is none, or a damaged one: nothing but that promptness hangs on it.
    pub fn reset_secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Fault> {
        let path = self.path.join(RESET_SECRET);
        match fs::read(&path) {
            Ok(bytes) => {
                if let Ok(kept) = <[u8; 32]>::try_from(bytes) {
                    return Ok(kept);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Fault::io("read", path, source)),
        }
        self.replace(RESET_SECRET_PART, RESET_SECRET, &fresh)?;
        Ok(fresh)
    }

    /// A whole file, durable when it returns.
    fn replace(&self, part: &str, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let part = self.path.join(part);
        let failed = |source| Fault::io("write", &part, source);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&part)
            .map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&part, self.path.join(name)).map_err(failed)?;
        sync_dir(&self.path)
    }

    /// Home of the log.
    pub fn wal_dir(&self) -> PathBuf {
        self.path.join("wal")
    }

    /// Home of the database.
    pub fn db_dir(&self) -> PathBuf {
        self.path.join("db")
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    for dir in [path.to_owned(), path.join("wal"), path.join("db")] {
        let failed = |source| Fault::io("make the private directory", &dir, source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let lock_path = path.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|source| Fault::io("open", &lock_path, source))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(DataDirError::Locked { path: path.to_owned() });
        }
        Err(errno) => return Err(Fault::io("lock", &lock_path, errno.into()).into()),
    }
    sync_dir(path)?;
    Ok(lock)
}

fn sync_dir(path: &Path) -> Result<(), Fault> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| Fault::io("sync the directory", path, source))
}

/// Five lines: format, cluster, member, name, and the checksum of the four before it.
fn encode_identity(identity: &Identity) -> String {
    let Identity { cluster, member, name } = identity;
    let text = format!(
        "quorate identity {FORMAT_VERSION}\ncluster {cluster}\nmember {member}\nname {name}\n"
    );
    let checksum = crc32c::crc32c(text.as_bytes());
    format!("{text}crc32c {checksum:08x}\n")
}

fn read_identity(path: &Path) -> Result<Option<Identity>, Fault> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Fault::io("read", path, source)),
    };
    let place = path.display().to_string();
    let damaged = || Fault::corrupt("a damaged identity", &place);
    // Every format ends with the checksum, so that a flipped bit is not taken for another one.
    let text = String::from_utf8(bytes).ok().filter(|text| is_whole(text)).ok_or_else(damaged)?;
    match text.lines().next().and_then(|line| line.strip_prefix("quorate identity ")) {
        Some(FORMAT_VERSION) => decode_identity(&text).map(Some).ok_or_else(damaged),
        Some(found) => {
            let what = format!("of format {found}, and this program reads {FORMAT_VERSION}");
            Err(Fault::Foreign { what, place })
        }
        None => Err(damaged()),
    }
}

/// Whether its last line is the checksum of the others.
fn is_whole(text: &str) -> bool {
    let end = text.strip_suffix('\n').and_then(|text| text.rfind('\n'));
    end.is_some_and(|end| {
        let (body, last) = text.split_at(end + 1);
        last == format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()))
    })
}

fn decode_identity(text: &str) -> Option<Identity> {
    let mut lines = text.lines().skip(1);
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let identity = Identity {
        cluster: field("cluster")?.parse().ok()?,
        member: field("member")?.parse().ok()?,
        name: field("name")?.to_owned(),
    };
    (encode_identity(&identity) == text).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(member: u64) -> Identity {
        Identity { cluster: ClusterId(0xc1), member: MemberId(member), name: "n 1".to_owned() }
    }

    #[test]
    fn a_directory_is_private_locked_and_of_one_member() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let mut data = DataDir::open(&path).unwrap();
        assert_eq!(data.identity(), None);
        let mode = fs::metadata(data.wal_dir()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));

        data.write_identity(&identity(7)).unwrap();
        drop(data);
        let mut data = DataDir::open(&path).unwrap();
        assert_eq!(data.identity(), Some(&identity(7)));
        data.check(ClusterId(0xc1), MemberId(7)).unwrap();
        let other = data.write_identity(&identity(8)).unwrap_err().to_string();
        assert!(other.contains("member 7 of cluster c1, and this is member 8"), "{other}");
        let two_lines = Identity { name: "a\nb".to_owned(), ..identity(7) };
        assert!(matches!(data.write_identity(&two_lines), Err(DataDirError::Name(_))));
    }

    #[test]
    fn a_secret_is_kept_and_a_damaged_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        assert_eq!(data.reset_secret([1; 32]).unwrap(), [1; 32]);
        assert_eq!(data.reset_secret([2; 32]).unwrap(), [1; 32]);
        let path = dir.path().join(RESET_SECRET);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert_eq!(data.reset_secret([3; 32]).unwrap(), [3; 32]);
        assert_eq!(data.reset_secret([4; 32]).unwrap(), [3; 32]);
    }

    #[test]
    fn a_damaged_or_newer_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        DataDir::open(dir.path()).unwrap().write_identity(&identity(7)).unwrap();
        let path = dir.path().join(IDENTITY);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("member 7", "member 8")).unwrap();
        let refused = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("a damaged identity"), "{refused}");
        let newer = text.replace("identity 1", "identity 2");
        fs::write(&path, &newer).unwrap();
        let refused = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("a damaged identity"), "{refused}");
        let body = newer.split_at(newer.find("crc32c").unwrap()).0;
        let sum = crc32c::crc32c(body.as_bytes());
        fs::write(&path, format!("{body}crc32c {sum:08x}\n")).unwrap();
        let refused = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("format 2, and this program reads 1"), "{refused}");
    }

    #[test]
    fn any_flipped_bit_of_an_identity_is_damage_that_can_be_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        DataDir::open(dir.path()).unwrap().write_identity(&identity(7)).unwrap();
        let path = dir.path().join(IDENTITY);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            let refused = DataDir::open(dir.path()).unwrap_err().to_string();
            assert!(refused.starts_with("a damaged identity in "), "bit {bit}: {refused}");
            let (damaged, fault) = DataDir::open_damaged(dir.path()).unwrap();
            assert!(damaged.identity().is_none() && fault.unwrap().to_string() == refused);
        }
    }
}
