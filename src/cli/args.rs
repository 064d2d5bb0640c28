//! Every word that may be typed: commands, their flags, and etcdctl's way of writing them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::called::Called;
use super::duration::parse_duration;
use super::go::{parse_bool, parse_int};
use super::{
    auth, bench, cert, check, completion, config, discovery, downgrade, elect, endpoint, kv, lease,
    lock, maintenance, member, migrate, mirror, playground, proxy, role, serve, snapshot, txn,
    user, watch,
};

/// etcd in one binary, with QUIC and mutual TLS as its native wire.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_subcommands = true,
    after_help = "Begin with `quorate playground`; in a second terminal: `quorate put greeting hello`.\n\
                  Without --endpoints the commands find the playground of this folder.\n\
                  ETCDCTL_API=2 speaks etcd's v2 API: set, get, mk, ls, rm, watch, exec-watch, cluster-health and more.\n\
                  `quorate help COMMAND` shows a command's flags and examples; it may be written shorter (`quorate mem list`)."
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
    /// Serve on this machine what the members of a cluster serve
    Proxy(proxy::Proxy),
    /// Check and show what a server would start with
    #[command(subcommand)]
    Config(config::Config),
    /// Make, revoke and show certificates
    Cert(cert::CertArgs),

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
    /// Grant, revoke and keep leases
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Hold a lock, alone or while a command runs
    Lock(lock::Lock),
    /// Take part in an election, or look on
    Elect(elect::Elect),

    /// Ask endpoints for their health, status and hash
    #[command(subcommand)]
    Endpoint(endpoint::Endpoint),
    /// See and change who belongs to the cluster
    #[command(subcommand)]
    Member(member::Member),
    /// Hand leadership to another member
    MoveLeader(endpoint::MoveLeader),
    /// Ask who asks, or let everybody do everything
    #[command(subcommand)]
    Auth(auth::Auth),
    /// Add and delete users, their passwords and roles
    #[command(subcommand)]
    User(user::User),
    /// Say what roles may read and write
    #[command(subcommand)]
    Role(role::Role),

    /// Run a discovery service (alone, or with the flags of serve); its tokens
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate discovery --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://10.0.0.1:2379\n  \
                      curl http://10.0.0.1:2379/new?size=3"
    )]
    Discovery(discovery::Discovery),

    /// Save the store into a file, look at one, make a cluster of one
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Forget what was overwritten or deleted before a revision
    Compaction(kv::Compaction),
    /// Give freed space back to the disk, member by member
    Defrag(endpoint::Defrag),
    /// See and disarm alarms
    #[command(subcommand)]
    Alarm(maintenance::Alarm),
    /// Send the cluster to an older version
    #[command(subcommand)]
    Downgrade(downgrade::Downgrade),
    /// Copy keys to another cluster, and go on with every change
    MakeMirror(mirror::MakeMirror),
    /// Move here from a running etcd: copy, follow, verify, finish
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Judge a cluster: fast enough for a load, memory for so many keys
    #[command(subcommand)]
    Check(check::Check),

    /// Measure what a cluster does, how long it takes and what it costs
    #[command(subcommand)]
    Bench(bench::Bench),

    /// Print a script that completes words in a shell
    Completion(completion::Completion),
    /// Print the version
    Version,
}

/// The commands as the help lists them; one that is named nowhere comes last.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Begin here", &["playground", "serve", "proxy", "config", "cert"]),
    ("Keys", &["get", "put", "del", "txn", "watch", "lease"]),
    ("Together", &["lock", "elect"]),
    (
        "The cluster",
        &["endpoint", "member", "move-leader", "downgrade", "discovery", "check", "bench"],
    ),
    ("Who may do what", &["auth", "user", "role"]),
    ("Its data", &["snapshot", "compaction", "defrag", "alarm", "make-mirror", "migrate"]),
    ("The program", &["completion", "version", "help"]),
];

/// The whole help, its commands ordered by what a person wants.
fn help(grammar: &clap::Command) -> String {
    let line = |command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<12} {about}\n", command.get_name())
    };
    let mut text = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        let known = names.iter().filter_map(|name| grammar.find_subcommand(name));
        let lines: String = known.map(line).collect();
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n{lines}"));
        }
    }
    let named = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    text.extend(grammar.get_subcommands().filter(|command| !named(command.get_name())).map(line));
    text + "\nOptions:\n{options}{after-help}"
}

/// Commands that run something here instead of asking a server: they take none of [`Globals`].
pub(super) const LOCAL: [&str; 6] =
    ["playground", "serve", "config", "cert", "completion", "version"];

/// Those of them that etcdctl does not have.
pub(super) const SERVER: [&str; 4] = ["playground", "serve", "config", "cert"];

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

/// What is spoken to servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Wire {
    Quic,
    Grpc,
    Either,
}

// No doc comment: clap would show it as the help of every command that has these flags.
// etcdctl's global flags; each is also a variable ETCDCTL_*.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection and output")]
pub(super) struct Globals {
    /// Servers, with commas [default: the playground of this folder, else 127.0.0.1:2379]
    #[arg(long, alias = "endpoint", value_name = "URLS", action = clap::ArgAction::Append)]
    pub endpoints: Vec<String>,
    /// How to show the answer [default: simple]
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT")]
    pub write_out: Option<Format>,
    /// Show bytes as hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// Believe servers with a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub cacert: Option<PathBuf>,
    /// Certificate to show (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(id = "key-file", long = "key", value_name = "FILE", value_parser = path_parser())]
    pub key: Option<PathBuf>,
    /// Believe any server
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Whether endpoints without a scheme are http:// [default: true without --cacert, --cert]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, hide = true)]
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
    // etcdctl's bounds of one message: the protocol has its own.
    #[arg(long, value_name = "BYTES", value_parser = parse_int, hide = true)]
    pub max_request_bytes: Option<i64>,
    #[arg(long, value_name = "BYTES", value_parser = parse_int, hide = true)]
    pub max_recv_bytes: Option<i64>,
    /// Who asks, where the cluster wants to know; without a password the terminal is asked for it
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub user: Option<String>,
    /// The user's password, which --user then does not have
    #[arg(id = "users-password", long = "password", value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Find the servers by the SRV records of this domain
    #[arg(long, short = 'd', value_name = "DOMAIN")]
    pub discovery_srv: Option<String>,
    /// Which of the domain's clusters: _etcd-client-NAME._tcp
    #[arg(long, value_name = "NAME", hide = true)]
    pub discovery_srv_name: Option<String>,
    /// Whether records without TLS count, and hosts are believed by their own names, not the domain's [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, hide = true)]
    pub insecure_discovery: Option<bool>,
    /// What is spoken to the servers: quic, grpc (over TCP, as an etcd speaks it), or either of them [default: quic; called etcdctl: either]
    #[arg(long, value_name = "WIRE")]
    pub wire: Option<Wire>,
    /// The DNS server to ask [default: as the system does]
    #[arg(long, value_name = "ADDRESS", value_parser = super::srv::server, hide = true)]
    pub dns_server: Option<std::net::SocketAddr>,
}

/// A path, or nothing at all, which is told with etcdctl's words.
pub(super) fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}

impl Globals {
    /// What was written behind the command counts more than what was written before it.
    pub(super) fn over(self, before: Self) -> Self {
        Self {
            endpoints: if self.endpoints.is_empty() { before.endpoints } else { self.endpoints },
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
            max_request_bytes: self.max_request_bytes.or(before.max_request_bytes),
            max_recv_bytes: self.max_recv_bytes.or(before.max_recv_bytes),
            user: self.user.or(before.user),
            password: self.password.or(before.password),
            discovery_srv: self.discovery_srv.or(before.discovery_srv),
            discovery_srv_name: self.discovery_srv_name.or(before.discovery_srv_name),
            insecure_discovery: self.insecure_discovery.or(before.insecure_discovery),
            dns_server: self.dns_server.or(before.dns_server),
            wire: self.wire.or(before.wire),
        }
    }
}

/// The whole grammar. The client's global flags may stand before the command and behind it; of a flag that is given
/// twice the last one counts.
pub(super) fn grammar(called: Called) -> clap::Command {
    let whole = match called {
        Called::Etcdctl => etcdctl(),
        Called::Quorate | Called::Etcd | Called::Etcdutl => Cli::command(),
    };
    let mut grammar = whole.args_override_self(true);
    let names: Vec<String> =
        grammar.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names.iter().filter(|name| !LOCAL.contains(&name.as_str())) {
        grammar = grammar.mut_subcommand(name, |command| {
            let command = Globals::augment_args(command).mut_args(|arg| {
                let is_global = Globals::augment_args(clap::Command::new("globals"))
                    .get_arguments()
                    .any(|global| global.get_id() == arg.get_id());
                arg.global(is_global)
            });
            of_etcdctl(command)
        });
    }
    let help = help(&grammar);
    grammar.help_template(help)
}

/// The commands that etcdctl has, under its name.
fn etcdctl() -> clap::Command {
    let whole = Cli::command();
    let is_theirs = |command: &&clap::Command| {
        let name = command.get_name();
        !SERVER.contains(&name) && !matches!(name, "bench" | "discovery" | "migrate" | "proxy")
    };
    let own = clap::Command::new("etcdctl")
        .about("A command line client for etcd's v3 API, over QUIC")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .infer_subcommands(true)
        .subcommands(whole.get_subcommands().filter(is_theirs).cloned());
    Globals::augment_args(own)
}

/// How etcdctl reads words: a command may be shortened, and the last of two equal flags counts.
fn of_etcdctl(command: clap::Command) -> clap::Command {
    command.args_override_self(true).infer_subcommands(true).mut_subcommands(of_etcdctl)
}

/// Go's `--switch=true` and `--switch=false`, which clap's switches do not take.
pub(super) fn without_go_switches(
    grammar: &clap::Command,
    words: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let words: Vec<OsString> = words.into_iter().collect();
    let switches = switches(grammar, &words);
    let mut is_over = false;
    let mut kept = Vec::new();
    for word in words {
        is_over |= word == "--";
        let switch = word
            .to_str()
            .filter(|_| !is_over)
            .and_then(|word| word.strip_prefix("--"))
            .and_then(|word| word.split_once('='))
            .filter(|(name, _)| switches.contains(*name))
            .and_then(|(name, value)| Some((name, parse_bool(value).ok()?)));
        match switch {
            Some((name, true)) => kept.push(OsString::from(format!("--{name}"))),
            Some((_, false)) => {}
            None => kept.push(word),
        }
    }
    kept
}

/// The command that a word names inside of `here`: by its whole name, or by what no other's begins with.
pub(super) fn named<'a>(here: &'a clap::Command, word: &str) -> Option<&'a clap::Command> {
    let mut shortened = here.get_subcommands().filter(|inner| inner.get_name().starts_with(word));
    here.find_subcommand(word).or_else(|| {
        let only = shortened.next();
        only.filter(|_| !word.is_empty() && shortened.next().is_none())
    })
}

/// Those of the called command and of the ones above it: what is a switch there takes a value elsewhere.
fn switches(grammar: &clap::Command, words: &[OsString]) -> BTreeSet<String> {
    let own = |command: &clap::Command| -> Vec<String> {
        command
            .get_arguments()
            .filter(|arg| matches!(arg.get_action(), clap::ArgAction::SetTrue))
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .collect()
    };
    let mut here = grammar;
    let mut found = BTreeSet::from_iter(own(here));
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = named(here, word) {
            found.extend(own(inner));
            here = inner;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        for called in [Called::Quorate, Called::Etcdctl] {
            grammar(called).debug_assert();
        }
    }

    #[test]
    fn a_switch_of_one_command_is_a_value_of_another() {
        for (words, kept) in [
            (
                &["quorate", "get", "--prefix=true", "k"][..],
                &["quorate", "get", "--prefix", "k"][..],
            ),
            (&["quorate", "get", "--prefix=f", "k"], &["quorate", "get", "k"]),
            (&["quorate", "--hex=t", "get", "k"], &["quorate", "--hex", "get", "k"]),
            (
                &["quorate", "lease", "time", "1", "--keys=1"],
                &["quorate", "lease", "time", "1", "--keys"],
            ),
            (
                &["quorate", "make-mirror", "--prefix=f", "h:1"],
                &["quorate", "make-mirror", "--prefix=f", "h:1"],
            ),
            (&["quorate", "bench", "get", "--keys=1"], &["quorate", "bench", "get", "--keys=1"]),
            (&["quorate", "put", "--", "--prefix=f"], &["quorate", "put", "--", "--prefix=f"]),
        ] {
            let words = words.iter().map(OsString::from);
            let kept: Vec<OsString> = kept.iter().map(OsString::from).collect();
            assert_eq!(without_go_switches(&grammar(Called::Quorate), words), kept);
        }
    }

    #[test]
    fn global_flags_stand_before_and_behind_the_command() {
        for words in [
            &["quorate", "--endpoints", "a", "get", "k"][..],
            &["quorate", "get", "--endpoints", "a", "k"],
            &["quorate", "member", "--endpoints", "a", "list"],
            &["quorate", "member", "list", "--endpoints=a"],
        ] {
            let (globals, _) =
                super::super::run::parse(Called::Quorate, words.iter().map(OsString::from))
                    .unwrap();
            assert_eq!(globals.endpoints, ["a"], "{words:?}");
        }
    }

    #[test]
    fn the_help_groups_every_command_and_shows_examples() {
        let mut grammar = grammar(Called::Quorate);
        let text = grammar.render_long_help().to_string();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} in {text}"));
        assert!(at("Begin here:") < at("Keys:") && at("\n  put ") < at("\n  snapshot "));
        let bare = ["playground", "serve", "config", "cert", "bench", "version"];
        for command in grammar.get_subcommands().filter(|it| !bare.contains(&it.get_name())) {
            show_examples(command);
        }
    }

    fn show_examples(command: &clap::Command) {
        if command.has_subcommands() || command.get_name() == "help" {
            return command.get_subcommands().for_each(show_examples);
        }
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Example"), "{help}");
    }

    #[test]
    fn a_command_may_be_shortened_and_the_last_of_two_flags_counts() {
        let parse = |words: &[&str]| {
            super::super::run::parse(Called::Quorate, words.iter().map(OsString::from))
        };
        for words in [
            &["quorate", "mem", "list"][..],
            &["quorate", "compact", "5"],
            &["quorate", "get", "k", "--limit", "1", "--limit", "2"],
        ] {
            parse(words).unwrap();
        }
    }

    #[test]
    fn gos_switches_are_understood() {
        let words = ["quorate", "watch", "--prefix=T", "--prev-kv=0", "hello", "--", "--x=true"];
        let words = without_go_switches(&grammar(Called::Quorate), words.map(OsString::from));
        assert_eq!(words, ["quorate", "watch", "--prefix", "hello", "--", "--x=true"]);
    }
}
