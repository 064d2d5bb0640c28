//! `member list|add|remove|update`.

use hyper::Method;

use super::super::go::quote;
use super::cluster::{Cluster, Error, Member, expect, read, refused, within};
use super::failure::{ERROR, Failure, print, say};
use super::flags::Words;
use super::http::{Answer, Ask};
use super::settings::Settings;

const JSON: &str = "application/json";

pub(super) async fn list(settings: &Settings, words: &Words) -> Result<(), Failure> {
    if !words.rest.is_empty() {
        return Err(Failure::told("No arguments accepted"));
    }
    let mut cluster = settings.cluster().await?;
    let both = async {
        let members = cluster.members().await?;
        Ok((members, leader(&mut cluster).await))
    };
    let (members, leader) = within(settings.total_timeout(), both).await.map_err(Failure::told)?;
    let leader =
        leader.map_err(|error| Failure::told(format_args!("Failed to get leader:  {error}")))?;
    for member in members {
        let peers = member.peer_urls.join(",");
        if member.name.is_empty() {
            say(format_args!("{}[unstarted]: peerURLs={peers}", member.id))?;
            continue;
        }
        say(format_args!(
            "{}: name={} peerURLs={peers} clientURLs={} isLeader={}",
            member.id,
            member.name,
            member.client_urls.join(","),
            member.id == leader.id
        ))?;
    }
    Ok(())
}

async fn leader(cluster: &mut Cluster) -> Result<Member, Error> {
    let answer = cluster.ask(&Ask::new(Method::GET, "/v2/members/leader")).await?;
    expect(&answer, &[200])?;
    read(&answer)
}

fn with_urls(method: Method, path: String, urls: &[String]) -> Ask {
    let body = serde_json::json!({ "peerURLs": urls }).to_string();
    Ask { body: Some((JSON, body)), ..Ask::new(method, path) }
}

pub(super) async fn add(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let [name, url] = words.rest.as_slice() else {
        return Err(Failure::told("Provide a name and a single member peerURL"));
    };
    let mut cluster = settings.cluster().await?;
    let urls = checked(url).map_err(Failure::told)?;
    let both = async {
        let ask = with_urls(Method::POST, "/v2/members".to_owned(), &urls);
        let answer = cluster.ask(&ask).await?;
        changed(&answer, 201, &[409])?;
        let added: Member = read(&answer)?;
        print_added(name, &added.id);
        Ok((added, cluster.members().await?))
    };
    let (added, members) = within(settings.total_timeout(), both).await.map_err(Failure::told)?;
    let urls = members.iter().flat_map(|member| {
        let known = if member.id == added.id { name } else { &member.name };
        member.peer_urls.iter().map(move |url| format!("{known}={url}"))
    });
    let cluster = urls.collect::<Vec<_>>().join(",");
    print(format_args!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        quote(name.as_bytes()),
        quote(cluster.as_bytes())
    ))
}

/// At once: it stays true if the list that follows fails.
fn print_added(name: &str, id: &str) {
    let line = format!("Added member named {name} with ID {id} to cluster");
    // Whoever reads no further has seen enough.
    let _ = say(line);
}

pub(super) async fn remove(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let [id] = words.rest.as_slice() else {
        return Err(Failure::told("Provide a single member ID"));
    };
    let mut cluster = settings.cluster().await?;
    let total = settings.total_timeout();
    let members = within(total, cluster.members()).await.map_err(|error| {
        Failure::told(format_args!("Error while verifying ID against known members: {error}"))
    })?;
    for member in members.iter().filter(|member| member.name == *id) {
        eprintln!(
            "Found a member named {id}; if this is correct, please use its ID, eg:\n\tetcdctl member remove {}\n\
             For more details, read the documentation at https://github.com/etcd-io/etcd/blob/master/Documentation/runtime-configuration.md#remove-a-member\n",
            member.id
        );
    }
    if !members.iter().any(|member| member.id == *id) {
        let text = format!("Couldn't find a member in the cluster with an ID of {id}.");
        return Err(Failure::told(text));
    }
    let removing = async {
        let ask = Ask::new(Method::DELETE, format!("/v2/members/{id}"));
        expect(&cluster.ask(&ask).await?, &[204, 410])
    };
    within(total, removing).await.map_err(|error| {
        let text = format!("Received an error trying to remove member {id}: {error}");
        Failure { code: ERROR, text }
    })?;
    say(format_args!("Removed member {id} from cluster"))
}

pub(super) async fn update(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let [id, urls] = words.rest.as_slice() else {
        return Err(Failure::told(
            "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
        ));
    };
    let mut cluster = settings.cluster().await?;
    let urls = checked(urls).map_err(Failure::told)?;
    let updating = async {
        let ask = with_urls(Method::PUT, format!("/v2/members/{id}"), &urls);
        let answer = cluster.ask(&ask).await?;
        changed(&answer, 204, &[404, 409])
    };
    within(settings.total_timeout(), updating).await.map_err(Failure::told)?;
    say(format_args!("Updated member with ID {id} in cluster"))
}

/// After one of `refusals` the server's words are the error.
fn changed(answer: &Answer, done: u16, refusals: &[u16]) -> Result<(), Error> {
    if answer.status == done {
        return Ok(());
    }
    expect(answer, refusals)?;
    Err(refused(answer))
}

/// Peer URLs, written with commas, as etcd's client takes them: sorted.
fn checked(urls: &str) -> Result<Vec<String>, String> {
    let mut urls: Vec<String> = urls.split(',').map(|url| url.trim().to_owned()).collect();
    for url in &urls {
        let scheme = ["http://", "https://", "unix://", "unixs://"];
        let Some(rest) = scheme.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return Err(format!("URL scheme must be http, https, unix, or unixs: {url}"));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        if port.is_empty() || port.contains(']') {
            return Err(format!("URL address does not have the form \"host:port\": {url}"));
        }
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {url}"));
        }
    }
    urls.sort();
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_checked_before_they_are_sent() {
        assert_eq!(checked("http://b:1,http://a:1").unwrap(), ["http://a:1", "http://b:1"]);
        for (url, told) in [
            ("ftp://x", "URL scheme must be http, https, unix, or unixs: ftp://x"),
            ("http://x", "URL address does not have the form \"host:port\": http://x"),
            ("http://[::1]", "URL address does not have the form \"host:port\": http://[::1]"),
            ("http://x:1/y", "URL must not contain a path: http://x:1/y"),
        ] {
            assert_eq!(checked(url).unwrap_err(), told);
        }
    }
}
