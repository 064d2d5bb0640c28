//! Why a member does not start.

use std::io;
use std::path::PathBuf;

use crate::api::TokenError;
use crate::base::{ClusterId, MemberId};
use crate::discovery::{GatherError, SrvError};
use crate::storage::{DataDirError, Fault};
use crate::transport::Url;
use crate::{consensus, proxy, tls, transport};

/// A start that failed; the text says what to mend. Nothing was left half done: the same start may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "couldn't find local name {name:?} in the initial cluster configuration: initial-cluster names {found}; \
         set name to one of them, or add {name}=<its peer URL> to initial-cluster on every member"
    )]
    NotInRoster { name: String, found: String },

    #[error(
        "initial-cluster has {name}={roster}, and initial-advertise-peer-urls is {advertised}: \
         both must name the same addresses"
    )]
    OtherUrls { name: String, roster: String, advertised: String },

    #[error(
        "initial-cluster has {name}={roster}, and initial-advertise-peer-urls is {advertised}: whether they are the same \
         nobody can tell, because {host} has no address; add it to DNS or to /etc/hosts, or write the same text in both"
    )]
    Unresolved { name: String, roster: String, advertised: String, host: String },

    #[error("wal-dir {}: {source}", path.display())]
    WalDir { path: PathBuf, source: io::Error },

    #[error("{0}")]
    Srv(Box<SrvError>),

    #[error("{0}")]
    Gather(Box<GatherError>),

    #[error("{0}")]
    Tokens(#[from] TokenError),

    #[error(
        "member {member} has already been bootstrapped: a running member knows it; if its data is lost, give it a place \
         again with `quorate member resync`"
    )]
    AlreadyBootstrapped { member: MemberId },

    #[error(
        "member {member} does not belong to cluster {cluster} any more, which runs: add it again with `member add`, and \
         start it with what that prints"
    )]
    NoMemberAnyMore { member: MemberId, cluster: ClusterId },

    #[error(
        "cannot fetch cluster info from peer urls: {}; start one of the members that are there, or check initial-cluster",
        tried.join("; ")
    )]
    NoPeerAnswers { tried: Vec<String> },

    #[error(
        "member count is unequal: initial-cluster has {roster} members and cluster {cluster} has {found} ({names}); \
         write what `member add` printed into initial-cluster"
    )]
    UnequalCount { roster: usize, found: usize, cluster: ClusterId, names: String },

    #[error(
        "no member of cluster {cluster} has the peer URLs {urls} that initial-cluster gives {name}; \
         add it with `member add {name} --peer-urls={urls}` first, or check the URLs"
    )]
    NotAMember { name: String, urls: String, cluster: ClusterId },

    #[error(
        "force-new-cluster: member {member} has received nothing yet, so there is nothing to go on with; start a member that has"
    )]
    NothingToForce { member: MemberId },

    #[error(
        "force-new-cluster: {data_dir} holds no member; give the data directory of one that survived, or found a new cluster without force-new-cluster"
    )]
    NoSurvivor { data_dir: String },

    #[error(
        "force-new-cluster: the cluster had removed member {member}; start a member that belonged to it, or restore a snapshot"
    )]
    NotOneOfThem { member: MemberId },

    #[error("{path}: {what}; remove it, and the members of initial-cluster are asked again")]
    ProxyDir { path: PathBuf, what: String },

    #[error(
        "invalid datadir: {path} holds a member and a proxy: give each its own --data-dir, or remove the folder proxy in it"
    )]
    BothMemberAndProxy { path: PathBuf },

    #[error("{0}")]
    Proxy(#[from] proxy::Error),
    #[error("{0}")]
    DataDir(#[from] DataDirError),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("{0}")]
    Consensus(#[from] consensus::Error),
    #[error("{0}")]
    Transport(#[from] transport::Error),
    #[error("{0}")]
    Tls(#[from] tls::Error),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot draw random numbers: {0}")]
    Dice(getrandom::Error),
}

impl Error {
    /// Peer URLs of the members, where a discovery service says that all of them have come.
    pub fn full_cluster(&self) -> Option<Vec<Url>> {
        let Self::Gather(error) = self else { return None };
        let GatherError::Full { members } = error.as_ref() else { return None };
        Some(members.iter().flat_map(|member| member.urls.clone()).collect())
    }

    /// A member runs on this data directory.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::DataDir(DataDirError::Locked { .. }))
    }
}
