//! Requests to a cluster: endpoint after endpoint until one answers.

use std::fmt;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;

use super::http::{Answer, Ask, Endpoint, Lost, Site};

/// Why a cluster did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Error {
    /// Each endpoint in its turn.
    Cluster(Vec<Lost>),
    /// Of a request that is told to one endpoint alone.
    One(Lost),
    Deadline,
    /// The members publish no client URL.
    NoEndpoints,
    /// The answer of a server, or what is wrong with it.
    Told(String),
}

impl Error {
    /// Nobody is there.
    pub(super) fn is_connection(&self) -> bool {
        match self {
            Self::Cluster(lost) => lost.iter().all(|lost| lost.is_connection),
            Self::One(lost) => lost.is_connection,
            Self::Deadline => true,
            Self::NoEndpoints | Self::Told(_) => false,
        }
    }

    /// What is told of each endpoint.
    pub(super) fn detail(&self) -> Option<String> {
        let Self::Cluster(lost) = self else { return None };
        let lines = lost.iter().enumerate();
        Some(lines.map(|(place, lost)| format!("error #{place}: {}\n", lost.text)).collect())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(lost) => {
                f.write_str("client: etcd cluster is unavailable or misconfigured")?;
                lost.iter()
                    .enumerate()
                    .try_for_each(|(place, lost)| writeln!(f, "; error #{place}: {}", lost.text))
            }
            Self::One(lost) => f.write_str(&lost.text),
            Self::Deadline => f.write_str("context deadline exceeded"),
            Self::NoEndpoints => f.write_str("client: no endpoints available"),
            Self::Told(text) => f.write_str(text),
        }
    }
}

/// One of `/v2/members`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub id: String,
    pub name: String,
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Members {
    members: Option<Vec<Member>>,
}

/// A cluster by its endpoints; the one that answered last is asked first.
#[derive(Debug)]
pub(super) struct Cluster {
    pub site: Site,
    endpoints: Vec<Endpoint>,
    pinned: usize,
}

impl Cluster {
    pub(super) fn new(site: Site, endpoints: Vec<Endpoint>) -> Self {
        Self { site, endpoints, pinned: 0 }
    }

    /// The endpoints with this between them.
    pub(super) fn listed(&self, between: &str) -> String {
        let texts: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        texts.join(between)
    }

    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Error> {
        let count = self.endpoints.len();
        let mut errors = Vec::new();
        for turn in 0..count {
            let place = (self.pinned + turn) % count;
            let endpoint = &self.endpoints[place];
            let lost = match self.site.send(endpoint, ask).await {
                Ok(answer) if answer.status / 100 != 5 => {
                    self.pinned = place;
                    return Ok(answer);
                }
                Ok(answer) => Lost::told(failing(endpoint, answer.status)),
                Err(lost) => lost,
            };
            if ask.is_once {
                return Err(Error::One(lost));
            }
            errors.push(lost);
        }
        Err(Error::Cluster(errors))
    }

    pub(super) async fn members(&mut self) -> Result<Vec<Member>, Error> {
        let answer = self.ask(&Ask::new(Method::GET, "/v2/members")).await?;
        expect(&answer, &[200])?;
        Ok(read::<Members>(&answer)?.members.unwrap_or_default())
    }

    /// Goes on with the URLs that the members publish.
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        let members = self.members().await?;
        let mut published: Vec<String> =
            members.into_iter().flat_map(|member| member.client_urls).collect();
        published.sort();
        let mut known: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        known.sort();
        if published == known {
            return Ok(());
        }
        if published.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let parsed: Result<_, _> = published.iter().map(|url| Endpoint::parse(url)).collect();
        self.endpoints = parsed.map_err(Error::Told)?;
        self.pinned = 0;
        Ok(())
    }
}

/// Of an answer with a status of 500 or more.
fn failing(endpoint: &Endpoint, status: u16) -> String {
    if matches!(status, 500 | 503) {
        return format!("client: etcd member {endpoint} has no leader");
    }
    let code = StatusCode::from_u16(status).ok();
    let reason = code.and_then(|code| code.canonical_reason()).unwrap_or_default();
    format!("client: etcd member {endpoint} returns server error [{reason}]")
}

/// Within the time that a command has.
pub(super) async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(time, work).await.unwrap_or(Err(Error::Deadline))
}

pub(super) fn expect(answer: &Answer, statuses: &[u16]) -> Result<(), Error> {
    match statuses.contains(&answer.status) {
        true => Ok(()),
        false => Err(Error::Told(format!("unexpected status code {}", answer.status))),
    }
}

/// The object that an answer is.
pub(super) fn read<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Told(format!("the answer is not understood: {error}")))
}

/// What a server says in `message`.
pub(super) fn refused(answer: &Answer) -> Error {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        message: String,
    }
    read::<Refusal>(answer).map_or_else(|error| error, |refusal| Error::Told(refusal.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_etcdctl_does() {
        let lost = |text: &str| Lost { text: text.to_owned(), is_connection: true };
        let both = Error::Cluster(vec![lost("a"), lost("b")]);
        let text =
            "client: etcd cluster is unavailable or misconfigured; error #0: a\n; error #1: b\n";
        assert_eq!(both.to_string(), text);
        assert_eq!(both.detail().as_deref(), Some("error #0: a\nerror #1: b\n"));
        assert!(both.is_connection() && Error::Deadline.is_connection());
        assert!(!Error::Cluster(vec![lost("a"), Lost::told("EOF")]).is_connection());
    }
}
