//! `member list|add|promote|update|remove`; `resync` has a file of its own.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use prost::Message;

use super::connect::Session;
use super::exit::Exit;
use super::go::parse_hex_uint;
use super::kv::is_serializable;
use super::print::{MemberAdded, MemberChanged, Members};
use super::resync::Resync;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Member {
    /// Show all members
    List(List),
    /// Add a member; start it afterwards with what this prints
    Add(Add),
    /// Make a learner that has caught up a voter
    Promote(Promote),
    /// Give a member other peer URLs
    Update(Update),
    /// Remove a member for ever
    Remove(Remove),
    /// Give a stopped member whose data is damaged or lost everything anew
    Resync(Resync),
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  quorate member list\n  quorate member list -w table")]
pub(super) struct List {
    /// l: linearizable; s: serializable, what the asked member knows
    #[arg(long, value_name = "l|s", default_value = "l")]
    consistency: String,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate member add [OPTIONS] --peer-urls URLS NAME",
    after_help = "Examples:\n  \
        quorate member add n4 --peer-urls https://10.0.0.4:2380\n  \
        quorate member add n4 --peer-urls https://10.0.0.4:2380 --learner"
)]
pub(super) struct Add {
    /// What the new member will be called
    name: Option<String>,
    #[arg(hide = true)]
    more: Vec<String>,
    /// Where the others will dial it, with commas
    #[arg(long, value_name = "URLS", default_value = "", hide_default_value = true)]
    peer_urls: String,
    /// It receives everything and votes only after `member promote`
    #[arg(long)]
    learner: bool,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate member promote [OPTIONS] ID",
    after_help = "Examples:\n  quorate member promote 8e9e05c52164694d"
)]
pub(super) struct Promote {
    #[command(flatten)]
    member: Id,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate member remove [OPTIONS] ID",
    after_help = "Examples:\n  quorate member remove 8e9e05c52164694d"
)]
pub(super) struct Remove {
    #[command(flatten)]
    member: Id,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Id {
    /// Hexadecimal, as list prints it
    id: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate member update [OPTIONS] --peer-urls URLS ID",
    after_help = "Examples:\n  \
        quorate member update 8e9e05c52164694d --peer-urls https://10.0.0.9:2380"
)]
pub(super) struct Update {
    #[command(flatten)]
    member: Id,
    /// Where the others will dial it, with commas
    #[arg(long, value_name = "URLS", default_value = "", hide_default_value = true)]
    peer_urls: String,
}

impl Id {
    fn parse(&self) -> Result<u64, Exit> {
        let word = self.id.as_deref().filter(|_| self.more.is_empty());
        let word = word.ok_or_else(|| Exit::bad_args("member ID is not provided"))?;
        parse_hex_uint(word).map_err(|error| {
            Exit::bad_args(format!("bad member ID arg ({error}), expecting ID in Hex"))
        })
    }
}

/// The URLs of a flag that must be given.
fn urls(written: &str) -> Result<Vec<String>, Exit> {
    if written.is_empty() {
        return Err(Exit::bad_args("member peer urls not provided"));
    }
    let urls: Vec<String> = written.split(',').map(str::to_owned).collect();
    match urls.iter().find(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        Some(url) => {
            Err(Exit::error(format!("URL scheme must be http, https, unix, or unixs: {url}")))
        }
        None => Ok(urls),
    }
}

impl Member {
    pub(super) async fn run(
        self,
        session: &Session,
        environment: &[(String, String)],
    ) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::Resync(resync) => resync.run(session, environment).await,
            Self::List(List { consistency }) => {
                let linearizable = !is_serializable(&consistency)?;
                let answer = session.client().await?.member_list(linearizable).await?;
                printer.print(&Members(&answer))
            }
            Self::Add(add) => add.run(session).await,
            Self::Promote(Promote { member }) => {
                let id = member.parse()?;
                let answer = session.client().await?.member_promote(id).await?;
                printer.print(&MemberChanged {
                    what: "promoted in",
                    id,
                    header: answer.header.as_ref(),
                    members: &answer.members,
                    protobuf: answer.encode_to_vec(),
                })
            }
            Self::Remove(Remove { member }) => {
                let id = member.parse()?;
                let answer = session.client().await?.member_remove(id).await?;
                printer.print(&MemberChanged {
                    what: "removed from",
                    id,
                    header: answer.header.as_ref(),
                    members: &answer.members,
                    protobuf: answer.encode_to_vec(),
                })
            }
            Self::Update(Update { member, peer_urls }) => {
                let (id, peer_urls) = (member.parse()?, urls(&peer_urls)?);
                let answer = session.client().await?.member_update(id, peer_urls).await?;
                printer.print(&MemberChanged {
                    what: "updated in",
                    id,
                    header: answer.header.as_ref(),
                    members: &answer.members,
                    protobuf: answer.encode_to_vec(),
                })
            }
        }
    }
}

impl Add {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let name = self.name.ok_or_else(|| Exit::bad_args("member name not provided"))?;
        if !self.more.is_empty() {
            let words = std::iter::once(&name).chain(&self.more);
            let meant = words
                .filter(|word| word.to_lowercase().starts_with("http"))
                .map(|word| format!(", did you mean --peer-urls={word}"));
            return Err(Exit::bad_args(format!("too many arguments{}", meant.collect::<String>())));
        }
        let peer_urls = urls(&self.peer_urls)?;
        let client = session.client().await?;
        let answer = if self.learner {
            client.member_add_learner(&peer_urls).await?
        } else {
            client.member_add(&peer_urls).await?
        };
        session.printer.print(&MemberAdded {
            name: &name,
            peer_urls: &self.peer_urls,
            answer: &answer,
        })
    }
}
