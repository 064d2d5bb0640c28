//! Users and roles: read, compared, and made equal. What is compared is pure.
//!
//! No API tells a password. A user gets the one that the person who migrates has written down, or one that nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;

use crate::cli::exit::Exit;
use crate::client::{Access, Client, Error};
use crate::proto::Code;
use crate::proto::authpb::permission::Type;

use super::destination;
use super::patience::{Failure, Patience, patiently};
use super::source;

/// The user and the role that may everything; a destination may have them before.
pub(super) const ROOT: &str = "root";

/// Users and roles that change while they are read are read again so many times.
const READ_MAX: usize = 16;

/// Who may do what.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Users {
    /// With their roles.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// With what they may do; of root, who may everything, nothing is listed.
    pub roles: BTreeMap<String, BTreeMap<(Bytes, Bytes), Type>>,
}

/// One call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    AddRole(String),
    Grant(String, Bytes, Bytes, Type),
    Revoke(String, Bytes, Bytes),
    AddUser(String),
    GrantRole(String, String),
    RevokeRole(String, String),
    DeleteUser(String),
    DeleteRole(String),
}

/// Passwords that a person has written down: `name:password`, one a line.
#[derive(Default)]
pub(super) struct Passwords(BTreeMap<String, String>);

impl Users {
    /// What is to be done at `here` so that it is as `self`. Root, who may have been there before, stays.
    pub(super) fn steps_from(&self, here: &Self) -> Vec<Step> {
        let mut steps = Vec::new();
        let nothing = BTreeMap::new();
        for (role, permissions) in &self.roles {
            if !here.roles.contains_key(role) {
                steps.push(Step::AddRole(role.clone()));
            }
            let old = here.roles.get(role).unwrap_or(&nothing);
            for (key, end) in old.keys().filter(|range| !permissions.contains_key(*range)) {
                steps.push(Step::Revoke(role.clone(), key.clone(), end.clone()));
            }
            for (range, access) in
                permissions.iter().filter(|(range, it)| old.get(*range) != Some(it))
            {
                let (key, end) = range.clone();
                steps.push(Step::Grant(role.clone(), key, end, *access));
            }
        }
        let nobody = BTreeSet::new();
        for (user, roles) in &self.users {
            if !here.users.contains_key(user) {
                steps.push(Step::AddUser(user.clone()));
            }
            let old = here.users.get(user).unwrap_or(&nobody);
            // Root with another role less may still be who is asking.
            let is_asking = |role: &String| user == ROOT && role == ROOT;
            let surplus = old.difference(roles).filter(|role| !is_asking(role));
            steps.extend(surplus.map(|role| Step::RevokeRole(user.clone(), role.clone())));
            let missing = roles.difference(old);
            steps.extend(missing.map(|role| Step::GrantRole(user.clone(), role.clone())));
        }
        let gone = |name: &&String| *name != ROOT;
        let users = here.users.keys().filter(|name| !self.users.contains_key(*name)).filter(gone);
        steps.extend(users.map(|name| Step::DeleteUser(name.clone())));
        let roles = here.roles.keys().filter(|name| !self.roles.contains_key(*name)).filter(gone);
        steps.extend(roles.map(|name| Step::DeleteRole(name.clone())));
        steps
    }

    /// Nobody but root.
    pub(super) fn is_empty(&self) -> bool {
        let is_root = |name: &String| name == ROOT;
        self.users.keys().all(is_root) && self.roles.keys().all(is_root)
    }

    /// Whether somebody may everything, without whom authentication cannot be enabled.
    pub(super) fn have_root(&self) -> bool {
        self.users.get(ROOT).is_some_and(|roles| roles.contains(ROOT))
    }

    async fn read(client: &Client) -> Result<Self, Error> {
        let mut found = Self::default();
        for role in client.role_list().await?.roles {
            let mut permissions = BTreeMap::new();
            if role != ROOT {
                for permission in client.role_get(&role).await?.perm {
                    let access = permission.perm_type();
                    permissions.insert((permission.key, permission.range_end), access);
                }
            }
            found.roles.insert(role, permissions);
        }
        for user in client.user_list().await?.users {
            let roles = client.user_get(&user).await?.roles.into_iter().collect();
            found.users.insert(user, roles);
        }
        Ok(found)
    }
}

/// The users as they were at one moment.
async fn read(client: &Client) -> Result<Users, Error> {
    let mut patience = Patience::new();
    let mut last = None;
    for _ in 0..READ_MAX {
        let before = revision(client).await?;
        match Users::read(client).await {
            Ok(users) => {
                // An etcd that tells no revision is read twice.
                let is_same = last.as_ref() == Some(&users);
                if is_same || before.is_some() && before == revision(client).await? {
                    return Ok(users);
                }
                last = Some(users);
            }
            // Deleted since it was listed.
            Err(Error::Server { status, .. })
                if status.text.ends_with("user name not found")
                    || status.text.ends_with("role name not found") => {}
            Err(error) if patience.bears(&error).await => {}
            Err(error) => return Err(error),
        }
    }
    let text = format!("users and roles have changed {READ_MAX} times while they were read");
    Err(Error::Config(text))
}

pub(super) async fn of_source(client: &Client) -> Result<Users, Failure> {
    read(client).await.map_err(source::failed)
}

pub(super) async fn of_destination(client: &Client) -> Result<Users, Failure> {
    Ok(read(client).await.map_err(|error| destination::exit(&error, "read users"))?)
}

/// Grows with every change of users and roles; none at an etcd 3.4, which does not tell.
pub(super) async fn revision(client: &Client) -> Result<Option<u64>, Error> {
    match patiently(async || client.auth_status().await).await {
        Ok(status) => Ok(Some(status.auth_revision)),
        Err(error) if error.code() == Code::Unimplemented => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the destination's users those of the source; the names of new users whose password nobody knows.
pub(super) async fn carry(
    source: &Client,
    destination: &Client,
    passwords: &Passwords,
) -> Result<BTreeSet<String>, Failure> {
    let theirs = of_source(source).await?;
    let mut without = BTreeSet::new();
    // A call whose answer was lost may have been done: then it is no step any more.
    let mut patience = Patience::new();
    loop {
        let here = of_destination(destination).await?;
        let mut failed = None;
        for step in theirs.steps_from(&here) {
            if let Step::AddUser(name) = &step
                && !passwords.has(name)
            {
                without.insert(name.clone());
            }
            if let Err(error) = take(destination, &step, passwords).await? {
                failed = Some((step, error));
                break;
            }
        }
        match failed {
            None => return Ok(without),
            Some((_, error)) if patience.bears(&error).await => {}
            Some((step, error)) => {
                return Err(destination::exit(&error, &format!("do {step:?}")).into());
            }
        }
    }
}

/// One step: an inner failure is the call's own.
async fn take(
    client: &Client,
    step: &Step,
    passwords: &Passwords,
) -> Result<Result<(), Error>, Exit> {
    let done = match step {
        Step::AddRole(role) => client.role_add(role).await.map(drop),
        Step::Grant(role, key, end, access) => {
            let access = match access {
                Type::Read => Access::Read,
                Type::Write => Access::Write,
                Type::Readwrite => Access::ReadWrite,
            };
            client.role_grant_permission(role, access, key.clone(), end.clone()).await.map(drop)
        }
        Step::Revoke(role, key, end) => {
            client.role_revoke_permission(role, key.clone(), end.clone()).await.map(drop)
        }
        Step::AddUser(user) => {
            let password = match passwords.0.get(user) {
                Some(password) => password.clone(),
                None => unknown_password()?,
            };
            client.user_add(user, &password).await.map(drop)
        }
        Step::GrantRole(user, role) => client.user_grant_role(user, role).await.map(drop),
        Step::RevokeRole(user, role) => client.user_revoke_role(user, role).await.map(drop),
        Step::DeleteUser(user) => client.user_delete(user).await.map(drop),
        Step::DeleteRole(role) => client.role_delete(role).await.map(drop),
    };
    Ok(done)
}

/// Nobody has seen it. A user without one could never be given one: `user passwd` would change nothing.
fn unknown_password() -> Result<String, Exit> {
    let mut dice = [0; 16];
    getrandom::fill(&mut dice).map_err(|error| Exit::error(format!("no random bytes: {error}")))?;
    Ok(dice.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Passwords {
    pub(super) fn of_file(file: Option<&Path>) -> Result<Self, Exit> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Exit::bad_args(format!("cannot read {}: {error}", file.display())))?;
        Self::parse(&text).map_err(|line| {
            Exit::bad_args(format!("{}:{line}: it is no name:password", file.display()))
        })
    }

    /// The number of a line that is none.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut passwords = BTreeMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (name, password) = line.split_once(':').ok_or(at + 1)?;
            if name.is_empty() || password.is_empty() {
                return Err(at + 1);
            }
            passwords.insert(name.to_owned(), password.to_owned());
        }
        Ok(Self(passwords))
    }

    pub(super) fn has(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// Gives every user of the file the password that stands there.
    pub(super) async fn set(&self, destination: &Client) -> Result<(), Failure> {
        let users = of_destination(destination).await?.users;
        for (name, password) in self.0.iter().filter(|(name, _)| users.contains_key(*name)) {
            patiently(async || destination.user_change_password(name, password).await)
                .await
                .map_err(|error| {
                    destination::exit(&error, &format!("change the password of {name}"))
                })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(users: &[(&str, &[&str])], roles: &[(&str, &[(&'static str, Type)])]) -> Users {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Users {
            users: users.iter().map(|(user, roles)| ((*user).to_owned(), names(roles))).collect(),
            roles: roles
                .iter()
                .map(|(role, permissions)| {
                    let one = |(key, access): &(&'static str, Type)| {
                        ((Bytes::from_static(key.as_bytes()), Bytes::new()), *access)
                    };
                    ((*role).to_owned(), permissions.iter().map(one).collect())
                })
                .collect(),
        }
    }

    #[test]
    fn an_empty_cluster_gets_everything_in_an_order_that_holds() {
        let theirs = users(&[("alice", &["readers"])], &[("readers", &[("k", Type::Read)])]);
        let text = |text: &str| text.to_owned();
        assert_eq!(
            theirs.steps_from(&Users::default()),
            [
                Step::AddRole(text("readers")),
                Step::Grant(text("readers"), "k".into(), Bytes::new(), Type::Read),
                Step::AddUser(text("alice")),
                Step::GrantRole(text("alice"), text("readers")),
            ]
        );
        assert!(theirs.steps_from(&theirs).is_empty());
        assert!(Users::default().is_empty() && !theirs.is_empty());
    }

    #[test]
    fn what_has_changed_is_changed_and_what_is_gone_goes() {
        let here = users(
            &[("alice", &["readers", "old"]), ("bob", &[])],
            &[("readers", &[("k", Type::Read), ("l", Type::Read)]), ("old", &[])],
        );
        let theirs = users(&[("alice", &["readers"])], &[("readers", &[("k", Type::Readwrite)])]);
        let text = |text: &str| text.to_owned();
        assert_eq!(
            theirs.steps_from(&here),
            [
                Step::Revoke(text("readers"), "l".into(), Bytes::new()),
                Step::Grant(text("readers"), "k".into(), Bytes::new(), Type::Readwrite),
                Step::RevokeRole(text("alice"), text("old")),
                Step::DeleteUser(text("bob")),
                Step::DeleteRole(text("old")),
            ]
        );
    }

    #[test]
    fn root_stays_where_it_was() {
        let here = users(&[("root", &["root"])], &[("root", &[])]);
        assert!(here.is_empty());
        assert!(Users::default().steps_from(&here).is_empty());
        assert!(users(&[("root", &[])], &[]).steps_from(&here).is_empty());
    }

    #[test]
    fn passwords_are_read_line_by_line() {
        let read = Passwords::parse("alice:a:b\n\nbob: c\n").unwrap();
        assert_eq!((read.0["alice"].as_str(), read.0["bob"].as_str()), ("a:b", " c"));
        assert!(read.has("alice") && !read.has("carol"));
        for (text, line) in [("alice", 1), ("a:b\nbob:", 2), (":x", 1)] {
            assert_eq!(Passwords::parse(text).err(), Some(line), "{text}");
        }
    }
}
