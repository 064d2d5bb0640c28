//! What a failing world leaves behind: its event log, a smaller world that fails the same check, and the commands that
//! replay both.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::shrink::{Ended, shrink};
use crate::violation::Violation;
use crate::world::{Plan, World};
use crate::worlds::run;

pub(crate) struct Failure {
    pub(crate) plan: Plan,
    pub(crate) violation: Violation,
    /// Operations that had begun, and the numbers of the faults that had come.
    pub(crate) operations: u64,
    faults: Vec<u64>,
    tail: String,
    whole: String,
    mix: String,
}

impl Failure {
    pub(crate) fn before_it_began(plan: &Plan, violation: Violation) -> Box<Self> {
        let (tail, whole, mix) = (String::new(), String::new(), String::new());
        Box::new(Self {
            plan: plan.clone(),
            violation,
            operations: 0,
            faults: Vec::new(),
            tail,
            whole,
            mix,
        })
    }

    pub(crate) fn of(world: &World, violation: Violation) -> Box<Self> {
        Box::new(Self {
            plan: world.plan.clone(),
            operations: world.clients.issued(),
            faults: world.faults.come(),
            tail: world.trace.tail(),
            whole: format!(
                "{}{} - violation {}\n",
                world.trace.whole(),
                world.now,
                violation.to_string().replace('\n', " ")
            ),
            mix: format!("{:?}", world.mix),
            violation,
        })
    }

    fn ended(&self) -> Ended {
        let (operations, faults) = (self.operations, self.faults.clone());
        Ended { check: self.violation.check, operations, faults }
    }
}

/// Where logs go, unless a test says otherwise: `target/sim`.
pub(crate) fn logs_dir() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("sim")
}

/// Writes the logs of a failure and of the smallest world that fails the same way, and says what there is to know.
pub(crate) fn of(failure: &Failure, logs: &Path, tries: u64) -> String {
    let Failure { plan, violation, tail, .. } = failure;
    let seed = plan.seed;
    let mut told = format!("{tail}\nworld {seed}: {violation}\n\n");
    told.push_str(&format!("replay: {}\n", replay(plan)));
    told.push_str(&logged(plan, &logs.join(format!("seed-{seed}.log"))));
    if tries == 0 {
        return told;
    }
    let failing = |plan: &Plan| run(plan).err().map(|failure| failure.ended());
    let shrunk = shrink(plan.clone(), failure.ended(), tries, failing);
    let small = replay(&shrunk.plan);
    told.push_str(&format!(
        "\nsmallest in {} tries that fails {}\n",
        shrunk.tries, violation.check
    ));
    told.push_str(&format!("replay: {small}\n"));
    told.push_str(&logged(&shrunk.plan, &logs.join(format!("seed-{seed}-small.log"))));
    told
}

/// Runs it once more, with its log kept.
fn logged(plan: &Plan, path: &Path) -> String {
    let plan = Plan { keep_trace: true, ..plan.clone() };
    let Err(failure) = run(&plan) else {
        return "it keeps its promises when it is run again: what it does depends on more than its seed\n"
            .to_owned();
    };
    match write(&failure, path) {
        Ok(()) => format!("log: {0}\nwalk: cargo run --example replay {0}\n", path.display()),
        Err(error) => format!("its log could not be written to {}: {error}\n", path.display()),
    }
}

fn write(failure: &Failure, path: &Path) -> io::Result<()> {
    let Failure { plan, violation, whole, mix, .. } = failure;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let head = format!(
        "# world {}: {} operations\n# broke {violation}\n# replay: {}\n# {mix}\n",
        plan.seed,
        failure.operations,
        replay(plan)
    );
    // Each line of the head is one, whatever the violation says.
    let head: Vec<&str> = head.lines().filter(|line| line.starts_with("# ")).collect();
    fs::write(path, format!("{}\n{whole}", head.join("\n")))
}

/// The command that runs this world.
fn replay(plan: &Plan) -> String {
    let mut set = format!("SIM_SEED={}", plan.seed);
    if let Some(until) = plan.until {
        set.push_str(&format!(" SIM_UNTIL={until}"));
    }
    if !plan.without.is_empty() {
        let without: Vec<String> = plan.without.iter().map(u64::to_string).collect();
        set.push_str(&format!(" SIM_WITHOUT={}", without.join(",")));
    }
    if let Some(clients) = plan.clients {
        set.push_str(&format!(" SIM_CLIENTS={clients}"));
    }
    if let Some(watchers) = plan.watchers {
        set.push_str(&format!(" SIM_WATCHERS={watchers}"));
    }
    format!("{set} cargo test --release --test sim worlds_keep -- --nocapture")
}
