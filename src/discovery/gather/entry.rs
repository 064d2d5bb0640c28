//! What stands in a registry, read with care: strangers write there.

use std::collections::BTreeSet;

use super::error::GatherError;
use crate::base::{MemberId, limits};
use crate::transport::Url;

/// Longest entry of one member, bytes.
const ENTRY_BYTES_MAX: usize = 4 * 1024;

/// Longest name of a member, bytes.
const NAME_BYTES_MAX: usize = 255;

/// Somebody who has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registered {
    /// As it was registered.
    pub id: String,
    pub name: String,
    /// Sorted.
    pub urls: Vec<Url>,
}

/// How many are to come.
pub(super) fn size(text: &str) -> Result<usize, GatherError> {
    let number = text.trim().parse().ok();
    number.filter(|size| (1..=limits::MEMBERS_MAX).contains(size)).ok_or_else(|| {
        let text = text.chars().take(32).collect();
        GatherError::BadSize { text, max: limits::MEMBERS_MAX }
    })
}

/// `name=url,name=url`, as a member writes itself.
pub(super) fn written(name: &str, urls: &[Url]) -> String {
    urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}

/// An id as etcd writes it.
pub(super) fn id_text(urls: &[Url], token: &str) -> String {
    let texts: Vec<String> = urls.iter().map(Url::to_string).collect();
    MemberId::from_peer_urls(&texts, token, None).to_string()
}

/// The founders among those who have come, in their order; each is a member of this very meeting, and no two are one.
pub(super) fn founders(
    listed: &[(String, String)],
    size: usize,
    token: &str,
) -> Result<Vec<Registered>, GatherError> {
    let mut found: Vec<Registered> = Vec::new();
    let mut taken = BTreeSet::new();
    for (id, value) in listed.iter().take(size) {
        let entry = read(id, value)
            .map_err(|what| GatherError::InvalidUrl { id: id.chars().take(32).collect(), what })?;
        if let Some(other) = found.iter().find(|it| it.name == entry.name) {
            let (first, second) = (other.id.clone(), entry.id);
            return Err(GatherError::DuplicateName { first, second, name: entry.name });
        }
        if let Some(url) = entry.urls.iter().find(|url| !taken.insert((*url).clone())) {
            let what = format!("{url} is another member's, too");
            return Err(GatherError::InvalidUrl { id: entry.id, what });
        }
        let expected = id_text(&entry.urls, token);
        if expected != entry.id {
            let (name, id, token) = (entry.name, entry.id, token.to_owned());
            return Err(GatherError::OtherToken { name, id, token, expected });
        }
        found.push(entry);
    }
    Ok(found)
}

fn read(id: &str, value: &str) -> Result<Registered, String> {
    if value.len() > ENTRY_BYTES_MAX {
        return Err(format!("it has more than {ENTRY_BYTES_MAX} bytes"));
    }
    let mut name = None;
    let mut urls = Vec::new();
    for part in value.split(',') {
        let Some((own, url)) = part.split_once('=').filter(|(own, _)| !own.is_empty()) else {
            return Err(format!("{part:?} is not name=url"));
        };
        if own.len() > NAME_BYTES_MAX || own.chars().any(char::is_control) {
            return Err(format!("{own:?} is no name of a member"));
        }
        if *name.get_or_insert(own) != own {
            return Err(format!("{value:?} names more than one member"));
        }
        urls.push(url.parse::<Url>().map_err(|error| error.to_string())?);
    }
    urls.sort();
    urls.dedup();
    Ok(Registered { id: id.to_owned(), name: name.unwrap_or_default().to_owned(), urls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, url: &str) -> (String, String) {
        let urls = [url.parse().unwrap()];
        (id_text(&urls, "t"), written(name, &urls))
    }

    #[test]
    fn sizes_from_strangers_are_looked_at() {
        for wrong in ["-1", "0", "1000000", "three", "", "99999999999999999999999"] {
            assert!(matches!(size(wrong), Err(GatherError::BadSize { .. })), "{wrong}");
        }
        assert_eq!(size("5"), Ok(5));
    }

    #[test]
    fn the_first_who_come_found() {
        let listed = [of("a", "http://h:1"), of("b", "http://h:2"), of("c", "http://h:3")];
        let names = |size| -> Vec<String> {
            founders(&listed, size, "t").unwrap().into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names(2), ["a", "b"]);
        assert_eq!(names(5), ["a", "b", "c"]);
        // The surplus is nobody's concern.
        let rubbish = [of("a", "http://h:1"), ("x".to_owned(), "rubbish".to_owned())];
        assert_eq!(founders(&rubbish, 1, "t").unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_one_cluster_is_told() {
        let told = |listed: &[(String, String)]| founders(listed, 3, "t").unwrap_err().to_string();
        let twice = told(&[of("a", "http://h:1"), of("a", "http://h:2")]);
        assert!(twice.starts_with("discovery: found duplicate name"), "{twice}");
        let shared = (id_text(&["http://h:1".parse().unwrap()], "t"), "b=http://h:1".to_owned());
        let shared = told(&[of("a", "http://h:1"), shared]);
        assert!(shared.contains("another member's"), "{shared}");
        let (_, value) = of("a", "http://h:1");
        let elsewhere = told(&[(id_text(&["http://h:1".parse().unwrap()], "u"), value)]);
        assert!(elsewhere.contains("the very same discovery"), "{elsewhere}");
        for (value, part) in [
            ("", "is not name=url"),
            ("a=http://h:1,b=http://h:2", "more than one member"),
            ("a=h:1", "begins with http://"),
            ("a\n=http://h:1", "is no name"),
        ] {
            let said = told(&[("1".to_owned(), value.to_owned())]);
            assert!(said.starts_with("discovery: invalid URL") && said.contains(part), "{said}");
        }
    }
}
