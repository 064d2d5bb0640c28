//! Programs of `tests/interop`, each written with a client that others have made, against the program under test. They
//! are built by `tests/interop/prepare.sh`, so that nothing here needs the network.

mod everyday;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// What `tests/interop/prepare.sh` has made: `QUORATE_INTEROP`, or `interop` in cargo's target folder.
pub(crate) fn prepared() -> PathBuf {
    std::env::var_os("QUORATE_INTEROP").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop"),
        PathBuf::from,
    )
}

/// Whether `QUORATE_CLIENTS` says that no foreign client may be missing.
pub(crate) fn is_required() -> bool {
    std::env::var("QUORATE_CLIENTS").is_ok_and(|value| value == "required")
}

/// Says that a test is left out, unless `QUORATE_CLIENTS` says that none may be.
pub(crate) fn skipped<T>(what: &str) -> Option<T> {
    assert!(!is_required(), "{what} is not here, and QUORATE_CLIENTS says that it must be");
    // Not by println: that of a test that passes is not shown.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {what} is not here: tests/interop/prepare.sh makes it"
    );
    None
}

/// The file of that name in [`prepared`].
pub(crate) fn made(name: &str) -> Option<PathBuf> {
    let path = prepared().join(name);
    if path.exists() { Some(path) } else { skipped(&path.display().to_string()) }
}

/// Whether a program is there: it answers `words` with success.
fn answers(program: impl AsRef<OsStr>, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A foreign program while it runs; killed when dropped.
pub(crate) struct Foreign {
    child: Child,
    dir: tempfile::TempDir,
}

impl Foreign {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        command.stdin(Stdio::piped()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, dir }
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join(name)).unwrap()).into_owned()
    }

    /// What it has printed.
    pub(crate) fn out(&self) -> String {
        self.text("out")
    }

    /// Waits until `is_enough` of what it has printed, or its end.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        is_enough: impl Fn(&str) -> bool,
    ) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || is_enough(&self.out()) {
                return ended;
            }
            let said = || format!("{}{}", self.out(), self.text("err"));
            assert!(began.elapsed() < limit, "it goes on after {limit:?}; it said:\n{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end, which must be a good one: all that it has printed.
    #[track_caller]
    pub(crate) fn end(&mut self, limit: Duration) -> String {
        let status = self.until(limit, |_| false).unwrap();
        assert!(status.success(), "{status}; it said:\n{}{}", self.out(), self.text("err"));
        self.out()
    }

    /// Waits for its end, whatever it is.
    #[track_caller]
    pub(crate) fn output(mut self, limit: Duration) -> Output {
        let status = self.until(limit, |_| false).unwrap();
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap();
        Output { status, stdout: read("out"), stderr: read("err") }
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// All of its stdin.
    pub(crate) fn feed(&mut self, text: &str) {
        // It may have ended without reading.
        let _ = self.child.stdin.take().unwrap().write_all(text.as_bytes());
    }

    /// A line on its stdin.
    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
