//! `endpoint status|health|hashkv` and `move-leader`: what is asked of each endpoint by itself.

use clap::{Args, Subcommand};

use crate::base::{Clock, SystemClock};
use crate::client::{Client, Error};
use crate::proto::Code as Status;

use super::connect::Session;
use super::duration::parse_hex;
use super::exit::Exit;
use super::print::{
    EndpointHash, EndpointHealth, EndpointStatus, Hashes, Healths, Moved, Statuses,
};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Endpoint {
    /// Show version, size, leader and indexes of each endpoint
    Status(Which),
    /// Check that each endpoint can read through the quorum
    Health(Which),
    /// Show a checksum over each endpoint's history; equal on all members
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
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    rev: i64,
}

#[derive(Args, Clone, Debug)]
pub(super) struct MoveLeader {
    /// The member (hexadecimal) that shall lead
    transferee_id: String,
}

impl Endpoint {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        match self {
            Self::Status(which) => {
                let endpoints = which.endpoints(session).await?;
                let (statuses, failed) =
                    ask_each(session, endpoints, "status", async |client| client.status().await)
                        .await;
                let statuses: Vec<EndpointStatus> = statuses
                    .into_iter()
                    .map(|(endpoint, answer)| EndpointStatus { endpoint, answer })
                    .collect();
                session.printer.print(&Statuses(&statuses))?;
                failed
            }
            Self::Hashkv(HashKv { which, rev }) => {
                let endpoints = which.endpoints(session).await?;
                let (hashes, failed) =
                    ask_each(session, endpoints, "hash", async |client| client.hash_kv(rev).await)
                        .await;
                let hashes: Vec<EndpointHash> = hashes
                    .into_iter()
                    .map(|(endpoint, answer)| EndpointHash { endpoint, answer })
                    .collect();
                session.printer.print(&Hashes(&hashes))?;
                failed
            }
            Self::Health(which) => health(session, which.endpoints(session).await?).await,
        }
    }
}

impl Which {
    /// The endpoints as given, or every member's client URLs.
    async fn endpoints(&self, session: &Session) -> Result<Vec<String>, Exit> {
        if !self.cluster {
            return Ok(session.endpoints.clone());
        }
        let answer = session.client().await?.member_list(true).await?;
        let urls: Vec<String> =
            answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect();
        if urls.is_empty() {
            return Err(Exit::error("no member has told its client URLs yet"));
        }
        Ok(urls)
    }
}

/// Asks one endpoint after the other; who fails is told on stderr and fails the command at its end.
async fn ask_each<T>(
    session: &Session,
    endpoints: Vec<String>,
    what: &str,
    ask: impl AsyncFn(Client) -> Result<T, Error>,
) -> (Vec<(String, T)>, Result<(), Exit>) {
    let mut answers = Vec::new();
    let mut failures = 0;
    for endpoint in endpoints {
        let answer = match session.client_at(&endpoint).await {
            Ok(client) => ask(client).await.map_err(Exit::from),
            Err(exit) => Err(exit),
        };
        match answer {
            Ok(answer) => answers.push((endpoint, answer)),
            Err(exit) => {
                failures += 1;
                eprintln!("Failed to get the {what} of endpoint {endpoint} ({exit})");
            }
        }
    }
    let failed = match failures {
        0 => Ok(()),
        1 => Err(Exit::error("1 endpoint did not answer")),
        count => Err(Exit::error(format!("{count} endpoints did not answer"))),
    };
    (answers, failed)
}

async fn health(session: &Session, endpoints: Vec<String>) -> Result<(), Exit> {
    let clock = SystemClock::new();
    let mut healths = Vec::new();
    for endpoint in endpoints {
        let began = clock.now();
        let error = match session.client_at(&endpoint).await {
            Ok(client) => unhealthy(&client).await,
            Err(exit) => Some(exit.text),
        };
        let took = clock.now().since(began);
        if let Some(error) = &error {
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        }
        healths.push(EndpointHealth { endpoint, took, error });
    }
    session.printer.print(&Healths(&healths))?;
    if healths.iter().any(|health| health.error.is_some()) {
        return Err(Exit::error("unhealthy cluster"));
    }
    Ok(())
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
            Some(format!("Active Alarm(s): {}", names.join(", ")))
        }
        Err(error) => Some(format!("Unable to fetch the alarm list: {}", error.text())),
    }
}

impl MoveLeader {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let to = parse_hex("member", &self.transferee_id).map_err(Exit::bad_args)?;
        for endpoint in &session.endpoints {
            let Ok(client) = session.client_at(endpoint).await else { continue };
            let Ok(status) = client.status().await else { continue };
            let from = status.header.map_or(0, |header| header.member_id);
            if status.leader == from {
                let answer = client.move_leader(to).await?;
                return session.printer.print(&Moved { from, to, answer: &answer });
            }
        }
        Err(Exit::bad_args(format!(
            "no leader endpoint given at [{}]: name the leader's endpoint, too",
            session.endpoints.join(" ")
        )))
    }
}
