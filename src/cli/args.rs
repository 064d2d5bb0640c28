//! Every word that may be typed: commands, their flags, and etcdctl's way of writing them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::duration::parse_duration;
use super::{
    bench, cert, check, config, elect, endpoint, kv, lease, lock, maintenance, member, mirror,
    playground, serve, txn, watch,
};

/// etcd in one binary, with QUIC and mutual TLS as its native wire.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    after_help = "Begin with `quorate playground`; in a second terminal: `quorate put greeting hello`.\n\
                  Without --endpoints the commands find the playground of this folder."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a cluster to play with: three nodes, certificates, and what to try next
    Playground(playground::Playground),
    /// Run one member of a cluster
    Serve(serve::Serve),
    /// Check and show what a server would start with
    #[command(subcommand)]
    Config(config::Config),
    /// Make, revoke and show certificates
    Cert(cert::CertArgs),
    /// Print the version
    Version,

    /// Read a key or a range of keys
    Get(kv::Get),
    /// Write a key
    Put(kv::Put),
    /// Delete a key or a range of keys
    Del(kv::Del),
    /// Compare, then do one of two lists of operations, all at one revision
    Txn(txn::Txn),
    /// Watch a key or a range of keys
    Watch(watch::Watch),
    /// Forget what was overwritten or deleted before a revision
    Compaction(kv::Compaction),
    /// Grant, revoke and keep leases
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Hold a lock, alone or while a command runs
    Lock(lock::Lock),
    /// Take part in an election, or look on
    Elect(elect::Elect),
    /// See and change who belongs to the cluster
    #[command(subcommand)]
    Member(member::Member),
    /// Ask endpoints for their health, status and hash
    #[command(subcommand)]
    Endpoint(endpoint::Endpoint),
    /// Hand leadership to another member
    MoveLeader(endpoint::MoveLeader),
    /// See and disarm alarms
    #[command(subcommand)]
    Alarm(maintenance::Alarm),
    /// Save the store into a file
    #[command(subcommand)]
    Snapshot(maintenance::Snapshot),
    /// Copy keys to another cluster, and go on with every change
    MakeMirror(mirror::MakeMirror),
    /// Judge a cluster: fast enough for a load, memory for so many keys
    #[command(subcommand)]
    Check(check::Check),

    /// Measure what a cluster does, how long it takes and what it costs
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Commands that run something here instead of asking a server: they take none of [`Globals`].
pub(super) const LOCAL: [&str; 5] = ["playground", "serve", "config", "cert", "version"];

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    #[default]
    Simple,
    Json,
    Table,
    Fields,
    Protobuf,
}

// No doc comment: clap would show it as the help of every command that has these flags.
// etcdctl's global flags; each is also a variable ETCDCTL_*.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection and output")]
pub(super) struct Globals {
    /// Servers, with commas [default: the playground of this folder, else 127.0.0.1:2379]
    #[arg(long, value_name = "URLS")]
    pub endpoints: Option<String>,
    /// How to show the answer [default: simple]
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT")]
    pub write_out: Option<Format>,
    /// Show bytes as hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// Believe servers with a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate to show (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(id = "key-file", long = "key", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Believe any server
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Whether endpoints without a scheme are http:// [default: true without --cacert, --cert]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub insecure_transport: Option<bool>,
    /// Time for an endpoint to answer the first time [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub dial_timeout: Option<Duration>,
    /// Time for a command [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub command_timeout: Option<Duration>,
    /// Log what the client does
    #[arg(long)]
    pub debug: bool,
    // etcdctl's, without a meaning over QUIC: its connections keep themselves alive.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, hide = true)]
    pub keepalive_time: Option<Duration>,
    #[arg(long, value_name = "TIME", value_parser = parse_duration, hide = true)]
    pub keepalive_timeout: Option<Duration>,
}

impl Globals {
    /// What was written behind the command counts more than what was written before it.
    pub(super) fn over(self, before: Self) -> Self {
        Self {
            endpoints: self.endpoints.or(before.endpoints),
            write_out: self.write_out.or(before.write_out),
            hex: self.hex || before.hex,
            cacert: self.cacert.or(before.cacert),
            cert: self.cert.or(before.cert),
            key: self.key.or(before.key),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify
                || before.insecure_skip_tls_verify,
            insecure_transport: self.insecure_transport.or(before.insecure_transport),
            dial_timeout: self.dial_timeout.or(before.dial_timeout),
            command_timeout: self.command_timeout.or(before.command_timeout),
            debug: self.debug || before.debug,
            keepalive_time: self.keepalive_time.or(before.keepalive_time),
            keepalive_timeout: self.keepalive_timeout.or(before.keepalive_timeout),
        }
    }
}

/// The whole grammar. The client's global flags may stand before the command and behind it.
pub(super) fn grammar() -> clap::Command {
    let mut grammar = Cli::command();
    let clients: Vec<String> = grammar
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(|name| !LOCAL.contains(&name.as_str()))
        .collect();
    for name in clients {
        grammar = grammar.mut_subcommand(name, |command| {
            Globals::augment_args(command).mut_args(|arg| {
                let is_global = Globals::augment_args(clap::Command::new("globals"))
                    .get_arguments()
                    .any(|global| global.get_id() == arg.get_id());
                arg.global(is_global)
            })
        });
    }
    grammar
}

/// Go's `--switch=true` and `--switch=false`, which clap's switches do not take.
pub(super) fn without_go_switches(
    grammar: &clap::Command,
    words: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let switches = switches(grammar);
    let mut is_over = false;
    let mut kept = Vec::new();
    for word in words {
        is_over |= word == "--";
        let switch = word
            .to_str()
            .filter(|_| !is_over)
            .and_then(|word| word.strip_prefix("--"))
            .and_then(|word| word.split_once('='))
            .filter(|(name, _)| switches.contains(*name));
        match switch {
            Some((name, "true")) => kept.push(OsString::from(format!("--{name}"))),
            Some((_, "false")) => {}
            _ => kept.push(word),
        }
    }
    kept
}

fn switches(command: &clap::Command) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = command
        .get_arguments()
        .filter(|arg| matches!(arg.get_action(), clap::ArgAction::SetTrue))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    for inner in command.get_subcommands() {
        found.extend(switches(inner));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        grammar().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_behind_the_command() {
        for words in [
            &["quorate", "--endpoints", "a", "get", "k"][..],
            &["quorate", "get", "--endpoints", "a", "k"],
            &["quorate", "member", "--endpoints", "a", "list"],
            &["quorate", "member", "list", "--endpoints=a"],
        ] {
            let (globals, _) = super::super::run::parse(words.iter().map(OsString::from)).unwrap();
            assert_eq!(globals.endpoints.as_deref(), Some("a"), "{words:?}");
        }
    }

    #[test]
    fn gos_switches_are_understood() {
        let words =
            ["quorate", "watch", "--prefix=true", "--prev-kv=false", "hello", "--", "--x=true"];
        let words = without_go_switches(&grammar(), words.map(OsString::from));
        assert_eq!(words, ["quorate", "watch", "--prefix", "hello", "--", "--x=true"]);
    }
}
