//! `check perf`: a minute of writes at a given rate, and a verdict.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::connect::Session;
use crate::cli::exit::{Code, Exit};
use crate::cli::progress::Progress;

use super::args::{After, Model};
use super::press::{Press, Tally, random_key};
use super::site::Site;

const KEY_BYTES: usize = 256;
static VALUE: [u8; 1024] = [0; 1024];
const TIME: Duration = Duration::from_secs(60);

/// What could not be begun in time is made up for if it is no older than this: timers are that coarse.
const LATE_MAX: Duration = Duration::from_millis(10);

/// A cluster passes if it does nine tenths of the rate,
const RATE_PART: f64 = 0.9;
/// needs no longer than this for any write, seconds,
const SLOWEST_MAX: f64 = 0.5;
/// and is as steady as this, seconds.
const DEVIATION_MAX: f64 = 0.1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    writes_per_second: u32,
    workers: u32,
}

impl Load {
    pub(super) fn named(model: Model) -> Self {
        let (writes_per_second, workers) = match model {
            Model::Small => (150, 50),
            Model::Medium => (1_000, 200),
            Model::Large => (8_000, 500),
            Model::ExtraLarge => (15_000, 1_000),
        };
        Self { writes_per_second, workers }
    }
}

pub(super) async fn run(
    session: &Session,
    load: Load,
    prefix: &str,
    after: After,
) -> Result<(), Exit> {
    let mut site = Site::prepare(session, prefix, after, load.workers).await?;
    // What was written until it was stopped is judged all the same.
    let (tally, _is_whole) =
        site.load(async |press, prefix| write(press, load, prefix).await).await?;
    match site.delete().await {
        Ok(revision) => site.compact(revision).await?,
        Err(exit) => println!("FAIL: Cleanup failed during key deletion: ERROR({exit})"),
    }
    site.defragment().await?;
    let (lines, is_good) = verdict(&tally, load);
    for line in lines {
        println!("{line}");
    }
    if is_good { Ok(()) } else { Err(Exit::silent(Code::Error)) }
}

async fn write(press: &mut Press, load: Load, prefix: &str) -> Result<(), Exit> {
    let mut progress = Progress::new("writing");
    let pause = Duration::from_secs(1) / load.writes_per_second;
    let mut due = Duration::ZERO;
    while due < TIME {
        let worker = press.worker().await;
        let now = press.elapsed();
        if due > now {
            sleep(due - now).await;
        }
        press.put(worker, random_key(prefix, KEY_BYTES)?, &VALUE);
        due = (due + pause).max(press.elapsed().saturating_sub(LATE_MAX));
        progress.count(now.as_secs(), TIME.as_secs(), "s");
    }
    Ok(())
}

/// etcdctl's lines, and whether the cluster passes.
fn verdict(tally: &Tally, load: Load) -> (Vec<String>, bool) {
    let count = tally.seconds.len() as f64;
    let rate = count / tally.took.as_secs_f64().max(f64::MIN_POSITIVE);
    let slowest = tally.seconds.iter().copied().fold(0.0, f64::max);
    let mean = tally.seconds.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = tally.seconds.iter().map(|seconds| (seconds - mean).powi(2)).sum();
    let deviation = (squares / count.max(1.0)).sqrt();

    let mut lines = tally.failures();
    let mut is_good = lines.is_empty();
    let mut judge = |passes: bool, good: String, bad: String| {
        is_good &= passes;
        lines.push(if passes { good } else { bad });
    };
    let writes = rate as u64 + 1;
    judge(
        rate / f64::from(load.writes_per_second) > RATE_PART,
        format!("PASS: Throughput is {writes} writes/s"),
        format!("FAIL: Throughput too low: {writes} writes/s"),
    );
    judge(
        slowest <= SLOWEST_MAX,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    );
    judge(
        deviation <= DEVIATION_MAX,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    );
    lines.push(if is_good { "PASS" } else { "FAIL" }.to_owned());
    (lines, is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(seconds: &[f64], errors: &[(&str, u64)]) -> (Vec<String>, bool) {
        let errors = errors.iter().map(|&(text, count)| (text.to_owned(), count)).collect();
        let tally = Tally { seconds: seconds.to_vec(), errors, took: Duration::from_secs(1) };
        verdict(&tally, Load::named(Model::Small))
    }

    #[test]
    fn a_fast_and_steady_cluster_passes() {
        let (lines, is_good) = judged(&[0.25; 150], &[]);
        assert!(is_good);
        assert_eq!(
            lines,
            [
                "PASS: Throughput is 151 writes/s",
                "PASS: Slowest request took 0.250000s",
                "PASS: Stddev is 0.000000s",
                "PASS"
            ]
        );
    }

    #[test]
    fn each_failing_has_its_line() {
        let mut seconds = vec![0.0; 60];
        seconds.extend([1.0; 60]);
        let (lines, is_good) = judged(&seconds, &[("etcdserver: request timed out", 3)]);
        assert!(!is_good);
        assert_eq!(
            lines,
            [
                "FAIL: too many errors",
                "FAIL: ERROR(etcdserver: request timed out) -> 3",
                "FAIL: Throughput too low: 121 writes/s",
                "Slowest request took too long: 1.000000s",
                "Stddev too high: 0.500000s",
                "FAIL"
            ]
        );
        assert!(!judged(&[], &[]).1, "nothing written is no pass");
    }
}
