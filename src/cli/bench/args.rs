//! The words of `bench`, and what they come to.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::duration::parse_duration;
use crate::cli::exit::Exit;

use super::keys::Keys;

/// In flight for which one connection is opened when nothing else is said.
const IN_FLIGHT_PER_CONNECTION: usize = 64;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Bench {
    /// Write keys
    #[command(after_help = "Example: quorate bench put --in-flight 256 --duration 10s")]
    Put(Put),
    /// Read keys, one at a time or in pages
    #[command(after_help = "Example: quorate bench get --serializable --in-flight 256\n\
                            Example: quorate bench get --page 100 --keys 1000000")]
    Get(Get),
    /// Write and read
    #[command(after_help = "Example: quorate bench mixed --reads 3 --rate 20000")]
    Mixed(Mixed),
    /// Compare a key and then write it, in one transaction
    #[command(after_help = "Example: quorate bench txn --in-flight 64")]
    Txn(Txn),
    /// Write one key, and wait until every watcher was told
    #[command(after_help = "Example: quorate bench watch --watchers 10000")]
    Watch(Watch),
    /// Grant leases and keep them alive
    #[command(after_help = "Example: quorate bench lease --leases 100000 --ttl 30 --duration 60s")]
    Lease(Lease),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Put {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub keys: KeySpace,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Get {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub keys: KeySpace,
    /// Read what the asked member has, without asking the others
    #[arg(long)]
    pub serializable: bool,
    /// Read the first N keys of the whole prefix, with the number of all; 0 reads single keys
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub page: i64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Mixed {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub keys: KeySpace,
    /// Reads for each write
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub reads: u64,
    /// Read what the asked member has, without asking the others
    #[arg(long)]
    pub serializable: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Txn {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub keys: KeySpace,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub keys: KeySpace,
    /// Watchers of the prefix, spread over the connections
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub watchers: usize,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Lease {
    #[command(flatten)]
    pub load: Load,
    /// Leases, spread over the connections
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub leases: usize,
    /// Seconds a lease lives without a renewal; each is renewed at a third
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub ttl: i64,
}

/// How hard the cluster is driven, and for how long.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// Calls that wait for their answer at the same time; for watch puts, for lease grants [default: 64; watch: 1]
    #[arg(long, alias = "clients", value_name = "N")]
    pub in_flight: Option<usize>,
    /// Connections, spread over the endpoints, one for each thread at least; watch has more for its puts
    /// [default: one for each 64 in flight, 1,000 watchers or 10,000 leases]
    #[arg(long, alias = "conns", value_name = "N")]
    pub connections: Option<usize>,
    /// Begin so many calls a second, whether or not earlier ones are answered [default: as fast as they are]
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// How long it is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Stop after so many calls instead; there is no warm-up then
    #[arg(long, value_name = "N")]
    pub total: Option<u64>,
    /// Load before anything is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// Threads of this program, each with its share of the connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// A local server's process, for its CPU time and bytes written; repeatable [default: found by the endpoints]
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
}

/// Which keys, and how large everything is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Keys")]
pub(crate) struct KeySpace {
    /// Keys that are written and read; those missing are written before a read is measured
    #[arg(long, alias = "key-space-size", value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// What every key begins with
    #[arg(long, value_name = "TEXT", default_value = "bench/")]
    pub prefix: String,
    /// Length of a key, bytes
    #[arg(long, alias = "key-size", value_name = "N", default_value_t = 32)]
    pub key_bytes: usize,
    /// Length of a value, bytes
    #[arg(long, alias = "val-size", value_name = "N", default_value_t = 256)]
    pub value_bytes: usize,
    /// One key after the other instead of at random
    #[arg(long, alias = "sequential-keys")]
    pub sequential: bool,
}

impl Load {
    pub(super) fn in_flight(&self, default: usize) -> usize {
        self.in_flight.unwrap_or(default).max(1)
    }

    /// Of calls: never more connections than there are in flight, but for the one that every thread has.
    pub(super) fn connections(&self, in_flight: usize) -> usize {
        let default = in_flight.div_ceil(IN_FLIGHT_PER_CONNECTION);
        let connections = self.connections.unwrap_or(default).clamp(1, in_flight);
        connections.max(usize::from(self.threads))
    }

    /// Of what lives long: one for each `each` of `count`, and one for every thread.
    pub(super) fn connections_of(&self, count: usize, each: usize) -> usize {
        let default = count.div_ceil(each);
        self.connections.unwrap_or(default).max(usize::from(self.threads))
    }
}

impl KeySpace {
    pub(super) fn keys(&self) -> Result<Keys, Exit> {
        let digits = (self.keys - 1).checked_ilog10().map_or(1, |log| log as usize + 1);
        let shortest = self.prefix.len() + digits;
        if self.key_bytes < shortest {
            return Err(Exit::bad_args(format!(
                "--key-bytes {} is too short: the prefix {:?} and {} keys need {shortest}",
                self.key_bytes, self.prefix, self.keys
            )));
        }
        Ok(Keys {
            prefix: self.prefix.clone(),
            count: self.keys,
            bytes: self.key_bytes,
            sequential: self.sequential,
        })
    }
}
