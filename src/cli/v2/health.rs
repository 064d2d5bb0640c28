//! `cluster-health`: `/health` of every member, at the URLs that it publishes.

use std::pin::pin;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::cluster::{Cluster, Member};
use super::failure::{CLUSTER_NOT_HEALTHY, Failure, SERVER_ERROR, say};
use super::flags::Words;
use super::http::{Ask, Endpoint, Site};
use super::settings::Settings;

/// Between two checks of `--forever`.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn cluster_health(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let mut cluster = settings.cluster_as_said().await?;
    let members = match cluster.members().await {
        Ok(members) => members,
        Err(error) => {
            say("cluster may be unhealthy: failed to list members")?;
            return Err(Failure::error(SERVER_ERROR, &error));
        }
    };
    if !words.switch("forever") {
        return match check(&cluster, settings, &members).await? {
            true => Ok(()),
            false => Err(Failure::silent(CLUSTER_NOT_HEALTHY)),
        };
    }
    // One for all turns: between two it would be missed.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        let next = async {
            check(&cluster, settings, &members).await?;
            say("\nnext check after 10 second...\n")?;
            sleep(PAUSE).await;
            Ok::<_, Failure>(())
        };
        tokio::select! {
            next = next => next?,
            _ = &mut interrupted => return Ok(()),
        }
    }
}

/// Whether all are healthy.
async fn check(
    cluster: &Cluster,
    settings: &Settings,
    members: &[Member],
) -> Result<bool, Failure> {
    // Of a page that hangs there is no more to learn than of a member that is gone.
    let timeout = settings.total_timeout();
    let site = Site { timeout, credentials: None, debug: false, ..cluster.site.clone() };
    let mut healthy = 0;
    for member in members {
        healthy += usize::from(check_member(&site, member).await?);
    }
    let state = match healthy {
        all if all == members.len() => "healthy",
        0 => "unavailable",
        _ => "degraded",
    };
    say(format_args!("cluster is {state}"))?;
    Ok(healthy == members.len())
}

async fn check_member(site: &Site, member: &Member) -> Result<bool, Failure> {
    let Member { id, client_urls, .. } = member;
    if client_urls.is_empty() {
        say(format_args!("member {id} is unreachable: no available published client urls"))?;
        return Ok(false);
    }
    for url in client_urls {
        match is_healthy(site, url).await {
            Ok(true) => {
                say(format_args!("member {id} is healthy: got healthy result from {url}"))?;
                return Ok(true);
            }
            Ok(false) => {
                say(format_args!("member {id} is unhealthy: got unhealthy result from {url}"))?;
                return Ok(false);
            }
            Err(why) => {
                say(format_args!("failed to check the health of member {id} on {url}: {why}"))?;
            }
        }
    }
    let urls = client_urls.join(" ");
    say(format_args!("member {id} is unreachable: [{urls}] are all unreachable"))?;
    Ok(false)
}

async fn is_healthy(site: &Site, url: &str) -> Result<bool, String> {
    let failed = |why: &str| format!("Get \"{url}/health\": {why}");
    let endpoint = Endpoint::parse(url).map_err(|why| failed(&why))?;
    let answer = site.send(&endpoint, &Ask::new(Method::GET, "/health")).await;
    let answer = answer.map_err(|lost| failed(&lost.text))?;
    read(&answer.body)
}

/// A text since etcd 3.3, and before that a boolean.
fn read(body: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Page {
        health: Value,
    }
    let page: Page = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(page.health == "true" || page.health == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_pages_are_read() {
        assert_eq!(read(br#"{"health":"true","reason":""}"#), Ok(true));
        assert_eq!(read(br#"{"health":true}"#), Ok(true));
        assert_eq!(read(br#"{"health":"false"}"#), Ok(false));
        assert!(read(b"404 page not found").is_err());
    }
}
