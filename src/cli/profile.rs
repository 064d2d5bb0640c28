//! Finds the profile of the folder's cluster, for commands that are told no endpoints.
//!
//! A playground's lies in `./playground/`, or where the note `./.quorate-playground` points to if it was given another
//! `--dir`; that of `serve` without settings in `./default.etcd/`.

use std::io;
use std::path::Path;

use crate::config::Profile;

use super::exit::{Code, Exit};

/// Where the profile of a playground started here lies, unless it was given another `--dir`.
pub(super) const DIR_DEFAULT: &str = "playground";
/// Where `serve` without settings keeps its data, certificates and profile.
pub(super) const SERVE_DIR: &str = "default.etcd";
const NOTE: &str = ".quorate-playground";

/// The profile of what was started from `folder`, if there is one.
pub(super) fn find(folder: &Path) -> Result<Option<Profile>, Exit> {
    if let Ok(dir) = std::fs::read_to_string(folder.join(NOTE)) {
        return read(&folder.join(dir.trim()));
    }
    match read(&folder.join(DIR_DEFAULT))? {
        Some(profile) => Ok(Some(profile)),
        None => read(&folder.join(SERVE_DIR)),
    }
}

/// The profile in `dir`.
pub(super) fn read(dir: &Path) -> Result<Option<Profile>, Exit> {
    Profile::read(dir).map_err(|mistakes| Exit::new(Code::InvalidInput, mistakes.to_string()))
}

/// Leaves the way to `dir` in `folder`, if it is not the usual one.
pub(super) fn note(folder: &Path, dir: &Path) -> io::Result<()> {
    let note = folder.join(NOTE);
    if dir == Path::new(DIR_DEFAULT) || dir == folder.join(DIR_DEFAULT) {
        return match std::fs::remove_file(note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    std::fs::write(note, format!("{}\n", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_from_the_folder_of_its_playground() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find(folder.path()).unwrap(), None);
        let profile = Profile {
            endpoints: vec!["https://127.0.0.1:2379".to_owned()],
            cacert: "certs/ca.crt".into(),
            cert: "certs/client.crt".into(),
            key: "certs/client.key".into(),
        };
        for dir in ["playground", "elsewhere"] {
            let dir = folder.path().join(dir);
            std::fs::create_dir(&dir).unwrap();
            profile.write(&dir).unwrap();
            note(folder.path(), &dir).unwrap();
            let found = find(folder.path()).unwrap().unwrap();
            assert_eq!(found.cert, dir.join("certs/client.crt"));
            assert_eq!(found.endpoints, profile.endpoints);
        }
        std::fs::write(folder.path().join("elsewhere/profile.toml"), "endpoint = 1").unwrap();
        assert_eq!(find(folder.path()).unwrap_err().code, Code::InvalidInput);
    }
}
