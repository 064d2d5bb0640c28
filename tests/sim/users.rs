//! The users of etcd's v2 API as simple as they can be said: two maps and a switch; and what is asked of them.
//!
//! Written from the contract, not from our code: answers, and what members know at the end, are compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate::proto::quorate::log::v2_auth::Change;
use quorate::proto::quorate::log::v2_user_change::Kind;
use quorate::proto::quorate::log::{V2Auth, V2Names, V2Role, V2RoleChange, V2User, V2UserChange};
use quorate::state::v2::{Auth, AuthRefused, AuthTold};

use crate::dice::Dice;

const ROOT: &str = "root";
const GUEST: &str = "guest";

/// Indexes of the tree that the first change takes beside its own.
const FOUNDING: u64 = 4;

/// What was never said is null, which an empty list is not.
type Names = Option<Vec<String>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    is_enabled: bool,
    is_founded: bool,
    /// Hash and roles.
    users: BTreeMap<String, (String, Names)>,
    /// What may be read, and what written.
    roles: BTreeMap<String, (Names, Names)>,
}

type Outcome = Result<AuthTold, AuthRefused>;

impl Users {
    /// The answer, and how many indexes of the tree it took.
    pub(crate) fn apply(&mut self, request: &V2Auth) -> (Outcome, u64) {
        let mut next = self.clone();
        let mut steps = if self.is_founded { 1 } else { 1 + FOUNDING };
        let told = match request.change.as_ref().expect("decoded") {
            Change::Enabled(wanted) => next.switch(*wanted, &mut steps),
            Change::User(change) => next.user(change),
            Change::Role(change) => next.role(change),
            Change::DeleteUser(name) if next.is_enabled && name == ROOT => {
                Err(AuthRefused::RootUserNeeded)
            }
            Change::DeleteUser(name) => match next.users.remove(name) {
                Some(_) => Ok(AuthTold::Nothing),
                None => Err(AuthRefused::NoUserToDelete(name.clone())),
            },
            Change::DeleteRole(name) if name == ROOT => Err(AuthRefused::RootRole),
            Change::DeleteRole(name) => match next.roles.remove(name) {
                Some(_) => Ok(AuthTold::Nothing),
                None => Err(AuthRefused::NoRoleToDelete(name.clone())),
            },
        };
        if told.is_err() {
            return (told, 0);
        }
        next.is_founded = true;
        *self = next;
        (told, steps)
    }

    fn switch(&mut self, wanted: bool, steps: &mut u64) -> Outcome {
        if wanted == self.is_enabled {
            return Err(if wanted { AuthRefused::Enabled } else { AuthRefused::Disabled });
        }
        if wanted && !self.users.contains_key(ROOT) {
            return Err(AuthRefused::NoRootUser);
        }
        if wanted && !self.roles.contains_key(GUEST) {
            let all = || Some(vec!["/*".to_owned()]);
            self.roles.insert(GUEST.to_owned(), (all(), all()));
            *steps += 1;
        }
        self.is_enabled = wanted;
        Ok(AuthTold::Nothing)
    }

    fn user(&mut self, change: &V2UserChange) -> Outcome {
        let (name, kind) = (&change.name, change.kind());
        let before = self.users.get(name).cloned();
        let (hash, roles) = match before {
            // Root has its role again whenever it is read, though not in the answer that it lost it.
            Some((hash, roles)) if kind != Kind::Create => {
                changed(change, (hash, with_root(name, roles)))?
            }
            None if kind == Kind::Update => return Err(AuthRefused::NoUser(name.clone())),
            _ if change.password_hash.is_empty() => {
                return Err(AuthRefused::EmptyPassword(name.clone()));
            }
            Some(_) => return Err(AuthRefused::UserExists(name.clone())),
            None => {
                let roles = change.roles.as_ref().map(|it| it.names.clone());
                self.users
                    .insert(name.clone(), (change.password_hash.clone(), with_root(name, roles)));
                let is_new = kind == Kind::CreateOrUpdate;
                return Ok(AuthTold::User { user: Arc::new(self.shown(name)), is_new });
            }
        };
        self.users.insert(name.clone(), (hash, roles));
        Ok(AuthTold::User { user: Arc::new(self.shown(name)), is_new: false })
    }

    fn role(&mut self, change: &V2RoleChange) -> Outcome {
        let wanted = change.role.clone().unwrap_or_default();
        let name = wanted.name;
        let names = |names: Option<V2Names>| names.map(|it| it.names);
        let role = match (self.roles.get(&name), change.update) {
            _ if name == ROOT => return Err(AuthRefused::RootRole),
            (Some(_), false) => return Err(AuthRefused::RoleExists(name)),
            (None, true) => return Err(AuthRefused::NoRole(name)),
            (None, false) => (names(wanted.read), names(wanted.write)),
            (Some((read, write)), true) => {
                let now = (
                    merged("read", read, &change.grant_read, &change.revoke_read)?,
                    merged("write", write, &change.grant_write, &change.revoke_write)?,
                );
                if now == (read.clone(), write.clone()) {
                    return Err(AuthRefused::RoleNotUpdated);
                }
                now
            }
        };
        self.roles.insert(name.clone(), role);
        Ok(AuthTold::Role { role: Arc::new(self.role_shown(&name)), is_new: !change.update })
    }

    fn shown(&self, name: &str) -> V2User {
        let (hash, roles) = self.users[name].clone();
        V2User { name: name.to_owned(), password_hash: hash, roles: listed(roles) }
    }

    fn role_shown(&self, name: &str) -> V2Role {
        let (read, write) = self.roles[name].clone();
        V2Role { name: name.to_owned(), read: listed(read), write: listed(write) }
    }

    /// Whether a member knows the same.
    pub(crate) fn is(&self, auth: &Auth) -> bool {
        let users = self.users.keys().map(|name| self.shown(name));
        let roles = self.roles.keys().map(|name| self.role_shown(name));
        auth.is_enabled() == self.is_enabled
            && users.eq(auth.users().map(|user| V2User::clone(user)))
            && roles.eq(auth.roles().map(|role| V2Role::clone(role)))
    }
}

fn listed(names: Names) -> Option<V2Names> {
    names.map(|names| V2Names { names })
}

/// Root's own role is among its roles.
fn with_root(user: &str, roles: Names) -> Names {
    match (user, roles) {
        (ROOT, Some(roles)) if roles.iter().any(|role| role == ROOT) => Some(roles),
        (ROOT, roles) => {
            Some(roles.unwrap_or_default().into_iter().chain([ROOT.to_owned()]).collect())
        }
        (_, roles) => roles,
    }
}

/// Hash and roles of a user that is there.
fn changed(
    change: &V2UserChange,
    (hash, roles): (String, Names),
) -> Result<(String, Names), AuthRefused> {
    let mut now: BTreeSet<String> = roles.iter().flatten().cloned().collect();
    for role in &change.grant {
        if !now.insert(role.clone()) {
            let (role, user) = (role.clone(), change.name.clone());
            return Err(AuthRefused::RoleGranted { role, user });
        }
    }
    for role in &change.revoke {
        if !now.remove(role) {
            let (role, user) = (role.clone(), change.name.clone());
            return Err(AuthRefused::RoleNotGranted { role, user });
        }
    }
    let after = match change.password_hash.as_str() {
        "" => hash.clone(),
        other => other.to_owned(),
    };
    let now = Some(now.into_iter().collect());
    if after == hash && now == roles {
        return Err(AuthRefused::UserNotUpdated);
    }
    Ok((after, now))
}

fn merged(
    what: &'static str,
    before: &Names,
    grant: &Option<V2Names>,
    revoke: &Option<V2Names>,
) -> Result<Names, AuthRefused> {
    if grant.is_none() && revoke.is_none() {
        return Ok(before.clone());
    }
    let mut now: BTreeSet<String> = before.iter().flatten().cloned().collect();
    for pattern in grant.iter().flat_map(|it| &it.names) {
        if !now.insert(pattern.clone()) {
            return Err(AuthRefused::PermissionGranted { what, pattern: pattern.clone() });
        }
    }
    for pattern in revoke.iter().flat_map(|it| &it.names) {
        now.remove(pattern);
    }
    Ok(Some(now.into_iter().collect()))
}

/// A change of users: what is there, mostly.
pub(crate) fn drawn(dice: &mut Dice) -> V2Auth {
    let pick = |names: &[&str], dice: &mut Dice| (*dice.pick(names).expect("names")).to_owned();
    let some = |names: &[&str], dice: &mut Dice| -> Vec<String> {
        names.iter().filter(|_| dice.in_thousand(300)).map(|name| (*name).to_owned()).collect()
    };
    let said = |names: &[&str], dice: &mut Dice| {
        dice.in_thousand(600).then(|| V2Names { names: some(names, dice) })
    };
    let (users, roles) = (["root", "u1", "u2", "u3"], ["root", "guest", "r1", "r2"]);
    let patterns = ["/*", "/a", "/d0/*"];
    let change = match dice.below(10) {
        0 | 1 => Change::Enabled(dice.in_thousand(600)),
        2..=4 => Change::User(V2UserChange {
            kind: [Kind::Create, Kind::CreateOrUpdate, Kind::Update][dice.below(3)].into(),
            name: pick(&users, dice),
            password_hash: pick(&["", "hash", "another"], dice),
            roles: said(&roles, dice),
            grant: some(&roles, dice),
            revoke: some(&roles, dice),
        }),
        5..=7 => Change::Role(V2RoleChange {
            update: dice.in_thousand(600),
            role: Some(V2Role {
                name: pick(&roles, dice),
                read: said(&patterns, dice),
                write: said(&patterns, dice),
            }),
            grant_read: said(&patterns, dice),
            grant_write: said(&patterns, dice),
            revoke_read: said(&patterns, dice),
            revoke_write: said(&patterns, dice),
        }),
        8 => Change::DeleteUser(pick(&users, dice)),
        _ => Change::DeleteRole(pick(&roles, dice)),
    };
    V2Auth { change: Some(change) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_founds_and_what_is_refused_changes_nothing() {
        let mut users = Users::default();
        let mut ask = |change| users.apply(&V2Auth { change: Some(change) });
        let (told, steps) = ask(Change::Enabled(true));
        assert_eq!((told, steps), (Err(AuthRefused::NoRootUser), 0));
        let root = V2UserChange {
            kind: Kind::CreateOrUpdate.into(),
            name: ROOT.to_owned(),
            password_hash: "h".to_owned(),
            ..V2UserChange::default()
        };
        let (told, steps) = ask(Change::User(root));
        assert!(matches!(told, Ok(AuthTold::User { is_new: true, .. })) && steps == 5, "{told:?}");
        assert_eq!(ask(Change::Enabled(true)), (Ok(AuthTold::Nothing), 2));
        assert_eq!(ask(Change::DeleteUser(ROOT.to_owned())).0, Err(AuthRefused::RootUserNeeded));
        let revoked = V2UserChange {
            kind: Kind::Update.into(),
            name: ROOT.to_owned(),
            revoke: vec![ROOT.to_owned()],
            ..V2UserChange::default()
        };
        // As often as one likes.
        for _ in 0..2 {
            let (told, steps) = ask(Change::User(revoked.clone()));
            let Ok(AuthTold::User { user, is_new: false }) = told else { panic!("{told:?}") };
            assert_eq!((user.roles.clone(), steps), (listed(Some(Vec::new())), 1));
        }
        assert!(users.roles.contains_key(GUEST) && users.users[ROOT].1 == Some(Vec::new()));
    }
}
