//! `role add|delete|get|list|grant-permission|revoke-permission`.

use clap::{Args, Subcommand};

use crate::client::{Access, prefix_end};

use super::connect::Session;
use super::exit::Exit;
use super::print::{Changed, Roles};
use super::user::{one, show_role};

/// "Every key from here on", and as a key the first one.
const NUL: &[u8] = b"\0";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Role {
    /// Add a role
    #[command(
        override_usage = "quorate role add [OPTIONS] NAME",
        after_help = "Examples:\n  quorate role add readers"
    )]
    Add(Words),
    /// Delete a role, and take it from every user
    #[command(
        override_usage = "quorate role delete [OPTIONS] NAME",
        after_help = "Examples:\n  quorate role delete readers"
    )]
    Delete(Words),
    /// Show what a role may read and write
    #[command(
        override_usage = "quorate role get [OPTIONS] NAME",
        after_help = "Examples:\n  quorate role get readers"
    )]
    Get(Words),
    /// Show all roles
    #[command(after_help = "Examples:\n  quorate role list")]
    List(Words),
    /// Let a role read, write or both a key or a range of keys
    #[command(
        override_usage = "quorate role grant-permission [OPTIONS] NAME read|write|readwrite KEY [END]",
        after_help = "Examples:\n  quorate role grant-permission readers read config/ --prefix\n  \
            quorate role grant-permission writers readwrite a c"
    )]
    GrantPermission(Ranged),
    /// Take back what was granted, by the same key and end
    #[command(
        override_usage = "quorate role revoke-permission [OPTIONS] NAME KEY [END]",
        after_help = "Examples:\n  quorate role revoke-permission readers config/ --prefix"
    )]
    RevokePermission(Ranged),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Words {
    #[arg(hide = true)]
    words: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Ranged {
    #[arg(hide = true)]
    words: Vec<String>,
    /// All keys with this prefix
    #[arg(long)]
    prefix: bool,
    /// The key, and all behind it
    #[arg(long)]
    from_key: bool,
}

impl Role {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::Add(Words { words }) => {
                let name = one(&words, "role add command requires role name as its argument")?;
                let answer = session.client().await?.role_add(name).await?;
                let text = format!("Role {name} created");
                printer.print(&Changed { header: answer.header.as_ref(), text })
            }
            Self::Delete(Words { words }) => {
                let name = one(&words, "role delete command requires role name as its argument")?;
                let answer = session.client().await?.role_delete(name).await?;
                let text = format!("Role {name} deleted");
                printer.print(&Changed { header: answer.header.as_ref(), text })
            }
            Self::Get(Words { words }) => {
                let name = one(&words, "role get command requires role name as its argument")?;
                show_role(&session.client().await?, session, name).await
            }
            Self::List(Words { words }) => {
                if !words.is_empty() {
                    return Err(Exit::bad_args("role list command requires no arguments"));
                }
                printer.print(&Roles(&session.client().await?.role_list().await?))
            }
            Self::GrantPermission(ranged) => ranged.grant(session).await,
            Self::RevokePermission(ranged) => ranged.revoke(session).await,
        }
    }
}

impl Ranged {
    async fn grant(self, session: &Session) -> Result<(), Exit> {
        let [name, access, keys @ ..] = self.words.as_slice() else {
            return Err(Exit::bad_args(GRANT_NEEDS));
        };
        if keys.is_empty() {
            return Err(Exit::bad_args(GRANT_NEEDS));
        }
        let kind = match access.to_uppercase().as_str() {
            "READ" => Access::Read,
            "WRITE" => Access::Write,
            "READWRITE" => Access::ReadWrite,
            _ => return Err(Exit::bad_args(format!("invalid permission type: {access}"))),
        };
        let (key, end) = self.range(keys)?;
        let client = session.client().await?;
        let answer = client.role_grant_permission(name, kind, key, end).await?;
        let text = format!("Role {name} updated");
        session.printer.print(&Changed { header: answer.header.as_ref(), text })
    }

    async fn revoke(self, session: &Session) -> Result<(), Exit> {
        let [name, keys @ ..] = self.words.as_slice() else {
            return Err(Exit::bad_args(REVOKE_NEEDS));
        };
        let Some(said) = keys.first() else {
            return Err(Exit::bad_args(REVOKE_NEEDS));
        };
        let (key, end) = self.range(keys)?;
        let client = session.client().await?;
        let answer = client.role_revoke_permission(name, key, end.clone()).await?;
        let text = match end.as_slice() {
            b"" => format!("Permission of key {said} is revoked from role {name}"),
            NUL => {
                format!("Permission of range [{said}, <open ended> is revoked from role {name}")
            }
            end => {
                let end = String::from_utf8_lossy(end);
                format!("Permission of range [{said}, {end}) is revoked from role {name}")
            }
        };
        session.printer.print(&Changed { header: answer.header.as_ref(), text })
    }

    /// A key and its range's end, as etcdctl makes them of its words: an empty key is the first one.
    fn range(&self, keys: &[String]) -> Result<(Vec<u8>, Vec<u8>), Exit> {
        let key = keys.first().map_or(&[][..], |key| key.as_bytes());
        if self.prefix && self.from_key && (keys.len() == 1 || key.is_empty()) {
            let text = "--from-key and --prefix flags are mutually exclusive";
            return Err(Exit::bad_args(text));
        }
        if key.is_empty() {
            let is_range = self.prefix || self.from_key;
            let end = if is_range { NUL.to_vec() } else { Vec::new() };
            return Ok((NUL.to_vec(), end));
        }
        let end = match keys.get(1) {
            Some(_) if self.prefix => {
                return Err(Exit::bad_args("unexpected endkey argument with --prefix flag"));
            }
            Some(_) if self.from_key => {
                return Err(Exit::bad_args("unexpected endkey argument with --from-key flag"));
            }
            Some(end) => end.as_bytes().to_vec(),
            None if self.prefix => prefix_end(key).to_vec(),
            None if self.from_key => NUL.to_vec(),
            None => Vec::new(),
        };
        Ok((key.to_vec(), end))
    }
}

const GRANT_NEEDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";
const REVOKE_NEEDS: &str =
    "role revoke-permission command requires role name and key [endkey] as its argument";

#[cfg(test)]
mod tests {
    use super::*;

    fn range(keys: &[&str], prefix: bool, from_key: bool) -> Result<(Vec<u8>, Vec<u8>), String> {
        let words = keys.iter().map(|key| (*key).to_owned()).collect();
        let ranged = Ranged { words, prefix, from_key };
        ranged.range(&ranged.words).map_err(|exit| exit.text)
    }

    #[test]
    fn an_empty_key_is_the_first_one() {
        let is = |key: &[u8], end: &[u8]| Ok((key.to_vec(), end.to_vec()));
        assert_eq!(range(&["a"], false, false), is(b"a", b""));
        assert_eq!(range(&["a", "c"], false, false), is(b"a", b"c"));
        assert_eq!(range(&["a/"], true, false), is(b"a/", b"a0"));
        assert_eq!(range(&["a"], false, true), is(b"a", NUL));
        assert_eq!(range(&[""], false, false), is(NUL, b""));
        assert_eq!(range(&[""], true, false), is(NUL, NUL));
        assert!(range(&["a", "b"], true, false).unwrap_err().contains("--prefix"));
        assert!(range(&["a"], true, true).unwrap_err().contains("mutually exclusive"));
    }
}
