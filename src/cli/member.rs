//! `member list|add|promote|remove|update`.

use clap::{Args, Subcommand};
use prost::Message;

use super::connect::Session;
use super::duration::parse_hex;
use super::exit::Exit;
use super::print::{MemberAdded, MemberChanged, Members};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Member {
    /// Show all members
    List(List),
    /// Add a member; start it afterwards with what this prints
    Add(Add),
    /// Make a learner that has caught up a voter
    Promote(Id),
    /// Remove a member for ever
    Remove(Id),
    /// Give a member other peer URLs
    Update(Update),
}

#[derive(Args, Clone, Debug)]
pub(super) struct List {
    /// l: linearizable; s: serializable, what the asked member knows
    #[arg(long, value_name = "l|s", default_value = "l")]
    consistency: String,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Add {
    /// What the new member will be called
    name: String,
    /// Where the others will dial it, with commas
    #[arg(long, value_name = "URLS", required = true, value_delimiter = ',')]
    peer_urls: Vec<String>,
    /// It receives everything and votes only after `member promote`
    #[arg(long)]
    learner: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Id {
    /// Hexadecimal, as list prints it
    id: String,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Update {
    #[command(flatten)]
    member: Id,
    /// Where the others will dial it, with commas
    #[arg(long, value_name = "URLS", required = true, value_delimiter = ',')]
    peer_urls: Vec<String>,
}

impl Id {
    fn parse(&self) -> Result<u64, Exit> {
        parse_hex("member", &self.id).map_err(Exit::bad_args)
    }
}

impl Member {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::List(List { consistency }) => {
                let answer = session.client().await?.member_list(consistency != "s").await?;
                printer.print(&Members(&answer))
            }
            Self::Add(add) => add.run(session).await,
            Self::Promote(id) => {
                let id = id.parse()?;
                let answer = session.client().await?.member_promote(id).await?;
                printer.print(&MemberChanged {
                    what: "promoted in",
                    id,
                    header: answer.header.as_ref(),
                    members: &answer.members,
                    protobuf: answer.encode_to_vec(),
                })
            }
            Self::Remove(id) => {
                let id = id.parse()?;
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
                let id = member.parse()?;
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
        let client = session.client().await?;
        let answer = if self.learner {
            client.member_add_learner(&self.peer_urls).await?
        } else {
            client.member_add(&self.peer_urls).await?
        };
        let peer_urls = self.peer_urls.join(",");
        session.printer.print(&MemberAdded {
            name: &self.name,
            peer_urls: &peer_urls,
            answer: &answer,
        })
    }
}
