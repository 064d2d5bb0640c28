//! The registry of a discovery service: ordinary keys, one token for each cluster that is to be. Pure.
//!
//! ```text
//!   v3 keys   /_etcd/registry/<token>/_config/size     how many members found it
//!             /_etcd/registry/<token>/members/<id>     name=url,name=url: who has come, in the order of their creation
//!   v2 tree   /_etcd/registry/<token>/_config/size     the same of etcd's older protocol, by URL
//!             /_etcd/registry/<token>/<id>
//! ```
//!
//! These are etcd's keys. Tokens, sizes and entries come from strangers, and are looked at here.

use std::collections::BTreeSet;

use crate::base::limits;
use crate::transport::Url;

/// Before every token.
pub const REGISTRY: &str = "/_etcd/registry/";

const MEMBERS: &str = "/members/";
const SIZE: &str = "/_config/size";

/// Longest name of a member, bytes.
const NAME_BYTES_MAX: usize = 255;

/// The place of one cluster that is to be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Token(String);

/// What a key of the registry stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Everything of a token.
    Whole(Token),
    Size(Token),
    /// A member, by its id.
    Member(Token, String),
}

/// What a member registers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub name: String,
    /// As it wrote them.
    pub urls: Vec<String>,
}

impl Token {
    /// 1 to [`limits::DISCOVERY_TOKEN_BYTES_MAX`] letters, digits, `-`, `_` and `.`, the first none of the last two.
    pub fn parse(text: &str) -> Option<Self> {
        let is_clean =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let fits = (1..=limits::DISCOVERY_TOKEN_BYTES_MAX).contains(&text.len());
        (is_clean && fits && !text.starts_with(['.', '_'])).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its directory in the v2 tree.
    pub fn directory(&self) -> String {
        format!("{REGISTRY}{}", self.0)
    }

    /// What all its keys begin with.
    pub fn all(&self) -> String {
        format!("{REGISTRY}{}/", self.0)
    }

    /// Where its size stands, in both layouts.
    pub fn size_key(&self) -> String {
        format!("{REGISTRY}{}{SIZE}", self.0)
    }

    /// What the v3 keys of its members begin with.
    pub fn members(&self) -> String {
        format!("{REGISTRY}{}{MEMBERS}", self.0)
    }

    /// The v3 key of a member, by its id.
    pub fn member_key(&self, id: &str) -> String {
        format!("{}{id}", self.members())
    }
}

impl Place {
    /// Of a v3 key; none for one that is not of the registry.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let (token, behind) = split(key)?;
        match behind {
            SIZE => Some(Self::Size(token)),
            _ => {
                let id = behind.strip_prefix(MEMBERS).filter(|id| is_id(id))?;
                Some(Self::Member(token, id.to_owned()))
            }
        }
    }

    /// Of a clean path in the v2 tree; none for one that is not of the registry.
    pub fn of_path(path: &[u8]) -> Option<Self> {
        let (token, behind) = split(path)?;
        match behind {
            "" => Some(Self::Whole(token)),
            SIZE => Some(Self::Size(token)),
            _ => {
                let id = behind.strip_prefix('/').filter(|id| is_id(id))?;
                Some(Self::Member(token, id.to_owned()))
            }
        }
    }
}

fn split(key: &[u8]) -> Option<(Token, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(REGISTRY)?;
    let (token, behind) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((Token::parse(token)?, behind))
}

/// The token that a key, whatever it is, belongs to.
pub fn token_of(key: &[u8]) -> Option<Token> {
    let rest = key.strip_prefix(REGISTRY.as_bytes())?;
    let token = rest.split(|byte| *byte == b'/').next()?;
    Token::parse(std::str::from_utf8(token).ok()?)
}

/// Whether a text is a member's id as etcd writes it.
fn is_id(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// How many members are to come; none for what is no such number.
pub fn size(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let size = text.parse().ok().filter(|_| is_number);
    size.filter(|size| (1..=limits::MEMBERS_MAX).contains(size))
}

impl Entry {
    /// Reads `name=url,name=url`; what is wrong otherwise, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::DISCOVERY_ENTRY_BYTES_MAX {
            let max = limits::DISCOVERY_ENTRY_BYTES_MAX;
            return Err(format!("an entry has at most {max} bytes, not {}", text.len()));
        }
        let mut name = None;
        let mut urls = Vec::new();
        for part in text.split(',') {
            let Some((own, url)) = part.split_once('=').filter(|(own, _)| !own.is_empty()) else {
                return Err(format!("{part:?} is not name=url"));
            };
            if own.len() > NAME_BYTES_MAX || own.chars().any(char::is_control) {
                return Err(format!("{own:?} is no name of a member"));
            }
            if *name.get_or_insert(own) != own {
                return Err("an entry names one member".to_owned());
            }
            url.parse::<Url>().map_err(|error| error.to_string())?;
            urls.push(url.to_owned());
        }
        Ok(Self { name: name.unwrap_or_default().to_owned(), urls })
    }
}

/// Whether another entry already has this one's name or one of its URLs; who says so, for a person.
pub fn clash<'a>(
    entry: &Entry,
    others: impl IntoIterator<Item = (&'a str, &'a Entry)>,
) -> Option<String> {
    let urls: BTreeSet<&str> = entry.urls.iter().map(String::as_str).collect();
    for (id, other) in others {
        if other.name == entry.name {
            let name = &entry.name;
            return Some(format!(
                "found duplicate name: member {id} is registered with the name {name} already"
            ));
        }
        if let Some(url) = other.urls.iter().find(|url| urls.contains(url.as_str())) {
            let name = &other.name;
            return Some(format!("member {id} ({name}) is registered with {url} already"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_etcds() {
        let token = Token::parse("test").unwrap();
        assert_eq!(token.size_key(), "/_etcd/registry/test/_config/size");
        assert_eq!(token.member_key("8e9e"), "/_etcd/registry/test/members/8e9e");
        let key = |key: &str| Place::of_key(key.as_bytes());
        assert_eq!(key(&token.size_key()), Some(Place::Size(token.clone())));
        let member = Place::Member(token.clone(), "8e".to_owned());
        assert_eq!(key(&token.member_key("8e")), Some(member.clone()));
        let path = |path: &str| Place::of_path(path.as_bytes());
        assert_eq!(path(&token.directory()), Some(Place::Whole(token.clone())));
        assert_eq!(path(&token.size_key()), Some(Place::Size(token.clone())));
        assert_eq!(path("/_etcd/registry/test/8e"), Some(member));
        for foreign in ["/_etcd/registry/test/x", "/_etcd/registry/test/members/X", "/x"] {
            assert_eq!((key(foreign), path(foreign)), (None, None), "{foreign}");
        }
        assert_eq!(token_of(b"/_etcd/registry/test/what/ever"), Some(token.clone()));
        assert_eq!(token_of(b"/_etcd/registry/test"), Some(token));
        assert_eq!(token_of(b"/_etcd/registry/"), None);
    }

    #[test]
    fn what_strangers_write_is_looked_at() {
        for wrong in ["", "a/b", "..", "_config", "a b", &"a".repeat(65)] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
        for wrong in ["-1", "+1", "0", "1000000", "three", "", "3 "] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert_eq!(size("5"), Some(5));
        for wrong in ["", "0123456789abcdef0", "XY", "a/b"] {
            assert!(!is_id(wrong), "{wrong}");
        }
        let told = |text: &str| Entry::parse(text).unwrap_err();
        assert!(told("").contains("is not name=url"));
        assert!(told("a=http://h:1,b=http://h:2").contains("names one member"));
        assert!(told("a=h:1").contains("begins with http://"));
        assert!(told("a\n=http://h:1").contains("is no name"));
        assert!(told(&format!("a=http://{}:1", "h".repeat(5_000))).contains("at most"));
        let entry = Entry::parse("a=http://h:2,a=http://h:1").unwrap();
        assert_eq!((entry.name.as_str(), entry.urls.len()), ("a", 2));
    }

    #[test]
    fn names_and_urls_belong_to_one() {
        let of = |text: &str| Entry::parse(text).unwrap();
        let (one, two) = (of("a=http://h:1"), of("b=http://h:2"));
        let others = || [("1", &one), ("2", &two)];
        assert_eq!(clash(&of("c=http://h:3"), others()), None);
        assert!(clash(&of("b=http://h:3"), others()).unwrap().contains("member 2"));
        assert!(clash(&of("c=http://h:1"), others()).unwrap().contains("http://h:1"));
    }
}
