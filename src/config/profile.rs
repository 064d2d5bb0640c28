//! The profile of a cluster that was made in a folder: where its endpoints are and which certificates open them.
//!
//! `<dir>/profile.toml`, written by whoever makes such a cluster and read by the commands that find it.

use std::io;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;

use super::mistakes::Mistakes;

const FILE: &str = "profile.toml";

/// What a client needs. In the file the paths are relative to its folder.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `https://127.0.0.1:port`, one per node, in the order of their names.
    pub endpoints: Vec<String>,
    pub cacert: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Profile {
    /// The profile in `dir`, with paths that begin with it; none if there is no file.
    pub fn read(dir: &Path) -> Result<Option<Self>, Mistakes> {
        let path = dir.join(FILE);
        let unreadable = |why: String| {
            let shown = path.display();
            Mistakes::new(format!(
                "cannot read {shown}: {why}; start what made it again, or name --endpoints"
            ))
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let profile: Self = Figment::from(Toml::string(&text))
            .extract()
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(Self {
            endpoints: profile.endpoints,
            cacert: dir.join(profile.cacert),
            cert: dir.join(profile.cert),
            key: dir.join(profile.key),
        }))
    }

    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut document = toml_edit::DocumentMut::new();
        let endpoints: toml_edit::Array = self.endpoints.iter().collect();
        document["endpoints"] = toml_edit::value(endpoints);
        for (key, path) in [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)] {
            document[key] = toml_edit::value(path.display().to_string());
        }
        let text = format!("# How the commands reach the cluster in this folder.\n{document}");
        std::fs::write(dir.join(FILE), text)
    }
}
