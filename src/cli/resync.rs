//! `member resync`: a member whose data is damaged or lost takes everything from the others, as a new member in its
//! old place.
//!
//! ```text
//!   stopped? -> removed from the cluster -> data put aside -> added as a learner -> (started by whoever starts it)
//!                                                                              -> promoted when it has caught up
//! ```
//!
//! Under its old id it never comes back: it has forgotten what it voted and promised. Interrupted, the same command
//! goes on where it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::connect::Session;
use super::exit::{Code, Exit};
use crate::base::{ClusterId, MemberId};
use crate::client::{Client, Error};
use crate::config::{self, Sources};
use crate::node::{self, Damaged};
use crate::proto::etcdserverpb::{Member, MemberListResponse};

/// Between two attempts to promote.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate member resync [OPTIONS] --config-file FILE",
    after_help = "Examples:\n  \
        quorate member resync --config-file n2.toml --endpoints https://10.0.0.1:2379,https://10.0.0.3:2379\n\n\
        Run it where the member ran, after the member has stopped, and start the member when it says so.\n\
        The old data is kept in the data directory, in damaged-ID; delete it when nobody needs it."
)]
pub(super) struct Resync {
    /// The member's settings, as `serve` takes them; ETCD_* and QUORATE_* variables count, too
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// As `serve` takes it, where the settings do not say it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Likewise
    #[arg(long)]
    name: Option<String>,
    /// Likewise
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
}

/// What has been found out.
struct Case {
    config: node::Config,
    damaged: Damaged,
    cluster: ClusterId,
    /// The cluster's entry of this member, if it has one.
    listed: Option<Member>,
}

impl Resync {
    pub(super) async fn run(
        self,
        session: &Session,
        environment: &[(String, String)],
    ) -> Result<(), Exit> {
        let config = self.settings(environment)?;
        let client = session.client().await?;
        let damaged = match (Damaged::lock(&config.data_dir), Damaged::underway(&config.data_dir)) {
            (Ok(damaged), _) => damaged,
            // An earlier attempt was interrupted, and somebody has started the member since.
            (Err(error), Some(member)) if error.is_in_use() => {
                return promote(&client, member, &config.data_dir).await;
            }
            (Err(error), _) => {
                let text = format!("{error}; the member must have stopped: {}", config.name);
                return Err(Exit::error(text));
            }
        };
        if let Some(fault) = damaged.unreadable() {
            eprintln!(
                "Its identity cannot be read ({fault}): the member is told by its peer URLs."
            );
        }
        let known = client.member_list(true).await?;
        let case = Case::new(config, damaged, known)?;
        if let Some(listed) = &case.listed {
            let own = case.config.advertise_client_urls.iter().map(ToString::to_string);
            let urls = own.chain(listed.client_ur_ls.iter().cloned());
            refuse_if_it_answers(session, listed.id, urls).await?;
        }
        let dir = case.config.data_dir.clone();
        let member = if case.is_prepared() {
            let member = case.own_id();
            println!("{member} waits to be promoted: start it now.");
            drop(case); // whoever starts it locks the directory
            member
        } else {
            case.replace(&client).await?
        };
        promote(&client, member, &dir).await
    }

    fn settings(&self, environment: &[(String, String)]) -> Result<node::Config, Exit> {
        let flag = |name: &str, value: &Option<String>| {
            value.clone().map(|value| (name.to_owned(), value))
        };
        let flags = [
            flag("data-dir", &self.data_dir),
            flag("name", &self.name),
            flag("initial-advertise-peer-urls", &self.initial_advertise_peer_urls),
        ];
        let sources = Sources {
            file: self.config_file.clone(),
            environment: environment.to_vec(),
            flags: flags.into_iter().flatten().collect(),
            ..Sources::default()
        };
        let start = config::load(&sources)
            .map_err(|mistakes| Exit::new(Code::InvalidInput, mistakes.to_string()))?;
        Ok(start.node)
    }
}

impl Case {
    fn new(
        config: node::Config,
        damaged: Damaged,
        known: MemberListResponse,
    ) -> Result<Self, Exit> {
        let header = known.header.as_ref().ok_or_else(|| unusable("its members"))?;
        let cluster = ClusterId(header.cluster_id);
        if let Some((own, member)) = damaged.member()
            && own != cluster
        {
            let dir = config.data_dir.display();
            return Err(Exit::error(format!(
                "{dir} holds member {member} of cluster {own}, and the endpoints are those of cluster {cluster}"
            )));
        }
        let mut urls: Vec<String> =
            config.advertise_peer_urls.iter().map(ToString::to_string).collect();
        urls.sort();
        let own_id = damaged.member().map(|(_, member)| member.0);
        let has_our_urls = |member: &&Member| {
            let mut listed = member.peer_ur_ls.clone();
            listed.sort();
            listed == urls
        };
        let by_id = known.members.iter().find(|member| Some(member.id) == own_id);
        let listed = by_id.or_else(|| known.members.iter().find(has_our_urls)).cloned();
        Ok(Self { config, damaged, cluster, listed })
    }

    fn own_id(&self) -> MemberId {
        self.damaged.member().map_or(MemberId(0), |(_, member)| member)
    }

    /// An earlier attempt came so far that only the promotion is left.
    fn is_prepared(&self) -> bool {
        let is_ours = |listed: &Member| listed.is_learner && MemberId(listed.id) == self.own_id();
        self.listed.as_ref().is_some_and(is_ours) && self.damaged.has_sound_data()
    }

    /// Out of the cluster, and in again as somebody else.
    async fn replace(self, client: &Client) -> Result<MemberId, Exit> {
        let Self { config, damaged, cluster, listed } = self;
        let urls: Vec<String> =
            config.advertise_peer_urls.iter().map(ToString::to_string).collect();
        // Added by an earlier attempt, and never started.
        let waiting = listed.as_ref().filter(|listed| listed.is_learner && listed.name.is_empty());
        let member = match waiting {
            Some(waiting) => MemberId(waiting.id),
            None => {
                if let Some(listed) = &listed {
                    client.member_remove(listed.id).await?;
                    println!("Removed {} ({}) from the cluster.", MemberId(listed.id), config.name);
                }
                let added = client.member_add_learner(&urls).await?;
                let added = added.member.ok_or_else(|| unusable("the member it added"))?;
                MemberId(added.id)
            }
        };
        let dir = config.data_dir.display().to_string();
        let aside = damaged
            .anew(cluster, member, &config.name)
            .map_err(|error| Exit::error(error.to_string()))?;
        match aside {
            Some(aside) => println!("Its old data is in {}.", aside.display()),
            None => println!("There was no old data in {dir}."),
        }
        println!("Added it again as {member}: start it now. It is promoted when it has caught up.");
        Ok(member)
    }
}

/// Whoever answers is not damaged enough to be thrown out.
async fn refuse_if_it_answers(
    session: &Session,
    id: u64,
    urls: impl Iterator<Item = String>,
) -> Result<(), Exit> {
    for url in urls {
        let Ok(client) = session.client_at(&url).await else { continue };
        let status = client.status().await.ok().and_then(|status| status.header);
        if status.is_some_and(|header| header.member_id == id) {
            let member = MemberId(id);
            return Err(Exit::error(format!(
                "{member} answers at {url}: it runs, on another data directory than this one"
            )));
        }
    }
    Ok(())
}

/// A server that leaves out what everything else hangs on.
fn unusable(what: &str) -> Exit {
    Exit::error(format!("the server's answer does not say {what}: ask another endpoint"))
}

/// Until it votes; however long it takes to be started and to catch up. Each reason to wait is told once.
async fn promote(client: &Client, member: MemberId, data_dir: &Path) -> Result<(), Exit> {
    let mut told = String::new();
    loop {
        match client.member_promote(member.0).await {
            Ok(_) => break,
            Err(error) if is_for_good(&error) => return Err(error.into()),
            Err(error) => {
                let reason = error.to_string();
                if reason != told {
                    eprintln!("Waiting, because it cannot be promoted yet: {reason}");
                    told = reason;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        // An answer that was lost may have been a yes.
        let known = client.member_list(true).await;
        let votes = |listed: &Member| listed.id == member.0 && !listed.is_learner;
        if known.is_ok_and(|known| known.members.iter().any(votes)) {
            break;
        }
    }
    Damaged::finished(data_dir);
    println!("{member} has caught up and votes.");
    Ok(())
}

fn is_for_good(error: &Error) -> bool {
    error.text() == "etcdserver: member not found"
}
