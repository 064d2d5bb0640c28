//! From flags, ETCDCTL_* variables and the playground's profile to a client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{self, Client, ClientFiles, Config, Error, Login};
use crate::config::nearest;

use super::args::{Format, Globals, Wire};
use super::duration::parse_duration;
use super::exit::{Code, Exit};
use super::go::parse_bool;
use super::password;
use super::print::Printer;
use super::profile;
use super::srv::{self, Asking};

pub(super) const ENDPOINT_DEFAULT: &str = "127.0.0.1:2379";

/// What every client command needs, settled.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub endpoints: Vec<String>,
    /// The endpoints are those of the folder's playground.
    pub is_profile: bool,
    pub tls: Option<ClientFiles>,
    /// Who asks.
    pub login: Option<Login>,
    /// Who knows the endpoints' addresses, if not the system.
    pub dns_server: Option<SocketAddr>,
    pub dial_timeout: Duration,
    pub command_timeout: Duration,
    /// Somebody asked for this time: it bounds commands, too, that otherwise take as long as they take.
    pub is_command_timeout_set: bool,
    pub printer: Printer,
    pub wire: client::Wire,
    /// What the names of its flags begin with.
    flags: &'static str,
}

/// The flags of the cluster that a command is about, of the one that it copies to, and of the one that it copies from.
const OWN: &str = "--";
const DESTINATION: &str = "--dest-";
const SOURCE: &str = "--from-";

/// Time for one call of a command that goes on for long, where nobody says another: pages may be large, and members may be
/// restarting.
const LASTING_CALL: Duration = Duration::from_secs(30);

impl Session {
    /// Flags count more than variables; the profile counts where neither names endpoints or certificates.
    pub(super) fn new(
        globals: &Globals,
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self, Exit> {
        let printer = printer(globals, environment)?;
        let globals = globals.clone().over(from_environment(environment)?);
        let mut files = ClientFiles {
            trusted_ca: globals.cacert,
            cert: globals.cert,
            key: globals.key,
            insecure_skip_verify: globals.insecure_skip_tls_verify,
            server_name: None,
        };
        let is_plain = globals.endpoints.is_empty()
            && files == ClientFiles::default()
            && globals.discovery_srv.is_none();
        let profile = if is_plain { profile::find(folder)? } else { None };
        let mut written = globals.endpoints;
        if let Some(domain) = globals.discovery_srv {
            let insecure = globals.insecure_discovery.unwrap_or(true);
            let (service, dns_server) = (globals.discovery_srv_name, globals.dns_server);
            written =
                srv::endpoints(&Asking { domain: domain.clone(), service, dns_server, insecure })?;
            if !insecure {
                files.server_name = Some(domain.trim_end_matches('.').to_owned());
            }
        }
        if written.is_empty() {
            written.push(ENDPOINT_DEFAULT.to_owned());
        }
        let mut endpoints: Vec<String> = written.iter().flat_map(|list| listed(list)).collect();
        let is_profile = profile.is_some();
        if let Some(profile) = profile {
            endpoints = profile.endpoints;
            files.trusted_ca = Some(profile.cacert);
            files.cert = Some(profile.cert);
            files.key = Some(profile.key);
        }
        if endpoints.is_empty() {
            return Err(Exit::bad_args("--endpoints is empty: name one such as 127.0.0.1:2379"));
        }
        let tls = tls(OWN, files, globals.insecure_transport, &endpoints)?;
        Ok(Self {
            endpoints,
            is_profile,
            tls,
            login: login(globals.user, globals.password)?,
            dns_server: globals.dns_server,
            dial_timeout: globals.dial_timeout.unwrap_or(Duration::from_secs(2)),
            command_timeout: globals.command_timeout.unwrap_or(Duration::from_secs(5)),
            is_command_timeout_set: globals.command_timeout.is_some(),
            printer,
            wire: match globals.wire {
                None | Some(Wire::Quic) => client::Wire::Quic,
                Some(Wire::Grpc) => client::Wire::Grpc,
                Some(Wire::Either) => client::Wire::Either,
            },
            flags: OWN,
        })
    }

    /// Another cluster with the same times, whose flags begin with `--dest-`; who asks there is to be said.
    pub(super) fn destination(
        &self,
        endpoints: &str,
        files: ClientFiles,
        insecure_transport: Option<bool>,
    ) -> Result<Self, Exit> {
        let endpoints: Vec<String> = listed(endpoints).collect();
        if endpoints.is_empty() {
            return Err(Exit::bad_args("the destination is empty: name one such as 10.0.0.9:2379"));
        }
        let tls = tls(DESTINATION, files, insecure_transport, &endpoints)?;
        Ok(Self {
            endpoints,
            tls,
            login: None,
            is_profile: false,
            flags: DESTINATION,
            ..self.clone()
        })
    }

    /// Another cluster with the same times, which is asked over gRPC and whose flags begin with `--from-`; who asks there is
    /// to be said.
    pub(super) fn source(&self, endpoints: &str, files: ClientFiles) -> Result<Self, Exit> {
        let endpoints: Vec<String> = listed(endpoints).collect();
        if endpoints.is_empty() {
            return Err(Exit::bad_args("--from is empty: name an endpoint such as 10.0.0.9:2379"));
        }
        let tls = tls(SOURCE, files, None, &endpoints)?;
        Ok(Self {
            endpoints,
            tls,
            login: None,
            is_profile: false,
            wire: client::Wire::Grpc,
            flags: SOURCE,
            ..self.clone()
        })
    }

    /// A client of all endpoints.
    pub(super) async fn client(&self) -> Result<Client, Exit> {
        self.hinted(connected(self.config_of(self.endpoints.clone())).await)
    }

    /// The same for a command that goes on for long: its writes find the leader, and its calls have more time.
    pub(super) async fn lasting_client(&self) -> Result<Client, Exit> {
        let mut config = self.config_of(self.endpoints.clone());
        config.writes_to_leader = true;
        if !self.is_command_timeout_set {
            config.request_timeout = LASTING_CALL;
        }
        self.hinted(connected(config).await)
    }

    fn hinted(&self, client: Result<Client, Exit>) -> Result<Client, Exit> {
        client.map_err(|exit| match hint(&exit, self.flags, self.is_profile) {
            Some(hint) => Exit::new(exit.code, format!("{exit}\n{hint}")),
            None => exit,
        })
    }

    /// A client of one endpoint alone: for what is asked of each.
    pub(super) async fn client_at(&self, endpoint: &str) -> Result<Client, Exit> {
        self.client_of(vec![endpoint.to_owned()]).await
    }

    /// A client of all endpoints that begins with another one for each `turn`.
    pub(super) async fn client_from(&self, turn: usize) -> Result<Client, Exit> {
        let mut endpoints = self.endpoints.clone();
        let first = turn % endpoints.len();
        endpoints.rotate_left(first);
        self.client_of(endpoints).await
    }

    async fn client_of(&self, endpoints: Vec<String>) -> Result<Client, Exit> {
        connected(self.config_of(endpoints)).await
    }

    fn config_of(&self, endpoints: Vec<String>) -> Config {
        let mut config = Config::new(endpoints);
        config.tls.clone_from(&self.tls);
        config.name = concat!("quorate-cli/", env!("CARGO_PKG_VERSION")).to_owned();
        config.dns_server = self.dns_server;
        config.wire = self.wire;
        config.dial_timeout = self.dial_timeout;
        config.request_timeout = self.command_timeout;
        // A command is over before the leader is found.
        config.writes_to_leader = false;
        config.login.clone_from(&self.login);
        config
    }
}

async fn connected(config: Config) -> Result<Client, Exit> {
    Client::connect(config).await.map_err(|error| match &error {
        // etcdctl shows the password when it connects.
        Error::Server { .. } => Exit::new(Code::Refused, Exit::from(error).text),
        _ => Exit::from(error),
    })
}

/// How answers are shown, by flags and variables; nothing else of them need be sound.
pub(super) fn printer(
    globals: &Globals,
    environment: &[(String, String)],
) -> Result<Printer, Exit> {
    let found = Variables::of(environment);
    let write_out = match (globals.write_out, found.0.get("WRITE_OUT")) {
        (Some(format), _) => Some(format),
        (None, None) => None,
        (None, Some(name)) => Some(<Format as clap::ValueEnum>::from_str(name, true).map_err(|_| {
            let text = format!(
                "unsupported output format {name:?} (ETCDCTL_WRITE_OUT): it is simple, json, table, fields or protobuf"
            );
            Exit::new(Code::BadFeature, text)
        })?),
    };
    let hex = globals.hex || found.switch("HEX")?.unwrap_or_default();
    Ok(Printer { format: write_out.unwrap_or_default(), hex, value_only: false })
}

/// Who asks: behind a colon, or in a flag of its own, or on the terminal stands the password. An empty one is none, as in
/// etcdctl.
pub(super) fn login(user: Option<String>, said: Option<String>) -> Result<Option<Login>, Exit> {
    let Some(user) = user.filter(|user| !user.is_empty()) else { return Ok(None) };
    let (name, password) = match said.filter(|password| !password.is_empty()) {
        Some(password) => (user, password),
        None => password::split_or_ask("Password: ", &user)
            .map_err(|error| Exit::error(format!("failed to ask password: {error}")))?,
    };
    let is_whole = !name.is_empty() && !password.is_empty();
    Ok(is_whole.then_some(Login { name, password }))
}

/// Endpoints that are written with commas.
fn listed(endpoints: &str) -> impl Iterator<Item = String> {
    let each = endpoints.split(',').map(str::trim);
    each.filter(|endpoint| !endpoint.is_empty()).map(str::to_owned)
}

/// What to do about servers that cannot be reached.
fn hint(exit: &Exit, flags: &str, is_profile: bool) -> Option<String> {
    if exit.code != Code::BadConnection {
        return None;
    }
    let says = |text: &str| exit.text.contains(text);
    let hint = if says("UnknownIssuer") {
        format!("{flags}cacert must name the CA that signed the servers' certificates.")
    } else if says("client certificate is required") {
        format!("Show a client's certificate with {flags}cert and {flags}key.")
    } else if says("signed by a CA that is not trusted") {
        format!("{flags}cert must be signed by the CA that the servers' trusted-ca-file names.")
    } else if says("no answer") && is_profile {
        "The playground of this folder is not running: start it with `quorate playground`.".into()
    } else if says("no answer") {
        "Is a server running there, and does UDP reach it?".into()
    } else {
        return None;
    };
    Some(hint)
}

/// The files, once they are checked, if anything asks for TLS.
fn tls(
    flags: &str,
    files: ClientFiles,
    insecure_transport: Option<bool>,
    endpoints: &[String],
) -> Result<Option<ClientFiles>, Exit> {
    check_files(flags, &files)?;
    let is_secure = insecure_transport == Some(false)
        || files != ClientFiles::default()
        || endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    Ok(is_secure.then_some(files))
}

/// What etcdctl refuses before it dials.
fn check_files(flags: &str, files: &ClientFiles) -> Result<(), Exit> {
    let named = [("cert", &files.cert), ("key", &files.key), ("cacert", &files.trusted_ca)];
    for (flag, file) in &named {
        if file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return Err(Exit::bad_args(format!("empty string is passed to {flags}{flag} option")));
        }
    }
    if files.cert.is_some() != files.key.is_some() {
        let shown = |file: &Option<PathBuf>| {
            file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
        };
        return Err(Exit::bad_args(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]",
            shown(&files.key),
            shown(&files.cert)
        )));
    }
    for file in named.into_iter().filter_map(|(_, file)| file.as_ref()) {
        std::fs::File::open(file)
            .map_err(|error| Exit::bad_args(format!("cannot read {}: {error}", file.display())))?;
    }
    Ok(())
}

/// Variables that etcdctl knows and that mean nothing here: nobody is told, and nobody is pointed to them.
const IGNORED: [&str; 2] = ["MAX_REQUEST_BYTES", "MAX_RECV_BYTES"];
/// Variables that are looked at, those of `watch` by itself; the nearest of them is offered for a mistaken one.
const KNOWN: [&str; 23] = [
    "API",
    "USER",
    "PASSWORD",
    "WATCH_KEY",
    "WATCH_RANGE_END",
    "DISCOVERY_SRV",
    "DISCOVERY_SRV_NAME",
    "INSECURE_DISCOVERY",
    "DNS_SERVER",
    "WIRE",
    "ENDPOINTS",
    "WRITE_OUT",
    "HEX",
    "CACERT",
    "CERT",
    "KEY",
    "INSECURE_SKIP_TLS_VERIFY",
    "INSECURE_TRANSPORT",
    "DIAL_TIMEOUT",
    "COMMAND_TIMEOUT",
    "DEBUG",
    "KEEPALIVE_TIME",
    "KEEPALIVE_TIMEOUT",
];

/// Those of ETCDCTL_* that are not empty, without that.
struct Variables<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Variables<'a> {
    fn of(environment: &'a [(String, String)]) -> Self {
        let named = environment
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("ETCDCTL_")?, value.as_str())));
        Self(named.filter(|(_, value)| !value.is_empty()).collect())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }

    fn time(&self, name: &str) -> Result<Option<Duration>, Exit> {
        let parsed = self.0.get(name).map(|text| parse_duration(text)).transpose();
        parsed.map_err(|error| Exit::bad_args(format!("ETCDCTL_{name}: {error}")))
    }

    fn dns_server(&self) -> Result<Option<SocketAddr>, Exit> {
        let parsed = self.0.get("DNS_SERVER").map(|text| srv::server(text)).transpose();
        parsed.map_err(|error| Exit::bad_args(format!("ETCDCTL_DNS_SERVER: {error}")))
    }

    fn wire(&self) -> Result<Option<Wire>, Exit> {
        let read = |text: &&str| <Wire as clap::ValueEnum>::from_str(text, true);
        self.0.get("WIRE").map(read).transpose().map_err(|_| {
            let other = self.0.get("WIRE").copied().unwrap_or_default();
            Exit::bad_args(format!("ETCDCTL_WIRE is {other:?}; it is quic, grpc or either"))
        })
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, Exit> {
        let parsed = self.0.get(name).map(|text| parse_bool(text)).transpose();
        parsed.map_err(|_| {
            let other = self.0.get(name).copied().unwrap_or_default();
            Exit::bad_args(format!("ETCDCTL_{name} is {other:?}; it is true or false"))
        })
    }
}

/// The same settings from ETCDCTL_*, but for how answers are shown; a mistaken name is told on stderr, a mistaken value is
/// an error.
fn from_environment(environment: &[(String, String)]) -> Result<Globals, Exit> {
    let found = Variables::of(environment);
    if found.0.get("API").is_some_and(|version| *version != "3") {
        return Err(Exit::new(
            Code::BadFeature,
            "ETCDCTL_API asks for another API than v3, and this is a command of v3: unset it, set it to 3, or use a command of v2 (`set get mk mkdir rm rmdir ls setdir update updatedir watch exec-watch cluster-health member user role auth backup`)",
        ));
    }
    for name in found.0.keys().filter(|name| !KNOWN.contains(name) && !IGNORED.contains(name)) {
        let hint = nearest(name, KNOWN).map(|right| format!("; did you mean ETCDCTL_{right}?"));
        eprintln!("ETCDCTL_{name} is unknown and ignored{}", hint.unwrap_or_default());
    }
    Ok(Globals {
        endpoints: found.0.get("ENDPOINTS").map(|text| (*text).to_owned()).into_iter().collect(),
        cacert: found.path("CACERT"),
        cert: found.path("CERT"),
        key: found.path("KEY"),
        insecure_skip_tls_verify: found.switch("INSECURE_SKIP_TLS_VERIFY")?.unwrap_or_default(),
        insecure_transport: found.switch("INSECURE_TRANSPORT")?,
        dial_timeout: found.time("DIAL_TIMEOUT")?,
        command_timeout: found.time("COMMAND_TIMEOUT")?,
        debug: found.switch("DEBUG")?.unwrap_or_default(),
        keepalive_time: found.time("KEEPALIVE_TIME")?,
        keepalive_timeout: found.time("KEEPALIVE_TIMEOUT")?,
        discovery_srv: found.0.get("DISCOVERY_SRV").map(|text| (*text).to_owned()),
        discovery_srv_name: found.0.get("DISCOVERY_SRV_NAME").map(|text| (*text).to_owned()),
        insecure_discovery: found.switch("INSECURE_DISCOVERY")?,
        dns_server: found.dns_server()?,
        wire: found.wire()?,
        user: found.0.get("USER").map(|text| (*text).to_owned()),
        password: found.0.get("PASSWORD").map(|text| (*text).to_owned()),
        ..Globals::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Profile;

    use super::*;

    fn session(
        globals: &Globals,
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> Result<Session, Exit> {
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Session::new(globals, &environment, folder)
    }

    #[test]
    fn flags_beat_variables_and_both_beat_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("playground");
        std::fs::create_dir(&dir).unwrap();
        let profile = Profile {
            endpoints: vec!["https://127.0.0.1:7".to_owned()],
            cacert: "ca.crt".into(),
            cert: "c.crt".into(),
            key: "c.key".into(),
        };
        profile.write(&dir).unwrap();
        for file in ["ca.crt", "c.crt", "c.key"] {
            std::fs::write(dir.join(file), "").unwrap();
        }
        let plain = session(&Globals::default(), &[], folder.path()).unwrap();
        assert_eq!(plain.endpoints, ["https://127.0.0.1:7"]);
        assert_eq!(plain.tls.unwrap().trusted_ca, Some(dir.join("ca.crt")));

        let variables = [("ETCDCTL_ENDPOINTS", "a:1, b:2"), ("ETCDCTL_WRITE_OUT", "json")];
        let found = session(&Globals::default(), &variables, folder.path()).unwrap();
        assert_eq!(found.endpoints, ["a:1", "b:2"]);
        assert!(found.tls.is_none());
        assert_eq!(found.printer.format, Format::Json);

        let globals = Globals { endpoints: vec!["c:3".to_owned()], ..Globals::default() };
        let found = session(&globals, &variables, folder.path()).unwrap();
        assert_eq!(found.endpoints, ["c:3"]);
    }

    #[test]
    fn who_reaches_nobody_is_told_what_to_do() {
        let told = |text: &str, is_profile| {
            hint(&Exit::new(Code::BadConnection, text), OWN, is_profile).unwrap_or_default()
        };
        assert!(told("invalid peer certificate: UnknownIssuer", false).contains("--cacert"));
        assert!(told("a client certificate is required", true).contains("--cert and --key"));
        assert!(told("no answer from a:1", true).contains("`quorate playground`"));
        assert!(told("no answer from a:1", false).contains("UDP"));
        assert_eq!(hint(&Exit::error("no answer from a:1"), OWN, false), None);
    }

    #[test]
    fn mistaken_variables_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = |variable| session(&Globals::default(), &[variable], folder.path()).unwrap_err();
        let exit = told(("ETCDCTL_DIAL_TIMEOUT", "5"));
        assert_eq!(exit.code, Code::BadArgs);
        assert!(exit.text.starts_with("ETCDCTL_DIAL_TIMEOUT: \"5\" is no duration"), "{exit}");
        assert_eq!(told(("ETCDCTL_API", "2")).code, Code::BadFeature);
        assert!(told(("ETCDCTL_WRITE_OUT", "yaml")).text.contains("\"yaml\""));
    }

    #[test]
    fn a_destination_is_checked_as_the_source_is_by_its_own_flags() {
        let folder = tempfile::tempdir().unwrap();
        let source = session(&Globals::default(), &[], folder.path()).unwrap();
        let to = |endpoints: &str, files: ClientFiles, insecure| {
            source.destination(endpoints, files, insecure)
        };
        let plain = to("a:1, b:2", ClientFiles::default(), None).unwrap();
        assert_eq!((plain.endpoints.join(" ").as_str(), plain.tls), ("a:1 b:2", None));
        assert!(to("a:1", ClientFiles::default(), Some(false)).unwrap().tls.is_some());
        let ca = |file: &str| ClientFiles { trusted_ca: Some(file.into()), ..Default::default() };
        let told = |files| to("a:1", files, None).unwrap_err().text;
        assert_eq!(told(ca("")), "empty string is passed to --dest-cacert option");
        assert!(told(ca("nothing.crt")).starts_with("cannot read nothing.crt"));
        assert!(to(",", ClientFiles::default(), None).is_err());
        let exit = Exit::new(Code::BadConnection, "invalid peer certificate: UnknownIssuer");
        let hint = hint(&exit, DESTINATION, false).unwrap();
        assert!(hint.starts_with("--dest-cacert must name the CA"), "{hint}");
    }

    #[test]
    fn how_answers_are_shown_needs_nothing_else() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut environment = vec![
            variable("ETCDCTL_DIAL_TIMEOUT", "5"),
            variable("ETCDCTL_CERT", "nothing.crt"),
            variable("ETCDCTL_WRITE_OUT", "table"),
        ];
        let shown = printer(&Globals::default(), &environment).unwrap();
        assert_eq!(shown.format, Format::Table);
        environment[2].1 = "yaml".to_owned();
        assert!(printer(&Globals::default(), &environment).is_err());
        let globals = Globals { write_out: Some(Format::Json), ..Globals::default() };
        assert_eq!(printer(&globals, &environment).unwrap().format, Format::Json);
    }
}
