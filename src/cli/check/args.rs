//! The words of both checks.

use clap::{Args, Subcommand};

use crate::cli::connect::Session;
use crate::cli::exit::{Code, Exit};

use super::{datascale, perf};

#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum Check {
    /// Write for a minute, and judge throughput and times
    Perf(Perf),
    /// Write many keys, and show the memory they take at a server of this machine
    Datascale(Datascale),
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Loads: s 150, m 1,000, l 8,000, xl 15,000 writes/s by 50, 200, 500, 1,000 clients.\n\
    Passes with 90% of the writes, none of them over 500 ms, and a standard deviation of at most 100 ms.\n\n\
    Example:\n  quorate check perf --load m"
)]
pub(in crate::cli) struct Perf {
    /// s(mall), m(edium), l(arge) or xl(arge)
    #[arg(long, value_name = "LOAD", default_value = "s")]
    load: String,
    /// Where the keys are written; there must be none yet
    #[arg(long, value_name = "PREFIX", default_value = "/etcdctl-check-perf/")]
    prefix: String,
    #[command(flatten)]
    after: After,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Loads: s 10,000, m 100,000, l 1,000,000, xl 3,000,000 keys of 1 KiB.\n\
    The memory is the resident one of the process that serves the first endpoint, read from /proc.\n\n\
    Example:\n  quorate check datascale --load s --auto-compact")]
pub(in crate::cli) struct Datascale {
    /// s(mall), m(edium), l(arge) or xl(arge)
    #[arg(long, value_name = "LOAD", default_value = "s")]
    load: String,
    /// Where the keys are written; there must be none yet
    #[arg(long, value_name = "PREFIX", default_value = "/etcdctl-check-datascale/")]
    prefix: String,
    #[command(flatten)]
    after: After,
}

/// What is done when all is deleted again.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct After {
    /// Compact at the last revision afterwards
    #[arg(long)]
    pub auto_compact: bool,
    /// Defragment each endpoint afterwards
    #[arg(long)]
    pub auto_defrag: bool,
}

impl Check {
    pub(in crate::cli) async fn run(self, session: &Session) -> Result<(), Exit> {
        match self {
            Self::Perf(Perf { load, prefix, after }) => {
                perf::run(session, perf::Load::named(model(&load)?), &prefix, after).await
            }
            Self::Datascale(Datascale { load, prefix, after }) => {
                datascale::run(session, datascale::Load::named(model(&load)?), &prefix, after).await
            }
        }
    }
}

/// The four sizes of both checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Model {
    Small,
    Medium,
    Large,
    ExtraLarge,
}

fn model(name: &str) -> Result<Model, Exit> {
    match name {
        "s" | "small" => Ok(Model::Small),
        "m" | "medium" => Ok(Model::Medium),
        "l" | "large" => Ok(Model::Large),
        "xl" | "xLarge" => Ok(Model::ExtraLarge),
        other => Err(Exit::new(
            Code::BadFeature,
            format!("unknown load option {other}: it is s, m, l or xl"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_have_etcdctls_names() {
        for (name, load) in
            [("s", Model::Small), ("large", Model::Large), ("xLarge", Model::ExtraLarge)]
        {
            assert_eq!(model(name).unwrap(), load);
        }
        assert_eq!(model("XL").unwrap_err().code, Code::BadFeature);
    }
}
