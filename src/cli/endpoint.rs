//! `endpoint status|health|hashkv`, `move-leader` and `defrag`: what is asked of each endpoint by itself.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use tokio::task::JoinSet;

use crate::base::{Clock, SystemClock};
use crate::client::{Client, Error};
use crate::proto::Code as Status;

use super::args::Format;
use super::connect::Session;
use super::duration::format_duration;
use super::exit::{Code, Exit};
use super::go::{parse_hex_uint, parse_int};
use super::print::{
    EndpointHash, EndpointHealth, EndpointStatus, Hashes, Healths, Moved, Statuses,
};
use super::progress::Progress;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Endpoint {
    /// Check that each endpoint can read through the quorum
    #[command(after_help = "Examples:\n  quorate endpoint health\n  \
        quorate endpoint health --cluster -w table")]
    Health(Which),
    /// Show version, size, leader and indexes of each endpoint
    #[command(after_help = "Examples:\n  quorate endpoint status --cluster -w table\n  \
        quorate endpoint status -w json")]
    Status(Which),
    /// Show a checksum over each endpoint's history; equal on all members
    #[command(after_help = "Examples:\n  quorate endpoint hashkv --cluster\n  \
        quorate endpoint hashkv --cluster --rev 1000")]
    Hashkv(HashKv),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Which {
    /// Ask every member of the cluster
    #[arg(long)]
    cluster: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct HashKv {
    #[command(flatten)]
    which: Which,
    /// Up to this revision; 0: now
    #[arg(long, value_name = "REVISION", value_parser = parse_int, default_value = "0", allow_negative_numbers = true, hide_default_value = true)]
    rev: i64,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate move-leader [OPTIONS] ID",
    after_help = "Examples:\n  quorate member list                  shows the ids\n  \
        quorate move-leader 8e9e05c52164694d\n\n\
        One of --endpoints must be the leader's."
)]
pub(super) struct MoveLeader {
    /// The member (hexadecimal) that shall lead
    id: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  quorate defrag\n  quorate defrag --cluster --command-timeout 60s\n\n\
    One member after the other. A member serves meanwhile, and needs room on its disk for a copy of its data;\n\
    an etcd answers nobody until it has done it."
)]
pub(super) struct Defrag {
    #[command(flatten)]
    which: Which,
}

impl Defrag {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let clock = SystemClock::new();
        let endpoints = self.which.endpoints(session).await?;
        let mut progress = Progress::new("defragmenting");
        let mut has_failed = false;
        for (done, endpoint) in endpoints.iter().enumerate() {
            progress.step(&format!("{endpoint} ({} of {})", done + 1, endpoints.len()));
            let began = clock.now();
            let answer = match session.client_at(endpoint).await {
                Ok(client) => client.defragment().await.map_err(Exit::from),
                Err(exit) => Err(exit),
            };
            let took = format_duration(clock.now().since(began));
            progress.clear();
            match answer {
                Ok(_) => println!("Finished defragmenting etcd member[{endpoint}]. took {took}"),
                Err(exit) => {
                    has_failed = true;
                    eprintln!(
                        "Failed to defragment etcd member[{endpoint}]. took {took}. ({exit})"
                    );
                }
            }
        }
        // Each was told on its own line.
        if has_failed { Err(Exit::silent(Code::Error)) } else { Ok(()) }
    }
}

impl Endpoint {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        match self {
            Self::Status(which) => {
                let endpoints = which.endpoints(session).await?;
                let (statuses, failed) =
                    ask_each(session, endpoints, "status", async |client| client.status().await)
                        .await?;
                let statuses: Vec<EndpointStatus> = statuses
                    .into_iter()
                    .map(|(endpoint, answer)| EndpointStatus { endpoint, answer })
                    .collect();
                session.printer.print(&Statuses(&statuses))?;
                // Each was told on its own line.
                failed.map_or(Ok(()), |exit| Err(Exit::silent(exit.code)))
            }
            Self::Hashkv(HashKv { which, rev }) => {
                let endpoints = which.endpoints(session).await?;
                let (hashes, failed) =
                    ask_each(session, endpoints, "hash", async |client| client.hash_kv(rev).await)
                        .await?;
                let hashes: Vec<EndpointHash> = hashes
                    .into_iter()
                    .map(|(endpoint, answer)| EndpointHash { endpoint, answer })
                    .collect();
                session.printer.print(&Hashes(&hashes))?;
                failed.map_or(Ok(()), Err)
            }
            Self::Health(which) => health(session, which.endpoints(session).await?).await,
        }
    }
}

impl Which {
    /// The endpoints as given, or every member's client URLs.
    pub(super) async fn endpoints(&self, session: &Session) -> Result<Vec<String>, Exit> {
        if !self.cluster {
            return Ok(session.endpoints.clone());
        }
        let failed = |Exit { code, text }: Exit| {
            let text = format!("failed to fetch endpoints from etcd cluster member list: {text}");
            Exit::new(code, text)
        };
        let client = session.client().await.map_err(failed)?;
        let answer = client.member_list(true).await.map_err(|error| failed(error.into()))?;
        let urls: Vec<String> =
            answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect();
        if urls.is_empty() {
            return Err(Exit::error("no member has told its client URLs yet"));
        }
        Ok(urls)
    }
}

/// Asks one endpoint after the other; who fails is told on stderr, and the last failure ends the command. Who is not let in
/// with his password asks no other one.
async fn ask_each<T>(
    session: &Session,
    endpoints: Vec<String>,
    what: &str,
    ask: impl AsyncFn(Client) -> Result<T, Error>,
) -> Result<(Vec<(String, T)>, Option<Exit>), Exit> {
    let mut answers = Vec::new();
    let mut failed = None;
    for endpoint in endpoints {
        let answer = match session.client_at(&endpoint).await {
            Ok(client) => ask(client).await.map_err(Exit::from),
            Err(exit) => Err(exit),
        };
        match answer {
            Ok(answer) => answers.push((endpoint, answer)),
            Err(exit) if exit.code == Code::Refused => return Err(exit),
            Err(exit) => {
                eprintln!("Failed to get the {what} of endpoint {endpoint} ({exit})");
                failed = Some(Exit::error(exit.text));
            }
        }
    }
    Ok((answers, failed))
}

/// Asks all at once, because each that is gone takes its time; the order is that of the endpoints.
async fn health(session: &Session, endpoints: Vec<String>) -> Result<(), Exit> {
    let mut asked = JoinSet::new();
    for (place, endpoint) in endpoints.into_iter().enumerate() {
        let session = session.clone();
        asked.spawn(async move {
            let clock = SystemClock::new();
            let began = clock.now();
            let error = match session.client_at(&endpoint).await {
                Ok(client) => unhealthy(&client).await,
                Err(exit) => Some(exit.text),
            };
            (place, EndpointHealth { endpoint, took: clock.now().since(began), error })
        });
    }
    let mut healths = asked.join_all().await;
    healths.sort_unstable_by_key(|(place, _)| *place);
    let healths: Vec<EndpointHealth> = healths.into_iter().map(|(_, health)| health).collect();
    session.printer.print(&Healths(&healths))?;
    let mut sick = healths.iter().filter_map(|health| Some((health, health.error.as_ref()?)));
    if session.printer.format == Format::Simple {
        for (health, error) in sick.clone() {
            let endpoint = &health.endpoint;
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        }
    }
    if sick.next().is_some() { Err(Exit::error("unhealthy cluster")) } else { Ok(()) }
}

/// What keeps an endpoint from being healthy: it cannot read through the quorum, or an alarm is raised.
async fn unhealthy(client: &Client) -> Option<String> {
    match client.get("health").await {
        // Who may not read that key was answered all the same.
        Err(error) if error.code() != Status::PermissionDenied => return Some(error.text()),
        _ => {}
    }
    match client.alarm_list().await {
        Ok(answer) if answer.alarms.is_empty() => None,
        Ok(answer) => {
            let names: Vec<&str> =
                answer.alarms.iter().map(|alarm| alarm.alarm().as_str_name()).collect();
            Some(format!("Active Alarm(s): {} ", names.join(" ")))
        }
        Err(error) => Some(format!("Unable to fetch the alarm list: {}", error.text())),
    }
}

impl MoveLeader {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let word = self
            .id
            .filter(|_| self.more.is_empty())
            .ok_or_else(|| Exit::bad_args("move-leader command needs 1 argument"))?;
        let to = parse_hex_uint(&word).map_err(Exit::bad_args)?;
        let mut failed = None;
        for endpoint in &session.endpoints {
            let asked = match session.client_at(endpoint).await {
                Ok(client) => client.status().await.map(|status| (client, status)),
                Err(exit) => {
                    failed = Some(exit);
                    continue;
                }
            };
            let (client, status) = match asked {
                Ok(answered) => answered,
                Err(error) => {
                    failed = Some(error.into());
                    continue;
                }
            };
            let from = status.header.map_or(0, |header| header.member_id);
            if status.leader == from {
                let answer = client.move_leader(to).await?;
                return session.printer.print(&Moved { from, to, answer: &answer });
            }
        }
        let endpoints = session.endpoints.join(" ");
        Err(failed.unwrap_or_else(|| {
            Exit::bad_args(format!("no leader endpoint given at [{endpoints}]"))
        }))
    }
}
