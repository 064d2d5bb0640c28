//! What may be written under a token, by what stands there. Pure.

use super::tokens::{Protocol, Refused, Standing};
use crate::base::{MemberId, limits};
use crate::discovery::{Entry, Token, clash, size};

/// Whether a size may be set; true if the same one stands already.
pub(super) fn sizing(standing: &Standing, written: &str) -> Result<bool, Refused> {
    let wanted = sound_size(written)?;
    match standing.size {
        None if standing.is_empty() => Ok(false),
        Some(size) if size == wanted => Ok(true),
        _ => Err(taken(&standing.token)),
    }
}

pub(super) fn sound_size(written: &str) -> Result<usize, Refused> {
    let max = limits::MEMBERS_MAX;
    size(written).ok_or_else(|| {
        Refused::Invalid(format!("size key is bad: a size is from 1 to {max}, not {written:?}"))
    })
}

pub(super) fn taken(token: &Token) -> Refused {
    let token = token.as_str();
    Refused::Exists(format!("the token {token} is taken: choose another one, or revoke it"))
}

/// Whether a member may register by this protocol.
pub(super) fn registering(
    standing: &Standing,
    protocol: Protocol,
    id: &str,
    value: &[u8],
) -> Result<(), Refused> {
    let token = &standing.token;
    if standing.size.is_none() {
        return Err(Refused::Missing(token.size_key()));
    }
    let (here, elsewhere) = standing.members(protocol);
    if !elsewhere.is_empty() {
        let flag = match protocol {
            Protocol::V2 => "--discovery-token",
            Protocol::V3 => "--discovery",
        };
        let text = "its members have come by {flag}, and no other cluster is founded by the token";
        return Err(Refused::Invalid(text.replace("{flag}", flag)));
    }
    let text = std::str::from_utf8(value)
        .map_err(|_| Refused::Invalid("an entry is name=url, in UTF-8".to_owned()))?;
    let entry = Entry::parse(text).map_err(Refused::Invalid)?;
    if let Some(found) = here.iter().find(|it| it.id == id) {
        if found.entry == entry && protocol == Protocol::V3 {
            // A member that was started again.
            return Ok(());
        }
        let text = format!("found duplicate id: member {id} has registered");
        return Err(Refused::Exists(text));
    }
    if protocol == Protocol::V3 && id != own_id(&entry, token) {
        let own = own_id(&entry, token);
        let text = format!("the id {id} is not that of these URLs and this token, which is {own}");
        return Err(Refused::Invalid(text));
    }
    if here.len() >= limits::DISCOVERY_ENTRIES_MAX {
        let text = format!("cluster is full: {} members have registered", here.len());
        return Err(Refused::Invalid(text));
    }
    match clash(&entry, here.iter().map(|it| (it.id.as_str(), &it.entry))) {
        Some(text) => Err(Refused::Invalid(text)),
        None => Ok(()),
    }
}

/// As etcd has it: who bootstraps by a token has it for the token of its cluster.
fn own_id(entry: &Entry, token: &Token) -> String {
    MemberId::from_peer_urls(&entry.urls, token.as_str(), None).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Came;
    use super::*;

    fn standing(size: Option<usize>, v2: &[(&str, &str)], v3: &[(&str, &str)]) -> Standing {
        let came = |it: &[(&str, &str)]| {
            let came = |(id, text): &(&str, &str)| Came {
                id: (*id).to_owned(),
                entry: Entry::parse(text).unwrap(),
            };
            it.iter().map(came).collect()
        };
        let token = Token::parse("t").unwrap();
        Standing { size, v2: came(v2), v3: came(v3), ..Standing::new(token) }
    }

    #[test]
    fn a_size_stands() {
        let fresh = standing(None, &[], &[]);
        assert_eq!(sizing(&fresh, "3").ok(), Some(false));
        assert_eq!(sizing(&standing(Some(3), &[], &[]), "3").ok(), Some(true));
        assert!(matches!(sizing(&standing(Some(3), &[], &[]), "5"), Err(Refused::Exists(_))));
        for wrong in ["-1", "0", "1000000", "x", ""] {
            assert!(matches!(sizing(&fresh, wrong), Err(Refused::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn who_registers_is_looked_at() {
        let url = "http://h:1";
        let id = own_id(&Entry::parse("a=http://h:1").unwrap(), &Token::parse("t").unwrap());
        let entry = format!("a={url}");
        let three = standing(Some(3), &[], &[]);
        let told = |standing: &Standing, protocol, id: &str, value: &str| {
            registering(standing, protocol, id, value.as_bytes()).unwrap_err().text().to_owned()
        };
        assert!(registering(&three, Protocol::V3, &id, entry.as_bytes()).is_ok());
        assert!(registering(&three, Protocol::V2, "1", entry.as_bytes()).is_ok());
        assert!(told(&three, Protocol::V3, "1", &entry).contains(&id), "a foreign id");
        let nobody = standing(None, &[], &[]);
        let missing = registering(&nobody, Protocol::V2, "1", entry.as_bytes());
        assert!(matches!(missing, Err(Refused::Missing(_))));
        let one = standing(Some(3), &[("1", "a=http://h:1")], &[]);
        assert!(told(&one, Protocol::V2, "2", "a=http://h:2").contains("duplicate name"));
        assert!(told(&one, Protocol::V2, "2", "b=http://h:1").contains("registered with"));
        assert!(told(&one, Protocol::V2, "1", "a=http://h:1").contains("duplicate id"));
        assert!(told(&one, Protocol::V3, &id, &entry).contains("--discovery,"));
        let again = standing(Some(3), &[], &[(&id, &entry)]);
        assert!(registering(&again, Protocol::V3, &id, entry.as_bytes()).is_ok());
        assert!(told(&again, Protocol::V3, &id, "b=http://h:1").contains("duplicate id"));
    }

    #[test]
    fn not_more_come_than_the_bound() {
        let came = |n: usize| Came {
            id: format!("{n:x}"),
            entry: Entry::parse(&format!("n{n}=http://h:{n}")).unwrap(),
        };
        let v2 = (1..=limits::DISCOVERY_ENTRIES_MAX).map(came).collect();
        let full = Standing { v2, ..standing(Some(3), &[], &[]) };
        let refused = registering(&full, Protocol::V2, "fff", b"x=http://x:1").unwrap_err();
        assert!(refused.text().contains("cluster is full"));
    }
}
