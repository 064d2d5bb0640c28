//! The playground's profile: where its endpoints are and which certificates open them.
//!
//! `playground` writes `<dir>/profile.toml` (and so does `serve` without settings); a command without endpoints finds it from the folder the playground was
//! started in, by `./playground/` or, for another `--dir`, by the note `./.quorate-playground`.

use std::io;
use std::path::{Path, PathBuf};

use figment::providers::Format;
use serde::{Deserialize, Serialize};

use super::exit::{Code, Exit};

/// Where the profile of a playground started here lies, unless it was given another `--dir`.
pub(super) const DIR_DEFAULT: &str = "playground";
/// Where `serve` without settings keeps its data, certificates and profile.
pub(super) const SERVE_DIR: &str = "default.etcd";
const FILE: &str = "profile.toml";
const NOTE: &str = ".quorate-playground";

/// What a client needs to reach a playground. Paths are relative to the profile's folder.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// `https://127.0.0.1:port`, one per node, in the order of their names.
    pub endpoints: Vec<String>,
    pub cacert: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Profile {
    /// The profile in `dir`, with absolute paths; none if there is no file.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Exit> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error.to_string())),
        };
        let profile: Self = figment::Figment::from(figment::providers::Toml::string(&text))
            .extract()
            .map_err(|error| unreadable(&path, &error.to_string()))?;
        Ok(Some(Self {
            endpoints: profile.endpoints,
            cacert: dir.join(profile.cacert),
            cert: dir.join(profile.cert),
            key: dir.join(profile.key),
        }))
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut document = toml_edit::DocumentMut::new();
        document["endpoints"] =
            toml_edit::value(self.endpoints.iter().collect::<toml_edit::Array>());
        for (key, path) in [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)] {
            document[key] = toml_edit::value(path.display().to_string());
        }
        let text = format!("# Written by `quorate playground`; its commands read it.\n{document}");
        std::fs::write(dir.join(FILE), text)
    }

    /// The playground that was started from `folder`, or else the server without settings, if there was one.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, Exit> {
        match std::fs::read_to_string(folder.join(NOTE)) {
            Ok(dir) => Self::read(&folder.join(dir.trim())),
            Err(_) => match Self::read(&folder.join(DIR_DEFAULT))? {
                Some(profile) => Ok(Some(profile)),
                None => Self::read(&folder.join(SERVE_DIR)),
            },
        }
    }
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

fn unreadable(path: &Path, why: &str) -> Exit {
    Exit::new(
        Code::InvalidInput,
        format!(
            "cannot read {}: {why}; start the playground again, or name --endpoints",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_from_the_folder_of_its_playground() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Profile::find(folder.path()).unwrap(), None);
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
            let found = Profile::find(folder.path()).unwrap().unwrap();
            assert_eq!(found.cert, dir.join("certs/client.crt"));
            assert_eq!(found.endpoints, profile.endpoints);
        }
        std::fs::write(folder.path().join("elsewhere/profile.toml"), "endpoint = 1").unwrap();
        assert_eq!(Profile::find(folder.path()).unwrap_err().code, Code::InvalidInput);
    }
}
