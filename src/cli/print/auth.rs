//! Answers about users and roles.

use prost::Message;

use crate::cli::go::quote;
use crate::proto::authpb::Permission;
use crate::proto::authpb::permission::Type;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::ResponseHeader;

use super::json::{Object, text};
use super::page::{Page, Show, header_json};
use crate::client::prefix_end;

/// A change, of which there is a header and nothing else to tell.
pub(crate) struct Changed<'a> {
    pub header: Option<&'a ResponseHeader>,
    /// What a person is told.
    pub text: String,
}

pub(crate) struct AuthStatus<'a>(pub &'a pb::AuthStatusResponse);
pub(crate) struct Users<'a>(pub &'a pb::AuthUserListResponse);
pub(crate) struct UserShown<'a> {
    pub name: &'a str,
    pub answer: &'a pb::AuthUserGetResponse,
}
pub(crate) struct Roles<'a>(pub &'a pb::AuthRoleListResponse);
pub(crate) struct RoleShown<'a> {
    pub name: &'a str,
    pub answer: &'a pb::AuthRoleGetResponse,
}

fn headed(header: Option<&ResponseHeader>) -> Object {
    Object::default().object("header", &header_json(header))
}

impl Show for Changed<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&self.text);
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.header);
    }

    fn json(&self, _: bool) -> String {
        headed(self.header).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        // The answers of all changes are this one.
        Some(pb::AuthEnableResponse { header: self.header.cloned() }.encode_to_vec())
    }
}

impl Show for AuthStatus<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("Authentication Status: {}", self.0.enabled));
        page.line(&format!("AuthRevision: {}", self.0.auth_revision));
    }

    fn fields(&self, _: &mut Page) {}

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: bool) -> String {
        headed(self.0.header.as_ref())
            .switch("enabled", self.0.enabled)
            .unsigned("authRevision", self.0.auth_revision)
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Users<'_> {
    fn simple(&self, page: &mut Page) {
        self.0.users.iter().for_each(|name| page.line(name));
    }

    fn fields(&self, _: &mut Page) {}

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: bool) -> String {
        let names = self.0.users.iter().map(|name| text(name));
        headed(self.0.header.as_ref()).array("users", names).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for UserShown<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("User: {}", self.name));
        let roles: String = self.answer.roles.iter().map(|role| format!(" {role}")).collect();
        page.line(&format!("Roles:{roles}"));
    }

    fn fields(&self, _: &mut Page) {}

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: bool) -> String {
        let roles = self.answer.roles.iter().map(|role| text(role));
        headed(self.answer.header.as_ref()).array("roles", roles).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Show for Roles<'_> {
    fn simple(&self, page: &mut Page) {
        self.0.roles.iter().for_each(|name| page.line(name));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        let names: String =
            self.0.roles.iter().map(|name| format!(" {}", quote(name.as_bytes()))).collect();
        page.line(&format!("\"Roles\" :{names}"));
    }

    fn json(&self, _: bool) -> String {
        let names = self.0.roles.iter().map(|name| text(name));
        headed(self.0.header.as_ref()).array("roles", names).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for RoleShown<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("Role {}", self.name));
        for (title, kind) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
            page.line(title);
            let permits = |it: &&Permission| {
                it.perm_type == kind as i32 || it.perm_type == Type::Readwrite as i32
            };
            self.answer.perm.iter().filter(permits).for_each(|it| page.bytes_line(&span(it)));
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.answer.header.as_ref());
        for permission in &self.answer.perm {
            // Both spaces are etcdctl's.
            page.line(&format!("\"PermType\" :  {}", kind(permission)));
            page.quoted("Key", &permission.key);
            page.quoted("RangeEnd", &permission.range_end);
        }
    }

    fn json(&self, _: bool) -> String {
        let permissions = self.answer.perm.iter().map(|permission| {
            let object = Object::default().number("permType", permission.perm_type.into());
            let object = object.bytes("key", &permission.key);
            object.bytes("range_end", &permission.range_end).encode()
        });
        headed(self.answer.header.as_ref()).array("perm", permissions).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

fn kind(permission: &Permission) -> String {
    match Type::try_from(permission.perm_type) {
        Ok(kind) => kind.as_str_name().to_owned(),
        Err(_) => permission.perm_type.to_string(),
    }
}

/// A key, or a range in brackets, with its prefix where it is one's.
fn span(Permission { key, range_end, .. }: &Permission) -> Vec<u8> {
    let mut line = b"\t".to_vec();
    if range_end.is_empty() {
        line.extend_from_slice(key);
        return line;
    }
    line.push(b'[');
    line.extend_from_slice(key);
    if range_end[..] == [0] {
        line.extend_from_slice(b", <open ended>");
    } else {
        line.extend_from_slice(b", ");
        line.extend_from_slice(range_end);
        line.push(b')');
    }
    if !key.is_empty() && prefix_end(key) == range_end {
        line.extend_from_slice(b" (prefix ");
        line.extend_from_slice(key);
        line.push(b')');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: &impl Show) -> String {
        let mut page = Page::default();
        answer.simple(&mut page);
        page.text()
    }

    #[test]
    fn a_role_says_what_it_may_read_and_write() {
        let permission = |kind: Type, key: &'static str, range_end: &'static str| Permission {
            perm_type: kind as i32,
            key: key.into(),
            range_end: range_end.into(),
        };
        let perm = vec![
            permission(Type::Read, "a", ""),
            permission(Type::Readwrite, "b/", "b0"),
            permission(Type::Write, "c", "\0"),
            permission(Type::Read, "d", "g"),
        ];
        let answer = pb::AuthRoleGetResponse { header: None, perm };
        let text = shown(&RoleShown { name: "r", answer: &answer });
        assert_eq!(
            text,
            "Role r\nKV Read:\n\ta\n\t[b/, b0) (prefix b/)\n\t[d, g)\nKV Write:\n\t[b/, b0) (prefix b/)\n\
             \t[c, <open ended>\n"
        );
        let json = RoleShown { name: "r", answer: &answer }.json(false);
        assert!(json.contains(r#"{"permType":2,"key":"Yi8=","range_end":"YjA="}"#), "{json}");
        assert!(json.contains(r#"{"key":"YQ=="}"#), "{json}");
    }

    #[test]
    fn a_user_without_roles_has_none() {
        let answer = pb::AuthUserGetResponse::default();
        assert_eq!(shown(&UserShown { name: "u", answer: &answer }), "User: u\nRoles:\n");
    }
}
