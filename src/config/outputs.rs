//! Where logs go, and when a file of them begins anew.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::keys::Settings;
use super::mistakes::Mistakes;

/// All the places of one log; none: nobody reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outputs {
    pub places: Vec<Place>,
    /// Of the files.
    pub rotation: Option<Rotation>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    Stdout,
    Stderr,
    File(PathBuf),
}

/// When a file begins anew, and what becomes of the one before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotation {
    pub bytes_max: u64,
    /// Older ones are deleted; none: never.
    pub age_max: Option<Duration>,
    /// More are deleted, the oldest first; none: all are kept.
    pub files_max: Option<usize>,
}

impl Default for Outputs {
    fn default() -> Self {
        Self { places: vec![Place::Stderr], rotation: None }
    }
}

/// etcd's, which are lumberjack's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    /// MB; 0: 100.
    maxsize: u32,
    /// Days; 0: for ever.
    maxage: u32,
    /// 0: all.
    maxbackups: u32,
    localtime: bool,
    compress: bool,
}

const SIZE_DEFAULT_MB: u32 = 100;
const DAY_S: u64 = 86_400;

pub(super) fn outputs(
    settings: &Settings,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Outputs {
    let mut places = Vec::new();
    for output in &settings.log_outputs.0 {
        let place = match output.as_str() {
            "default" | "stderr" => Place::Stderr,
            // Under systemd that is what stderr is.
            "systemd/journal" => Place::Stderr,
            "stdout" => Place::Stdout,
            "/dev/null" => continue,
            path => Place::File(PathBuf::from(path)),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if settings.log_outputs.0.is_empty() {
        places.push(Place::Stderr);
    }
    let rotation =
        settings.enable_log_rotation.then(|| rotation(settings, &places, mistakes, warnings));
    Outputs { places, rotation: rotation.flatten() }
}

fn rotation(
    settings: &Settings,
    places: &[Place],
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Option<Rotation> {
    if !places.iter().any(|place| matches!(place, Place::File(_))) {
        mistakes
            .push("enable-log-rotation needs a file in log-outputs: nothing else can begin anew");
    }
    let text = &settings.log_rotation_config_json;
    let written: Written = match serde_json::from_str(text) {
        Ok(written) => written,
        Err(error) => {
            mistakes.push(format!(
                "log-rotation-config-json is {text:?}: {error}; it is such as {{\"maxsize\": 100, \"maxbackups\": 5}}"
            ));
            return None;
        }
    };
    if written.compress || written.localtime {
        warnings.push(
            "log-rotation-config-json: old files are not compressed here, and their names tell the time in UTC".to_owned(),
        );
    }
    let size = if written.maxsize == 0 { SIZE_DEFAULT_MB } else { written.maxsize };
    let age = u64::from(written.maxage) * DAY_S;
    Some(Rotation {
        bytes_max: u64::from(size) << 20,
        age_max: (age > 0).then(|| Duration::from_secs(age)),
        files_max: (written.maxbackups > 0)
            .then(|| usize::try_from(written.maxbackups).unwrap_or(usize::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::types::List;
    use super::*;

    fn told(change: impl Fn(&mut Settings)) -> (Outputs, String, Vec<String>) {
        let mut settings = Settings::default();
        change(&mut settings);
        let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
        let outputs = outputs(&settings, &mut mistakes, &mut warnings);
        (outputs, mistakes.to_string(), warnings)
    }

    #[test]
    fn logs_go_where_somebody_says() {
        assert_eq!(told(|_| {}).0, Outputs::default());
        let (found, ..) =
            told(|it| it.log_outputs = List::parse("stdout,/var/log/etcd.log,default"));
        let file = Place::File(PathBuf::from("/var/log/etcd.log"));
        assert_eq!(found.places, [Place::Stdout, file, Place::Stderr]);
    }

    #[test]
    fn files_begin_anew_by_etcds_rules() {
        let with = |json: &str| {
            told(|it| {
                it.enable_log_rotation = true;
                it.log_outputs = List::parse("x.log");
                it.log_rotation_config_json = json.to_owned();
            })
        };
        let (found, mistakes, _) = with(r#"{"maxsize": 1, "maxbackups": 2, "compress": false}"#);
        assert_eq!(mistakes, "");
        let right = Rotation { bytes_max: 1 << 20, age_max: None, files_max: Some(2) };
        assert_eq!(found.rotation, Some(right));
        assert!(with("{").1.contains("log-rotation-config-json"));
        assert!(with(r#"{"compress": true}"#).2[0].contains("not compressed"));
        assert!(told(|it| it.enable_log_rotation = true).1.contains("needs a file"));
    }
}
