//! Founders by a discovery service, whichever way it is asked.

use tokio::time::timeout;

use crate::base::limits;
use crate::client::{
    Client, Code, Compare, Config as ClientConfig, Error as ClientError, Put, SortOrder, SortTarget,
};
use crate::discovery::{
    Failure, GatherError, Listing, Meeting, Own, Registered, Registry, Tokened, V2, V3, Venue,
    founded, gather,
};
use crate::transport::Url;

use super::config::{Config, Roster, RosterMember};
use super::error::Error;

/// What brings a node to a discovery service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// It is to be one of the founders.
    Founder,
    /// It wants to know who they are, and is none of them.
    Onlooker,
}

/// The founders in the order in which they came. Takes for as long as some are missing.
pub(super) async fn roster(
    config: &Config,
    meeting: &Meeting,
    part: Part,
) -> Result<Roster, Error> {
    let token = meeting.place.cluster_token();
    let own = Own { name: &config.name, urls: &config.advertise_peer_urls, token };
    tracing::info!(token, name = config.name, "discovery: looking for the other members");
    let names = config.resolver.names();
    let founders = match &meeting.place {
        Venue::Directory(directory) => {
            met(part, own, async |_| V2::new(meeting, directory, &names)).await
        }
        Venue::Token(tokened) => {
            let connect = async |attempt| V3::connect(meeting, tokened, &names, attempt).await;
            met(part, own, connect).await
        }
        Venue::Quic(tokened) => {
            let connect = async |_| Native::connect(config, meeting, tokened).await;
            met(part, own, connect).await
        }
    };
    let founders = founders.map_err(Box::new).map_err(Error::Gather)?;
    let member = |it: Registered| RosterMember { name: it.name, peer_urls: it.urls };
    let members = founders.into_iter().map(member).collect();
    Ok(Roster { members, token: token.to_owned(), state: config.roster.state })
}

async fn met<R: Registry>(
    part: Part,
    own: Own<'_>,
    connect: impl AsyncFnMut(usize) -> Result<R, Failure>,
) -> Result<Vec<Registered>, GatherError> {
    match part {
        Part::Founder => gather(own, connect).await,
        Part::Onlooker => founded(own.token, connect).await,
    }
}

/// The keys of etcd 3.6's protocol, by our own.
struct Native<'a> {
    client: Client,
    tokened: &'a Tokened,
}

impl<'a> Native<'a> {
    async fn connect(
        config: &Config,
        meeting: &Meeting,
        tokened: &'a Tokened,
    ) -> Result<Self, Failure> {
        let settings = ClientConfig {
            tls: Some(meeting.tls.clone()),
            dial_timeout: meeting.dial_timeout,
            request_timeout: meeting.request_timeout,
            dns_server: config.resolver.server_address(),
            ..ClientConfig::new(tokened.servers.iter().map(Url::to_string))
        };
        let client = Client::connect(settings).await.map_err(failed)?;
        Ok(Self { client, tokened })
    }

    async fn size_and_lease(&self) -> Result<(String, i64), Failure> {
        let found = self.client.get(self.tokened.size_key()).await.map_err(failed)?;
        let pair = found
            .kvs
            .into_iter()
            .next()
            .ok_or_else(|| GatherError::SizeNotFound { place: self.tokened.described() })?;
        Ok((String::from_utf8_lossy(&pair.value).into_owned(), pair.lease))
    }
}

fn failed(error: ClientError) -> Failure {
    let is_refused = matches!(
        error.code(),
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unimplemented
    );
    match &error {
        ClientError::Config(what) => GatherError::Settings(what.clone()).into(),
        ClientError::Server { endpoint, status } if is_refused => {
            let (endpoint, what) = (endpoint.to_string(), status.text.clone());
            // There is no user to write: who asks is known by discovery-cert.
            GatherError::Refused { endpoint, what, is_login: false }.into()
        }
        _ => Failure::Passing(error.to_string()),
    }
}

impl Registry for Native<'_> {
    async fn size(&mut self) -> Result<String, Failure> {
        Ok(self.size_and_lease().await?.0)
    }

    async fn entries(&mut self) -> Result<Listing, Failure> {
        let prefix = self.tokened.members();
        let request =
            self.client.get(prefix.clone()).prefix().sort(SortTarget::Create, SortOrder::Ascend);
        let found = request.await.map_err(failed)?;
        let at = found.header.as_ref().map_or(0, |header| header.revision);
        let mut entries = Vec::new();
        for pair in found.kvs {
            let key = String::from_utf8_lossy(&pair.key);
            let id = key.strip_prefix(&prefix).unwrap_or_default().to_owned();
            entries.push((id, String::from_utf8_lossy(&pair.value).into_owned()));
        }
        Ok(Listing { entries, at: u64::try_from(at).unwrap_or_default() })
    }

    async fn register(&mut self, id: &str, entry: &str) -> Result<(), Failure> {
        // A token that ends takes its members along.
        let (_, lease) = self.size_and_lease().await?;
        let key = format!("{}{id}", self.tokened.members());
        let absent = Compare::create_revision(key.clone()).equals(0);
        let put = Put::new(key, entry.to_owned()).lease(lease);
        self.client.txn().when(absent).then(put).await.map_err(failed)?;
        Ok(())
    }

    async fn change(&mut self, since: u64) -> Result<(), Failure> {
        let from = i64::try_from(since).unwrap_or_default() + 1;
        let watch = self.client.watch(self.tokened.members()).prefix().start_revision(from);
        let watching = async {
            let mut watcher = watch.await.map_err(failed)?;
            match watcher.next().await {
                // The list tells.
                Some(Err(ClientError::Compacted { .. }) | Ok(_)) => Ok(()),
                Some(Err(error)) => Err(failed(error)),
                None => Err(Failure::Passing("the watch ended".to_owned())),
            }
        };
        timeout(limits::DISCOVERY_LOOK_AGAIN, watching).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Retry, Status};

    #[test]
    fn what_the_service_refuses_is_not_asked_again() {
        let told = |code| {
            let status = Status::new(code, "quorate: discovery: no", Retry::Never);
            failed(ClientError::Server { endpoint: "https://h:1".into(), status })
        };
        for code in [Code::InvalidArgument, Code::AlreadyExists, Code::NotFound] {
            let Failure::Final(error) = told(code) else { panic!("{code:?} is asked again") };
            let text = error.to_string();
            assert_eq!(text, "discovery: https://h:1 refuses: quorate: discovery: no");
        }
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded] {
            assert!(matches!(told(code), Failure::Passing(_)), "{code:?}");
        }
    }
}
