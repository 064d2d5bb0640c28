//! Why founders did not find each other: etcd's text first, then what to do about it.

use super::entry::Registered;

/// What time does not mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GatherError {
    #[error(
        "discovery: size key not found: {place} has no such token, or it has ended; make one with `quorate discovery new`, \
         or write how many members are to come to its key _config/size"
    )]
    SizeNotFound { place: String },

    #[error(
        "discovery: size key is bad: {text:?} is no number of members from 1 to {max}; make another token"
    )]
    BadSize { text: String, max: usize },

    #[error(
        "discovery: bad discovery endpoint: {endpoint} {what}; is it a discovery service, and the path the one of its keys?"
    )]
    BadEndpoint { endpoint: String, what: String },

    #[error(
        "discovery: found duplicate id: member {id} has these peer URLs and this token, and is registered as {other:?}; \
         start this one with that name, or with peer URLs of its own and another token"
    )]
    DuplicateId { id: String, other: String },

    #[error(
        "discovery: found duplicate name: members {first} and {second} are both named {name:?}; give each a name of its \
         own, and all of them another token"
    )]
    DuplicateName { first: String, second: String, name: String },

    #[error(
        "discovery: invalid URL: the entry of member {id} is wrong: {what}; make another token"
    )]
    InvalidUrl { id: String, what: String },

    #[error(
        "discovery: member {name:?} ({id}) did not come to {token}: with that its id would be {expected}; write the very \
         same discovery on every member, and start all of them with another token"
    )]
    OtherToken { name: String, id: String, token: String, expected: String },

    #[error(
        "discovery: cluster is full: the token was used by its {} members ({}); make another token to found another \
         cluster, or add this member with `member add` and start it with initial-cluster-state existing",
        members.len(),
        names(members)
    )]
    Full { members: Vec<Registered> },

    #[error(
        "discovery: this member's entry is gone: the token was revoked, or has ended; make another one"
    )]
    Gone,

    #[error("discovery: {endpoint} refuses: {what}{}", hint(*is_login))]
    Refused { endpoint: String, what: String, is_login: bool },

    #[error("discovery: {0}")]
    Settings(String),
}

/// How an attempt failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    Final(GatherError),
    /// It may be another answer a moment later, without anybody changing a setting here.
    Passing(String),
}

impl From<GatherError> for Failure {
    fn from(error: GatherError) -> Self {
        Self::Final(error)
    }
}

fn names(members: &[Registered]) -> String {
    members.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn hint(is_login: bool) -> &'static str {
    if is_login { "; check discovery-user and discovery-password" } else { "" }
}
