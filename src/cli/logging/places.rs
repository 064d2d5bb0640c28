//! Where a log's lines go: every place gets every line, whole. A file may begin anew when it has grown; the one before
//! keeps its lines under a name with the time in it, and the oldest of those go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::base::{Clock, SystemClock};
use crate::config::{Outputs, Place, Rotation};

/// All places of one log.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<Vec<Open>>>);

enum Open {
    Stdout,
    Stderr,
    File(LogFile),
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
}

impl Places {
    /// Opens the files, behind what is in them.
    pub(super) fn open(outputs: &Outputs) -> io::Result<Self> {
        let open = |place: &Place| {
            Ok(match place {
                Place::Stdout => Open::Stdout,
                Place::Stderr => Open::Stderr,
                Place::File(path) => {
                    let file = LogFile::open(path, outputs.rotation.clone());
                    Open::File(file.map_err(|error| told(path, &error))?)
                }
            })
        };
        let places: io::Result<Vec<Open>> = outputs.places.iter().map(open).collect();
        Ok(Self(Arc::new(Mutex::new(places?))))
    }
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("log-outputs: {}: {error}", path.display()))
}

impl Write for Places {
    /// A place that fails is passed over: nobody could be told of it but by a log.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for place in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = match place {
                Open::Stdout => io::stdout().lock().write_all(line),
                Open::Stderr => io::stderr().lock().write_all(line),
                Open::File(file) => file.write(line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Places {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl LogFile {
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, rotation })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let is_full =
            |rotation: &Rotation| self.bytes > 0 && self.bytes + length > rotation.bytes_max;
        if self.rotation.as_ref().is_some_and(is_full) {
            self.begin_anew()?;
        }
        self.bytes += length;
        self.file.write_all(line)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.free_name())?;
        *self = Self::open(&self.path, self.rotation.clone())?;
        if let Some(rotation) = &self.rotation {
            self.tidy(rotation);
        }
        Ok(())
    }

    /// `etcd.log` -> `etcd-2026-01-31T10-11-12.123456Z.log`.
    fn free_name(&self) -> PathBuf {
        let mut now = String::new();
        // Writing into a text does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut now));
        let now = now.replace(':', "-");
        let (stem, ending) = self.parts();
        let mut name = self.path.with_file_name(format!("{stem}-{now}{ending}"));
        let mut number = 1;
        while name.exists() {
            name = self.path.with_file_name(format!("{stem}-{now}-{number}{ending}"));
            number += 1;
        }
        name
    }

    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let ending = text(self.path.extension());
        let ending = if ending.is_empty() { ending } else { format!(".{ending}") };
        (text(self.path.file_stem()), ending)
    }

    /// Deletes older ones that are too many or too old. What cannot be deleted stays.
    fn tidy(&self, rotation: &Rotation) {
        let (stem, ending) = self.parts();
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Ok(entries) = fs::read_dir(folder) else { return };
        let is_older = |name: &str| {
            let rest = name.strip_prefix(&format!("{stem}-"));
            // A year, as no other file of this folder should have it there.
            rest.is_some_and(|rest| rest.starts_with("20") && rest.ends_with(&format!("Z{ending}")))
        };
        let mut older: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_older(name))
            .collect();
        // Their names tell the time: the newest first.
        older.sort_by(|a, b| b.cmp(a));
        let now_ms = SystemClock::new().wall_ms();
        for (number, name) in older.iter().enumerate() {
            let path = folder.join(name);
            let is_too_many = rotation.files_max.is_some_and(|max| number >= max);
            if is_too_many || rotation.age_max.is_some_and(|max| is_over(&path, max, now_ms)) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn is_over(path: &Path, age_max: std::time::Duration, now_ms: i64) -> bool {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = written.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.is_some_and(|since| {
        let written_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let age_max_ms = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        now_ms.saturating_sub(written_ms) > age_max_ms
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_grown_begins_anew_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.log");
        let rotation = Rotation { bytes_max: 10, age_max: None, files_max: Some(2) };
        let outputs = Outputs { places: vec![Place::File(path.clone())], rotation: Some(rotation) };
        let mut places = Places::open(&outputs).unwrap();
        for number in 0..5 {
            writeln!(places, "line {number}").unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        let text = |name: &String| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!([text(&names[0]), text(&names[1])], ["line 2\n", "line 3\n"]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let outputs = Outputs {
            places: vec![Place::File(PathBuf::from("/nowhere/at/all.log"))],
            rotation: None,
        };
        let told = Places::open(&outputs).err().unwrap().to_string();
        assert!(told.starts_with("log-outputs: /nowhere/at/all.log: "), "{told}");
    }
}
