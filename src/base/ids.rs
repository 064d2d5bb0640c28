//! Ids, as the field writes them: members and clusters in lower-case hexadecimal without leading zeros.

use std::fmt;
use std::str::FromStr;

use ring::digest;

/// Position of an entry in the replicated log; the first real entry is 1.
pub type Index = u64;

/// Raft's logical time; grows by one with each election.
pub type Term = u64;

/// A lease's id as etcd carries it: positive, 63 bits, chosen by a client or drawn before the log.
pub type LeaseId = i64;

/// One member of one cluster; never 0, never used again after a removal.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(pub u64);

/// One cluster; 0 is "not known yet".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterId(pub u64);

/// Names one request for ever: a member's boot draws a new nonce, and counts from there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId {
    pub member: MemberId,
    pub nonce: u64,
    pub counter: u64,
}

/// A text that is no member or cluster id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no id: expected up to 16 hexadecimal digits, such as 8e9e05c52164694d")]
pub struct ParseIdError(String);

impl MemberId {
    /// etcd's rule: the first 8 bytes of SHA-1 over the sorted peer URLs and the token (and, for a member added at
    /// run time, the decimal unix seconds in `added_at_s` with an empty token).
    pub fn from_peer_urls(peer_urls: &[String], token: &str, added_at_s: Option<u64>) -> Self {
        let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
        urls.sort_unstable();
        let mut text = urls.concat();
        text.push_str(token);
        if let Some(seconds) = added_at_s {
            text.push_str(&seconds.to_string());
        }
        Self(first_eight(text.as_bytes()))
    }
}

impl ClusterId {
    /// etcd's rule: the first 8 bytes of SHA-1 over the members' ids, big endian, ascending.
    pub fn from_members(members: &[MemberId]) -> Self {
        let mut ids = members.to_vec();
        ids.sort_unstable();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0.to_be_bytes()).collect();
        Self(first_eight(&bytes))
    }
}

fn first_eight(bytes: &[u8]) -> u64 {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(eight)
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for MemberId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self)
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self)
    }
}

fn parse_hex(text: &str) -> Result<u64, ParseIdError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    match u64::from_str_radix(digits, 16) {
        Ok(id) if plain => Ok(id),
        _ => Err(ParseIdError(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_etcds_hash_of_urls_and_token() {
        // etcd's well-known default: one member at http://localhost:2380, token "etcd-cluster".
        let member =
            MemberId::from_peer_urls(&["http://localhost:2380".to_owned()], "etcd-cluster", None);
        assert_eq!(member.to_string(), "8e9e05c52164694d");
        assert_eq!(ClusterId::from_members(&[member]).to_string(), "cdf818194e3a8c32");
    }

    #[test]
    fn ids_are_read_as_they_are_printed() {
        assert_eq!("8e9e05c52164694d".parse::<MemberId>().unwrap().0, 0x8e9e_05c5_2164_694d);
        for wrong in ["", "+1", "xyz", "11112222333344445"] {
            assert!(wrong.parse::<MemberId>().is_err(), "{wrong}");
        }
    }
}
