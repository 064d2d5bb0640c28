//! Users and roles in the scripts of the state machine.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::ArgumentConsumer;
use quorate::proto::authpb::Permission;
use quorate::proto::authpb::permission::Type;
use quorate::proto::quorate::log::auth_change::Change;
use quorate::proto::quorate::log::{
    AuthChange, AuthLogin, AuthPassword, AuthRolePermission, AuthUser, AuthUserRole,
};
use quorate::state::Auth;

use crate::state_print::text;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `auth VERB WORDS...`, as etcdctl has them; a password's hash is the password backwards.
pub(crate) fn change(words: &mut ArgumentConsumer<'_>) -> Result<AuthChange> {
    let verb = word(words)?;
    let change = match verb.as_str() {
        "enable" => Change::Enabled(true),
        "disable" => Change::Enabled(false),
        "user" => {
            let name = word(words)?;
            let password = words.next_pos().map(|arg| arg.value.clone());
            let no_password = password.is_none();
            let password_hash = hash(&password.unwrap_or_default());
            Change::AddUser(AuthUser { name, password_hash, no_password, roles: Vec::new() })
        }
        "delete-user" => Change::DeleteUser(word(words)?),
        "password" => {
            let user = word(words)?;
            Change::ChangePassword(AuthPassword { user, password_hash: hash(&word(words)?) })
        }
        "grant" => Change::GrantRole(AuthUserRole { user: word(words)?, role: word(words)? }),
        "revoke" => Change::RevokeRole(AuthUserRole { user: word(words)?, role: word(words)? }),
        "role" => Change::AddRole(word(words)?),
        "delete-role" => Change::DeleteRole(word(words)?),
        "permit" => {
            let role = word(words)?;
            let kind = Type::from_str_name(&word(words)?.to_uppercase()).ok_or("which access?")?;
            Change::GrantPermission(permission(role, kind, words)?)
        }
        "forbid" => {
            let role = word(words)?;
            Change::RevokePermission(permission(role, Type::Read, words)?)
        }
        "login" => Change::Login(AuthLogin {
            user: word(words)?,
            auth_revision: words.lookup_parse("revision")?.unwrap_or(0),
            token_hash: Bytes::from_static(b"#"),
        }),
        other => return Err(format!("no change {other}").into()),
    };
    words.reject_rest()?;
    Ok(AuthChange { change: Some(change) })
}

pub(crate) fn print(auth: &Auth) -> String {
    let mut out = format!("enabled={} revision={}\n", auth.is_enabled(), auth.revision());
    for user in auth.users() {
        let record = &user.record;
        let known = if record.no_password { "no password" } else { record.password_hash.as_str() };
        let _ = writeln!(out, "user {} ({known}) {:?}", record.name, record.roles);
    }
    for role in auth.roles() {
        let _ = writeln!(out, "role {}", role.name);
        for Permission { perm_type, key, range_end } in &role.permissions {
            let kind = Type::try_from(*perm_type).map_or("?", |kind| kind.as_str_name());
            let _ = writeln!(out, "  {kind} {} {}", text(key), text(range_end));
        }
    }
    out
}

fn word(words: &mut ArgumentConsumer<'_>) -> Result<String> {
    Ok(words.next_pos().ok_or("a word is missing")?.value.clone())
}

fn hash(password: &str) -> String {
    password.chars().rev().collect()
}

fn permission(
    role: String,
    kind: Type,
    words: &mut ArgumentConsumer<'_>,
) -> Result<AuthRolePermission> {
    let mut key = || words.next_pos().map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    let (key, range_end) = (key(), key());
    let permission = Permission { perm_type: kind as i32, key, range_end };
    Ok(AuthRolePermission { role, permission: Some(permission) })
}
