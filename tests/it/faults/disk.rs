//! An ext4 on a loop device on a [`Platter`]: a member's data directory that can hang, fail, fill up or lose its power.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fuser::{BackgroundSession, MountOption, Session};

use super::platter::{Mode, Platter, Served};
use crate::dice::Dice;

/// Takes all room that is left.
const BALLAST: &str = "ballast";

/// Mounted while this lives. What uses it must have ended before.
pub(super) struct Disk {
    platter: Arc<Platter>,
    /// Where the platter's file is.
    served: PathBuf,
    /// Where the data is.
    pub dir: PathBuf,
    device: Option<String>,
    session: Option<BackgroundSession>,
}

/// Says why there can be no such disks here, if that is so.
pub(super) fn are_skipped() -> bool {
    let lacks = |program: &str| {
        Command::new(program).arg("--version").output().is_err().then(|| format!("no {program}"))
    };
    let cannot_open = |path: &str| {
        let opened = std::fs::File::options().read(true).write(true).open(path);
        opened.err().map(|error| format!("{path}: {error}"))
    };
    let reason = cannot_open("/dev/fuse")
        .or_else(|| cannot_open("/dev/loop-control"))
        .or_else(|| ["losetup", "mount", "umount"].into_iter().find_map(lacks))
        .or_else(|| {
            Command::new("mkfs.ext4").arg("-V").output().err().map(|_| "no mkfs.ext4".into())
        });
    if let Some(reason) = &reason {
        // Not by println: that of a test that passes is not shown.
        let text = "SKIPPED: disks that break need root, FUSE, loop devices and e2fsprogs";
        let _ = writeln!(io::stderr(), "{text}: {reason}");
    }
    reason.is_some()
}

impl Disk {
    /// An empty file system of this size in a new folder.
    pub(super) fn new(folder: &Path, bytes: u64) -> Self {
        let (served, dir) = (folder.join("platter"), folder.join("disk"));
        std::fs::create_dir_all(&served).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        let platter = Arc::new(Platter::new(bytes));
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("platter".to_owned())];
        let session = Session::new(Served(Arc::clone(&platter)), &served, &config).unwrap();
        let session = Some(session.spawn().unwrap());
        let mut disk = Self { platter, served, dir, device: None, session };
        disk.attach();
        // Without checksums of ext4's own a torn block is the journal's business, as on a disk.
        let device = disk.device.clone().unwrap();
        let lazy = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        must("mkfs.ext4", &["-q", "-F", "-m", "0", "-O", "^metadata_csum", "-E", lazy, &device]);
        disk.mount();
        disk
    }

    /// Where a member may put its data.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn attach(&mut self) {
        let file = self.served.join(self.platter.file_name());
        let file = file.to_str().unwrap();
        self.device = Some(must("losetup", &["--find", "--show", file]).trim().to_owned());
    }

    fn mount(&self) {
        let device = self.device.as_deref().unwrap();
        must("mount", &["-t", "ext4", "-o", "noatime", device, self.dir.to_str().unwrap()]);
    }

    /// From now on nothing on it is answered.
    pub(super) fn hang(&self) {
        self.platter.set(Mode::Hangs);
    }

    /// From now on every write and flush fails.
    pub(super) fn fail(&self) {
        self.platter.set(Mode::Fails);
    }

    /// It works again; a file system that has met failures needs [`Disk::replug`].
    pub(super) fn heal(&self) {
        self.platter.set(Mode::Works);
    }

    /// All lose their power in one moment. Whoever uses them must be killed then, and the disks replugged.
    pub(super) fn cut(disks: &[Self], dice: &mut Dice) {
        let platters: Vec<_> = disks.iter().map(|disk| Arc::clone(&disk.platter)).collect();
        Platter::cut(&platters, dice);
    }

    /// Mounts what is there, as a machine does when it starts.
    pub(super) fn replug(&mut self) {
        self.detach();
        self.platter.revive();
        self.attach();
        self.mount();
    }

    fn detach(&mut self) {
        let Some(device) = self.device.take() else { return };
        let dir = self.dir.to_str().unwrap();
        if run("umount", &[dir]).is_err() {
            let _ = run("umount", &["-l", dir]);
        }
        // A device that is still in use goes when that ends.
        let _ = run("losetup", &["-d", &device]);
    }

    /// No room is left on it.
    pub(super) fn fill(&self) {
        let ballast = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.dir.join(BALLAST))
            .unwrap();
        let mut length = 0;
        let mut piece: u64 = 64 << 20;
        while piece >= 4_096 {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&ballast, flags, length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    pub(super) fn make_room(&self) {
        std::fs::remove_file(self.dir.join(BALLAST)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever waits for the disk is answered: nothing may hang for ever.
        self.platter.set(Mode::Dead);
        self.detach();
        let _ = run("umount", &["-l", self.served.to_str().unwrap()]);
        // Ends with the mount, once the loop device has let go of it.
        drop(self.session.take());
    }
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[track_caller]
fn must(program: &str, words: &[&str]) -> String {
    run(program, words).unwrap_or_else(|reason| panic!("{program} {}: {reason}", words.join(" ")))
}
