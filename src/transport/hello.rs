//! The first frame in both directions between members, and what either side makes of the other's.

use prost::Message;

use super::CloseCode;
use crate::base::{ClusterId, MemberId};
use crate::tls::Identity;

/// The version of the peer protocol; grows when its frames change.
pub(super) const PROTOCOL: u32 = 1;

/// Longest Hello, bytes.
pub(super) const HELLO_BYTES_MAX: usize = 16 * 1024;

/// The cluster versions that a binary can serve, (major, minor), both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Versions {
    pub min: (u16, u16),
    pub max: (u16, u16),
}

/// Who one is and whom one means. Zero is "not known yet": a joiner knows neither cluster nor ids.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) protocol: u32,
    #[prost(fixed64, tag = "2")]
    pub(super) cluster: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) from: u64,
    #[prost(string, tag = "4")]
    pub(super) name: String,
    #[prost(fixed64, tag = "5")]
    pub(super) boot_nonce: u64,
    #[prost(fixed64, tag = "6")]
    pub(super) to: u64,
    #[prost(uint32, tag = "7")]
    pub(super) version_min: u32,
    #[prost(uint32, tag = "8")]
    pub(super) version_max: u32,
    /// Where the sender can be dialled: an answer may have to go to a member that is new to us.
    #[prost(string, repeated, tag = "9")]
    pub(super) urls: Vec<String>,
}

/// Why a Hello is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Objection {
    pub(super) code: CloseCode,
    pub(super) text: String,
}

impl Hello {
    /// The versions as they travel.
    pub(super) fn with_versions(mut self, versions: Versions) -> Self {
        self.version_min = packed(versions.min);
        self.version_max = packed(versions.max);
        self
    }

    /// Nobody yet: it may ask what is allowed to guests, and nothing else.
    pub(super) fn is_guest(&self) -> bool {
        self.cluster == 0 || self.from == 0
    }

    /// What `mine`, who is somebody, objects to in `self`, which came from the other side with `identity`.
    pub(super) fn objection(&self, mine: &Self, identity: Option<&Identity>) -> Option<Objection> {
        let object = |code, text| Some(Objection { code, text });
        if self.protocol != mine.protocol {
            let (theirs, ours) = (self.protocol, mine.protocol);
            let text = format!("peer protocol {theirs} and {ours} do not understand each other");
            return object(CloseCode::Incompatible, text);
        }
        if self.cluster != 0 && mine.cluster != 0 && self.cluster != mine.cluster {
            let (theirs, ours) = (ClusterId(self.cluster), ClusterId(mine.cluster));
            let text = format!(
                "cluster {theirs} is not cluster {ours}: if they should be one, the members were given different \
                 lists of founders, or different values of initial-cluster-token, or one has another cluster's data \
                 in its data-dir"
            );
            return object(CloseCode::OtherCluster, text);
        }
        if self.to != 0 && mine.from != 0 && self.to != mine.from {
            let (meant, ours) = (MemberId(self.to), MemberId(mine.from));
            let text =
                format!("member {ours} ({}) lives at this address, not member {meant}", mine.name);
            return object(CloseCode::OtherMember, text);
        }
        if self.from != 0 && mine.to != 0 && self.from != mine.to {
            let (found, meant) = (MemberId(self.from), MemberId(mine.to));
            let text =
                format!("member {found} ({}) lives at that address, not member {meant}", self.name);
            return object(CloseCode::OtherMember, text);
        }
        if self.version_max < mine.version_min || mine.version_max < self.version_min {
            let text = format!(
                "cluster versions {} to {} and {} to {} have none in common",
                shown(self.version_min),
                shown(self.version_max),
                shown(mine.version_min),
                shown(mine.version_max)
            );
            return object(CloseCode::Incompatible, text);
        }
        let (cluster, member) = identity.and_then(|identity| identity.member)?;
        let other_cluster = self.cluster != 0 && self.cluster != cluster.0;
        let other_member = self.from != 0 && self.from != member.0;
        if other_cluster || other_member {
            let text = format!(
                "the certificate is for quorate://{cluster}/{member}, Hello says quorate://{}/{}",
                ClusterId(self.cluster),
                MemberId(self.from)
            );
            return object(CloseCode::NotAdmitted, text);
        }
        None
    }
}

fn packed((major, minor): (u16, u16)) -> u32 {
    u32::from(major) << 16 | u32::from(minor)
}

fn shown(version: u32) -> String {
    format!("{}.{}", version >> 16, version & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(from: u64, to: u64) -> Hello {
        let versions = Versions { min: (3, 6), max: (3, 7) };
        Hello { protocol: PROTOCOL, cluster: 0xc, from, to, name: "n".into(), ..Hello::default() }
            .with_versions(versions)
    }

    fn code(theirs: &Hello, mine: &Hello) -> Option<CloseCode> {
        theirs.objection(mine, None).map(|objection| objection.code)
    }

    #[test]
    fn members_of_one_cluster_find_each_other() {
        assert_eq!(code(&hello(1, 2), &hello(2, 0)), None);
        assert_eq!(code(&hello(2, 1), &hello(1, 2)), None);
    }

    #[test]
    fn a_joiner_that_knows_nobody_is_a_guest() {
        let guest = Hello { cluster: 0, ..hello(0, 0) };
        assert!(guest.is_guest() && code(&guest, &hello(2, 0)).is_none());
        assert!(!hello(1, 2).is_guest());
    }

    #[test]
    fn each_mistake_has_its_code() {
        let mine = hello(2, 0);
        assert_eq!(
            code(&Hello { protocol: 9, ..hello(1, 2) }, &mine),
            Some(CloseCode::Incompatible)
        );
        assert_eq!(
            code(&Hello { cluster: 9, ..hello(1, 2) }, &mine),
            Some(CloseCode::OtherCluster)
        );
        assert_eq!(code(&hello(1, 3), &mine), Some(CloseCode::OtherMember));
        assert_eq!(code(&hello(3, 1), &hello(1, 2)), Some(CloseCode::OtherMember));
        let old = hello(1, 2).with_versions(Versions { min: (3, 4), max: (3, 5) });
        assert_eq!(code(&old, &mine), Some(CloseCode::Incompatible));
    }

    #[test]
    fn a_certificate_that_names_a_member_binds_it() {
        let bound = |cluster, member| Identity {
            subject: "CN=x".into(),
            common_name: None,
            serial: "1".into(),
            not_after_ms: 0,
            member: Some((ClusterId(cluster), MemberId(member))),
        };
        let objection = |identity: &Identity| hello(1, 2).objection(&hello(2, 0), Some(identity));
        assert_eq!(objection(&bound(0xc, 1)), None);
        assert_eq!(objection(&bound(0xc, 3)).unwrap().code, CloseCode::NotAdmitted);
        assert_eq!(objection(&bound(0xd, 1)).unwrap().code, CloseCode::NotAdmitted);
    }
}
