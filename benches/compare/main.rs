//! etcd and Quorate side by side: both as clusters with mutual TLS on this machine, driven in turn, pair by pair.
//!
//! ```text
//!   cargo bench --bench compare                          # everything, into docs/benchmarks.md
//!   cargo bench --bench compare -- --quick               # shorter runs, printed
//!   cargo bench --bench compare -- --only put,get        # some rows, printed
//! ```
//!
//! etcd is driven by its own gRPC client (benches/etcd), Quorate by `quorate bench`: two programs with the same words,
//! the same keys and the same report. In the rows named grpc, etcd's client drives both. Both servers run with their default settings but for the room in the database.

mod cluster;
mod disk;
mod load;
mod memory;
mod page;
mod restart;
mod rows;
mod upkeep;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;

use cluster::{Cluster, Programs, System};
use rows::Row;

/// Whatever stops a run; the text says what to do.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Args {
    /// The etcd server [default: built by benches/etcd.sh into target/etcd]
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
    /// The program of benches/etcd [default: built by benches/etcd.sh into target/etcd]
    #[arg(long, value_name = "FILE")]
    etcd_load: Option<PathBuf>,
    /// The quorate program [default: the one built with this bench]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_quorate"))]
    quorate: PathBuf,
    /// Shorter runs, fewer of them
    #[arg(long)]
    quick: bool,
    /// Runs of each system for each row; the median counts [default: 3, quick: 1]
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// Seconds of one run [default: 4, quick: 2]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Only rows whose name begins with one of these
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Where data and certificates lie while it runs
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    dir: PathBuf,
    /// The page that is written [default: docs/benchmarks.md; with --only or --quick it is printed]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn pairs(&self) -> usize {
        self.pairs.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 2 } else { 4 }).max(1)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only))
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let programs = programs(&args)?;
    let dir = std::path::absolute(&args.dir)?;
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    cluster::certificates(&programs, &dir)?;
    let mut page = page::Page::new(&programs, &args)?;
    three_nodes(&args, &programs, &dir, &mut page)?;
    if args.wants("restart") {
        let keys = if args.quick { 200_000 } else { 1_000_000 };
        let measured = restart::both(&programs, &dir, keys, args.pairs())?;
        page.restart(keys, &measured);
    }
    if args.wants("upkeep") {
        let keys = if args.quick { 200_000 } else { 1_000_000 };
        page.upkeep(keys, &upkeep::both(&programs, &dir, keys)?);
    }
    // A page that lacks rows does not take the place of a whole one.
    let whole = (!args.quick && args.only.is_empty()).then(|| PathBuf::from("docs/benchmarks.md"));
    match args.out.clone().or(whole) {
        Some(out) => {
            std::fs::write(&out, page.text())?;
            eprintln!("written: {}", out.display());
        }
        None => print!("{}", page.text()),
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// The rows that want a cluster of three.
fn three_nodes(args: &Args, programs: &Programs, dir: &Path, page: &mut page::Page) -> Outcome<()> {
    let rows: Vec<Row> =
        rows::all(args.quick).into_iter().filter(|row| args.wants(row.name)).collect();
    if rows.is_empty() && !args.wants("written") {
        return Ok(());
    }
    let etcd = Cluster::start(programs, System::Etcd, dir, 3)?;
    let quorate = Cluster::start(programs, System::Quorate, dir, 3)?;
    let both = [&etcd, &quorate];
    if args.wants("written") {
        let [etcd, quorate] = both.map(|cluster| disk::written(cluster, 2 * args.seconds()));
        page.written(etcd?, quorate?);
    }
    for row in rows {
        for cluster in both {
            load::prepare(cluster, &row)?;
        }
        let mut runs = [Vec::new(), Vec::new()];
        for pair in 0..row.pairs.unwrap_or_else(|| args.pairs()) {
            for (cluster, runs) in both.iter().zip(&mut runs) {
                // What the one before left behind (a checkpoint, a commit) is its own.
                std::thread::sleep(Duration::from_millis(500));
                let run = load::run(cluster, &row, args.seconds())?;
                eprintln!("{:<34} {pair} {}", row.title, page::line(cluster.system, &run));
                runs.push(run);
            }
        }
        let [etcd, quorate] = runs;
        page.row(&row, &etcd, &quorate);
    }
    Ok(())
}

/// etcd's programs are built once, unless they are named.
fn programs(args: &Args) -> Outcome<Programs> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/etcd");
    let etcd = args.etcd.clone().unwrap_or_else(|| folder.join("etcd"));
    let etcd_load = args.etcd_load.clone().unwrap_or_else(|| folder.join("etcd-load"));
    if !etcd.exists() || !etcd_load.exists() {
        let built = Command::new(root.join("benches/etcd.sh")).arg(&folder).status()?;
        if !built.success() || !etcd.exists() || !etcd_load.exists() {
            return Err("benches/etcd.sh did not build etcd: run it by hand, or name --etcd and --etcd-load".into());
        }
    }
    Ok(Programs { etcd, etcd_load, quorate: args.quorate.clone() })
}
