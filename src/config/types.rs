//! The shapes a setting may have: lists that are also comma strings, and the initial cluster.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `["a", "b"]` in a file, `a,b` everywhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List(pub Vec<String>);

/// `n1=https://…,n2=https://…` everywhere, or a table of names in a file; in the order it was written. A name with
/// several URLs occurs several times.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Initial(pub Vec<(String, String)>);

/// Go's words for a switch.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl List {
    pub fn parse(text: &str) -> Self {
        Self(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

impl Initial {
    /// etcd's syntax; an entry without a name is told so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for entry in List::parse(text).0 {
            match entry.split_once('=') {
                Some((name, url)) if !name.is_empty() && !url.is_empty() => {
                    entries.push((name.to_owned(), url.to_owned()));
                }
                _ => return Err(format!("{entry:?} is not name=url")),
            }
        }
        Ok(Self(entries))
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl fmt::Display for Initial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> =
            self.0.iter().map(|(name, url)| format!("{name}={url}")).collect();
        f.write_str(&entries.join(","))
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Initial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

impl<'de> Deserialize<'de> for Initial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InitialVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings, or one string with commas")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<List, E> {
        Ok(List::parse(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<String>()? {
            list.extend(List::parse(&item).0);
        }
        Ok(List(list))
    }
}

struct InitialVisitor;

impl<'de> Visitor<'de> for InitialVisitor {
    type Value = Initial;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"name=url,name=url\", or a table of name = url")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Initial, E> {
        Initial::parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Initial, A::Error> {
        let mut initial = Vec::new();
        while let Some((name, urls)) = entries.next_entry::<String, List>()? {
            if urls.0.is_empty() {
                return Err(A::Error::custom(format!("{name} has no URL")));
            }
            initial.extend(urls.0.into_iter().map(|url| (name.clone(), url)));
        }
        Ok(Initial(initial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_clusters_read_etcds_comma_strings() {
        assert_eq!(List::parse(" a, b,,c ").0, ["a", "b", "c"]);
        let initial = Initial::parse("n1=https://h:1,n1=https://i:1,n2=https://h:2").unwrap();
        assert_eq!(initial.0.len(), 3);
        assert_eq!(initial.to_string(), "n1=https://h:1,n1=https://i:1,n2=https://h:2");
        assert_eq!(Initial::parse("https://h:1").unwrap_err(), "\"https://h:1\" is not name=url");
    }
}
