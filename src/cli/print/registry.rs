//! Answers about the tokens of a discovery service: ours, in etcdctl's shapes.

use prost::Message;

use crate::proto::quorate::registry as words;

use super::json::{Object, array, text};
use super::page::{Page, Show};
use super::table::Table;

/// A fresh token, and what members are started with.
pub(crate) struct TokenMade<'a> {
    pub answer: &'a words::NewResponse,
    /// For `--discovery`.
    pub url: &'a str,
    /// For `--discovery-endpoints`.
    pub endpoints: &'a str,
}
pub(crate) struct Tokens<'a>(pub &'a words::ListResponse);
pub(crate) struct TokenRevoked<'a>(pub &'a str, pub &'a words::RevokeResponse);

impl Show for TokenMade<'_> {
    fn simple(&self, page: &mut Page) {
        let token = &self.answer.token;
        page.line(token);
        page.line(&format!("--discovery {}", self.url));
        page.line(&format!("--discovery-token {token} --discovery-endpoints {}", self.endpoints));
    }

    fn fields(&self, page: &mut Page) {
        page.quoted("Token", self.answer.token.as_bytes());
        page.field("TTL", self.answer.ttl_s);
        page.quoted("URL", self.url.as_bytes());
    }

    fn json(&self, _: bool) -> String {
        Object::default()
            .text("token", &self.answer.token)
            .number("ttl", self.answer.ttl_s)
            .text("url", self.url)
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

/// `2 of 3`.
fn came(token: &words::Token) -> String {
    let size = if token.size == 0 { "no size".to_owned() } else { token.size.to_string() };
    format!("{} of {size}", token.members.len())
}

fn left(token: &words::Token) -> String {
    if token.ttl_s == 0 { "for ever".to_owned() } else { format!("{}s", token.ttl_s) }
}

fn names(token: &words::Token) -> String {
    let names: Vec<&str> = token.members.iter().map(|it| it.name.as_str()).collect();
    names.join(" ")
}

impl Show for Tokens<'_> {
    fn simple(&self, page: &mut Page) {
        for token in &self.0.tokens {
            let line =
                format!("{}, {}, {}, {}", token.name, came(token), left(token), names(token));
            page.line(line.trim_end_matches([',', ' ']));
        }
    }

    fn fields(&self, page: &mut Page) {
        for token in &self.0.tokens {
            page.quoted("Token", token.name.as_bytes());
            page.field("Size", token.size);
            page.field("TTL", token.ttl_s);
            for member in &token.members {
                page.quoted("ID", member.id.as_bytes());
                page.quoted("Name", member.name.as_bytes());
                for url in &member.peer_urls {
                    page.quoted("PeerURL", url.as_bytes());
                }
            }
            page.line("");
        }
    }

    fn json(&self, _: bool) -> String {
        let member = |member: &words::Registered| {
            Object::default()
                .text("id", &member.id)
                .text("name", &member.name)
                .array("peerURLs", member.peer_urls.iter().map(|url| text(url)))
                .encode()
        };
        let token = |token: &words::Token| {
            Object::default()
                .text("token", &token.name)
                .unsigned("size", token.size.into())
                .number("ttl", token.ttl_s)
                .array("members", token.members.iter().map(member))
                .encode()
        };
        Object::default().raw("tokens", array(self.0.tokens.iter().map(token))).encode()
    }

    fn table(&self) -> Option<Table> {
        let row =
            |token: &words::Token| vec![token.name.clone(), came(token), left(token), names(token)];
        let rows = self.0.tokens.iter().map(row).collect();
        Some(Table { header: vec!["token", "members", "ends_in", "names"], rows })
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for TokenRevoked<'_> {
    fn simple(&self, page: &mut Page) {
        let members = match self.1.members {
            0 => "nobody had registered".to_owned(),
            1 => "1 member had registered".to_owned(),
            members => format!("{members} members had registered"),
        };
        page.line(&format!("Token {} revoked; {members}", self.0));
    }

    fn fields(&self, page: &mut Page) {
        page.quoted("Token", self.0.as_bytes());
        page.field("Members", self.1.members);
    }

    fn json(&self, _: bool) -> String {
        Object::default().text("token", self.0).raw("members", self.1.members).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.1.encode_to_vec())
    }
}
