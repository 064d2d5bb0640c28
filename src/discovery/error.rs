//! Why DNS did not tell where a cluster is, for the one who keeps the zone.

use std::fmt;

/// One name was looked up, and nothing usable came of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct LookupError {
    pub name: String,
    pub what: Absent,
}

/// What came in place of records.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Absent {
    #[error("there is no such name (NXDOMAIN)")]
    NoName,
    /// The name is there, with records of other types.
    #[error("the name has no such records")]
    NoRecords,
    #[error("{server} answered {code}")]
    Refused { server: String, code: String },
    #[error(
        "no answer from {server} within {seconds} s: is it there, and may UDP and TCP reach it?"
    )]
    Silent { server: String, seconds: u64 },
    #[error("{0}")]
    Other(String),
}

impl LookupError {
    /// The zone was asked, and does not have it.
    #[cfg(feature = "server")]
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.what, Absent::NoName | Absent::NoRecords)
    }
}

/// The records of a domain do not tell where the cluster is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SrvError {
    #[error("discovery-srv: {0:?} is no domain: write one such as example.com")]
    Domain(String),

    #[error("no SRV records of {domain}: {}; add one record for each member", Told(tried))]
    Nothing { domain: String, tried: Vec<LookupError> },

    /// Some were found, but who knows what the others would have said?
    #[error("not all SRV records of {domain} can be read: {}", Told(tried))]
    Unsure { domain: String, tried: Vec<LookupError> },

    #[error(
        "{domain} has more than {max} SRV records for the cluster, and {max} members are the most: remove those of others"
    )]
    TooMany { domain: String, max: usize },

    #[error(
        "an SRV record names {url}, whose address cannot be found: {error}; add the host to the zone, or mend the record"
    )]
    Host { url: String, error: LookupError },

    #[error("initial-advertise-peer-urls has {url}, whose address cannot be found: {error}")]
    Own { url: String, error: LookupError },

    #[error(
        "cannot find local etcd member {name:?} in SRV records: they name {found}, and none of them has the address and \
         port of initial-advertise-peer-urls ({advertised}); add a record for this member, or mend the URLs"
    )]
    NotThere { name: String, found: String, advertised: String },

    #[error(
        "member {name:?} is named by {} SRV records ({}): the others would take it for as many members; leave one",
        urls.len(),
        urls.join(", ")
    )]
    Twice { name: String, urls: Vec<String> },

    #[error(
        "no secure SRV records of {domain}: it has {found}, and --insecure-discovery=false takes https:// only"
    )]
    OnlyInsecure { domain: String, found: String },
}

impl SrvError {
    /// Whether it may be another answer a moment later, without anybody changing a setting here.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Domain(_))
    }
}

struct Told<'a>(&'a [LookupError]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}
