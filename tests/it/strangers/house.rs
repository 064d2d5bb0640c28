//! One member of ours or of a real etcd, started with etcd's words.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate::base::{Clock, SystemClock};
use quorate::client::{Client, ClientFiles, Config, Wire};
use quorate::proto::authpb::permission::Type;
use quorate::proto::{authpb, etcdserverpb as pb};
use quorate::tls::make::{self, Authority, Subject, Validity};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use super::knock::{Answer, Caller, Tls};
use crate::harness::{cert, eventually};
use crate::interop::made;
use crate::program::{Folder, Process, free_port};

pub(super) const PASSWORD: &str = "word";

/// A day, milliseconds.
const DAY_MS: i64 = 86_400_000;

/// Whose program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    Ours,
    Etcd36,
    Etcd35,
}

impl Whose {
    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Ours => Some(PathBuf::from(env!("CARGO_BIN_EXE_quorate"))),
            Self::Etcd36 => made("etcd-3.6"),
            Self::Etcd35 => made("etcd-3.5"),
        }
    }
}

/// A folder with everybody's certificates, in `certs` and `other`.
pub(super) struct Site {
    pub folder: Folder,
}

impl Site {
    /// The authority of members and clients; `root`, `bob`, `ghost`, whom nobody knows, `mallory`, who is revoked, `late`, who has
    /// ended, and `nameless`; and a `root` of another authority.
    pub(super) fn new() -> Arc<Self> {
        let folder = Folder::new();
        let dir = folder.path();
        cert(dir, &["ca"]);
        // For both ends: etcd's gateway calls its own server with the certificate that it shows.
        cert(dir, &["peer", "n1", "--host", "localhost,127.0.0.1"]);
        cert(dir, &["server", "n1", "--host", "localhost,127.0.0.1"]);
        for name in ["root", "bob", "ghost", "mallory"] {
            cert(dir, &["client", name]);
        }
        cert(dir, &["peer", "mallory", "--host", "localhost,127.0.0.1"]);
        cert(dir, &["revoke", "certs/client-mallory.crt", "certs/peer-mallory.crt"]);
        // etcd 3.6 reads a list in DER alone.
        let list = dir.join("certs/ca.crl");
        let read = CertificateRevocationListDer::from_pem_file(&list).unwrap();
        std::fs::write(&list, &read).unwrap();
        cert(dir, &["ca", "--dir", "other"]);
        cert(dir, &["client", "root", "--dir", "other"]);
        cert(dir, &["peer", "n1", "--host", "localhost,127.0.0.1", "--dir", "other"]);
        let certs = dir.join("certs");
        let authority = Authority::read(&certs.join("ca.crt"), &certs.join("ca.key")).unwrap();
        let now = SystemClock::new().wall_ms();
        let subject = |common_name: &str| Subject {
            common_name: common_name.to_owned(),
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            member: None,
        };
        let (ended, lives) =
            (Validity { wall_ms: now - 3 * DAY_MS, days: 1 }, Validity { wall_ms: now, days: 1 });
        let keep =
            |stem: &str, made: make::Made| made.write(&certs, stem, false).map(drop).unwrap();
        keep("client-late", make::client(&authority, &subject("late"), ended).unwrap());
        keep("peer-late", make::peer(&authority, &subject("late"), ended).unwrap());
        keep("client-nameless", make::client(&authority, &subject(""), lives).unwrap());
        Arc::new(Self { folder })
    }

    pub(super) fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// What TLS shows by the file of this stem, believing our authority.
    pub(super) fn shows(&self, stem: &str) -> Tls {
        Tls::of(&self.certs(), Some(&self.folder.path().join(stem)))
    }

    pub(super) fn shows_nothing(&self) -> Tls {
        Tls::of(&self.certs(), None)
    }

    /// For our own client.
    pub(super) fn files(&self, stem: &str) -> ClientFiles {
        let stem = self.folder.path().join(stem);
        ClientFiles {
            trusted_ca: Some(self.certs().join("ca.crt")),
            cert: Some(stem.with_extension("crt")),
            key: Some(stem.with_extension("key")),
            ..ClientFiles::default()
        }
    }
}

/// How a member is to be.
#[derive(Clone, Copy, Default)]
pub(super) struct Plan {
    /// Clients come in clear.
    pub plain: bool,
    /// HTTP that is no gRPC has an address of its own.
    pub apart: bool,
    /// Beside what all have.
    pub words: &'static [&'static str],
}

/// Where a member listens.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Listener {
    /// `listen-client-urls`.
    Client,
    /// `listen-client-http-urls`.
    Http,
    /// `listen-metrics-urls`.
    Metrics,
    /// `listen-peer-urls`.
    Peer,
}

/// See the module.
pub(super) struct House {
    pub whose: Whose,
    pub site: Arc<Site>,
    plan: Plan,
    ports: [u16; 4],
    _process: Process,
}

impl House {
    /// Started and serving, its users known and asked for; none where the program is not here, which is said.
    pub(super) async fn open(whose: Whose, site: &Arc<Site>, plan: Plan) -> Option<Self> {
        // 3.5.1 has no HTTP apart.
        if whose == Whose::Etcd35 && plan.apart {
            return None;
        }
        let program = whose.program()?;
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let name = format!("{whose:?}-{}", ports[0]);
        let words = words(whose, &name, plan, ports);
        let words: Vec<&str> =
            words.iter().map(String::as_str).chain(plan.words.iter().copied()).collect();
        let plain = site.folder.command(&words);
        let mut command = match whose {
            Whose::Ours => {
                // By the name of etcd it takes etcd's words as etcd does.
                let link = site.folder.path().join("etcd");
                if !link.exists() {
                    std::os::unix::fs::symlink(program, &link).unwrap();
                }
                Command::new(link)
            }
            Whose::Etcd36 | Whose::Etcd35 => Command::new(program),
        };
        command.args(plain.get_args()).current_dir(site.folder.path());
        for (variable, _) in plain.get_envs() {
            command.env_remove(variable);
        }
        let process = site.folder.spawn_command(&name, command);
        let house = Self { whose, site: Arc::clone(site), plan, ports, _process: process };
        house.settle().await;
        Some(house)
    }

    pub(super) fn port(&self, listener: Listener) -> u16 {
        self.ports[listener as usize]
    }

    /// How `tls` calls at a listener: in clear, where it is open.
    pub(super) fn caller<'t>(&self, listener: Listener, tls: &'t Tls) -> Caller<'t> {
        let is_open = self.plan.plain && listener != Listener::Peer;
        Caller { port: self.port(listener), tls: (!is_open).then_some(tls) }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.plan.plain { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", self.ports[0])
    }

    /// Our own client, over gRPC.
    pub(super) fn client(&self, stem: &str, login: Option<(&str, &str)>) -> Client {
        let mut config = Config::new([self.url()]);
        if !self.plan.plain {
            config = config.tls(self.site.files(stem));
        }
        if let Some((name, password)) = login {
            config = config.user(name, password);
        }
        config.wire = Wire::Grpc;
        Client::lazy(config).unwrap()
    }

    /// The users `root`, `bob`, who has what begins with b, and `one`, who may read the key k; keys of theirs and of nobody. The
    /// password of each is `word`.
    async fn settle(&self) {
        eventually("the member serves", async || {
            let key = pb::RangeRequest { key: "ready".into(), ..Default::default() };
            self.try_say("KV/Range", None, &key).await.ok()
        })
        .await;
        for key in ["a", "b", "k", "l"] {
            self.put(None, key).await;
        }
        for (name, access, key, end) in [
            ("root", Type::Readwrite, "", ""),
            ("bob", Type::Readwrite, "b", "c"),
            ("one", Type::Read, "k", ""),
        ] {
            let (user, role) = (name.to_owned(), name.to_owned());
            let password = PASSWORD.to_owned();
            let add = pb::AuthUserAddRequest { name: user.clone(), password, ..Default::default() };
            self.say("Auth/UserAdd", &add).await;
            self.say("Auth/RoleAdd", &pb::AuthRoleAddRequest { name: role.clone() }).await;
            if !key.is_empty() {
                let (key, range_end) = (key.into(), end.into());
                let perm = authpb::Permission { perm_type: access as i32, key, range_end };
                let grant =
                    pb::AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(perm) };
                self.say("Auth/RoleGrantPermission", &grant).await;
            }
            self.say("Auth/UserGrantRole", &pb::AuthUserGrantRoleRequest { user, role }).await;
        }
        self.say("Auth/AuthEnable", &pb::AuthEnableRequest {}).await;
    }

    /// Over gRPC, with root's certificate where there is TLS: how it ended, and the message.
    pub(super) async fn try_say(
        &self,
        method: &str,
        token: Option<&str>,
        message: &impl Message,
    ) -> Result<Bytes, Answer> {
        // It is asked whether it is there at all.
        let address = ("127.0.0.1", self.port(Listener::Client));
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return Err(Answer::Silence);
        }
        let tls = self.site.shows("certs/client-root");
        let headers: Vec<(&str, &str)> = token.map(|it| ("token", it)).into_iter().collect();
        let caller = self.caller(Listener::Client, &tls);
        let method = format!("etcdserverpb.{method}");
        match caller.grpc(&method, &headers, &message.encode_to_vec()).await {
            (Answer::Grpc(0, _), message) => Ok(message),
            (refused, _) => Err(refused),
        }
    }

    async fn say(&self, method: &str, message: &impl Message) -> Bytes {
        let told = self.try_say(method, None, message).await;
        told.unwrap_or_else(|refused| panic!("{:?}, {method}: {refused:?}", self.whose))
    }

    /// As somebody, or as whom the certificate says.
    pub(super) async fn put(&self, token: Option<&str>, key: &str) {
        let put =
            pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..Default::default() };
        self.try_say("KV/Put", token, &put).await.unwrap();
    }

    /// A fresh token.
    pub(super) async fn token(&self, name: &str) -> String {
        let (name, password) = (name.to_owned(), PASSWORD.to_owned());
        let login = pb::AuthenticateRequest { name, password };
        let answer = self.say("Auth/Authenticate", &login).await;
        pb::AuthenticateResponse::decode(answer).unwrap().token
    }

    /// Of users and roles.
    pub(super) async fn auth_revision(&self, token: &str) -> u64 {
        let answer = self.try_say("Auth/AuthStatus", Some(token), &pb::AuthStatusRequest {}).await;
        pb::AuthStatusResponse::decode(answer.unwrap()).unwrap().auth_revision
    }
}

fn words(whose: Whose, name: &str, plan: Plan, ports: [u16; 4]) -> Vec<String> {
    let scheme = if plan.plain { "http" } else { "https" };
    let url = |at: usize, scheme: &str| format!("{scheme}://127.0.0.1:{}", ports[at]);
    let (client, peer) = (url(0, scheme), url(3, "https"));
    let mut words = vec![
        "--name=n1".to_owned(),
        format!("--data-dir={name}.data"),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=n1={peer}"),
        format!("--listen-metrics-urls={}", url(2, scheme)),
        "--peer-cert-file=certs/peer-n1.crt".to_owned(),
        "--peer-key-file=certs/peer-n1.key".to_owned(),
        "--peer-trusted-ca-file=certs/ca.crt".to_owned(),
        "--peer-client-cert-auth".to_owned(),
        "--peer-crl-file=certs/ca.crl".to_owned(),
        // Passwords are hashed often here, and nobody's.
        "--bcrypt-cost=4".to_owned(),
    ];
    if plan.apart {
        words.push(format!("--listen-client-http-urls={}", url(1, scheme)));
    }
    if !plan.plain {
        words.extend(
            [
                "--cert-file=certs/peer-n1.crt",
                "--key-file=certs/peer-n1.key",
                "--trusted-ca-file=certs/ca.crt",
                "--client-cert-auth",
                "--client-crl-file=certs/ca.crl",
            ]
            .map(str::to_owned),
        );
    }
    if whose != Whose::Etcd36 {
        // 3.6 has no v2 API.
        words.push("--enable-v2=true".to_owned());
    }
    words
}
