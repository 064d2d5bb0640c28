//! `/v2/auth`: users, roles, and whether anybody is asked who he is.

use std::sync::Arc;

use hyper::{Method, Response, StatusCode};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::routes::{Asked, object};
use super::{access, form, json, passwords};
use crate::api::http::body::Answer;
use crate::api::http::pages::nothing;
use crate::api::status;
use crate::base::limits;
use crate::proto::quorate::log::v2_auth::Change;
use crate::proto::quorate::log::v2_user_change::Kind;
use crate::proto::quorate::log::{V2Auth, V2Names, V2Role, V2RoleChange, V2User, V2UserChange};
use crate::state::v2::{Auth, AuthRefused, AuthTold, ROOT};
use crate::state::{Command, Reply};

const PREFIX: usize = "/v2/auth/".len();

/// A status, and an object or nothing.
type Page = (StatusCode, String);

/// What is told instead.
struct Wrong(StatusCode, String);

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserAsked {
    user: Option<String>,
    password: Option<String>,
    roles: Option<Vec<String>>,
    grant: Option<Vec<String>>,
    revoke: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RoleAsked {
    role: Option<String>,
    #[serde(deserialize_with = "braced")]
    permissions: Option<Permissions>,
    #[serde(deserialize_with = "braced")]
    grant: Option<Permissions>,
    #[serde(deserialize_with = "braced")]
    revoke: Option<Permissions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Permissions {
    #[serde(deserialize_with = "braced")]
    kv: Option<Patterns>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Patterns {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

/// An object or null: a structure of serde's is written as an array, too.
fn braced<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let fields = Option::<Map<String, Value>>::deserialize(from)?;
    let value = fields.map(|fields| serde_json::from_value(Value::Object(fields)));
    value.transpose().map_err(D::Error::custom)
}

pub(super) async fn respond(mut asked: Asked<'_>) -> Response<Answer> {
    let path = String::from_utf8_lossy(asked.path.get(PREFIX..).unwrap_or_default()).into_owned();
    if path == "enable" {
        return enable(&asked).await;
    }
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (kind, name) = match parts.as_slice() {
        [kind @ ("users" | "roles")] => (*kind, None),
        [kind @ ("users" | "roles"), name] => (*kind, Some(*name)),
        ["users" | "roles", ..] => {
            return object(StatusCode::BAD_REQUEST, json::message("Invalid path"));
        }
        _ => return nothing(),
    };
    if let Some(refused) = asked.refused(if name.is_some() { "GET,PUT,DELETE" } else { "GET" }) {
        return refused;
    }
    if !access::is_root(&asked).await {
        return access::refused();
    }
    let method = asked.method().clone();
    let auth = asked.handle.tree_auth();
    let told = match (kind, name) {
        ("users", None) => Ok(users(&auth)),
        (_, None) => Ok(roles(&auth)),
        ("users", Some(name)) => match method {
            Method::PUT => put_user(&mut asked, name).await,
            Method::DELETE => change(&asked, Change::DeleteUser(name.to_owned())).await.map(empty),
            _ => user(&auth, name),
        },
        (_, Some(name)) => match method {
            Method::PUT => put_role(&mut asked, name).await,
            Method::DELETE => change(&asked, Change::DeleteRole(name.to_owned())).await.map(empty),
            _ => role(&auth, name).map(|role| (StatusCode::OK, role + "\n")),
        },
    };
    page(&asked, told)
}

async fn enable(asked: &Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("GET,PUT,DELETE") {
        return refused;
    }
    if !access::may_change_cluster(asked).await {
        return access::refused();
    }
    let told = match *asked.method() {
        Method::PUT => change(asked, Change::Enabled(true)).await.map(empty),
        Method::DELETE => change(asked, Change::Enabled(false)).await.map(empty),
        _ => {
            let is_enabled = asked.handle.tree_auth().is_enabled();
            Ok((StatusCode::OK, format!("{{\"enabled\":{is_enabled}}}\n")))
        }
    };
    page(asked, told)
}

fn page(asked: &Asked<'_>, told: Result<Page, Wrong>) -> Response<Answer> {
    asked.of_cluster(match told {
        Ok((code, text)) => object(code, text),
        Err(Wrong(code, text)) => object(code, json::message(&text)),
    })
}

fn empty(_: AuthTold) -> Page {
    (StatusCode::OK, String::new())
}

/// Names that begin with an underscore are hidden, as keys are.
fn is_listed(name: &str) -> bool {
    !name.starts_with('_')
}

fn users(auth: &Auth) -> Page {
    let listed = auth.users().filter(|user| is_listed(&user.name));
    // A role that is not there any more is left out here, and an error where one user is asked for.
    let told = listed.map(|user| {
        let roles = Auth::roles_of(user).into_iter();
        with_roles(&user.name, roles.filter_map(|name| role(auth, &name).ok()).collect())
    });
    let users: Vec<String> = told.collect();
    let users = if users.is_empty() { "null".to_owned() } else { format!("[{}]", users.join(",")) };
    (StatusCode::OK, format!("{{\"users\":{users}}}\n"))
}

fn user(auth: &Auth, name: &str) -> Result<Page, Wrong> {
    let user = auth.user(name).ok_or_else(|| refused(&AuthRefused::NoUser(name.to_owned())))?;
    let roles: Result<Vec<String>, Wrong> =
        Auth::roles_of(user).iter().map(|name| role(auth, name)).collect();
    Ok((StatusCode::OK, with_roles(name, roles?) + "\n"))
}

fn with_roles(name: &str, roles: Vec<String>) -> String {
    let mut out = r#"{"user":"#.to_owned();
    json::quote(&mut out, name.as_bytes());
    if !roles.is_empty() {
        out.push_str(&format!(",\"roles\":[{}]", roles.join(",")));
    }
    out + "}"
}

fn roles(auth: &Auth) -> Page {
    let listed = auth.roles().map(|role| role.name.as_str()).filter(|name| is_listed(name));
    let mut names: Vec<&str> = listed.chain([ROOT]).collect();
    names.sort_unstable();
    let roles: Vec<String> = names.into_iter().filter_map(|name| role(auth, name).ok()).collect();
    (StatusCode::OK, format!("{{\"roles\":[{}]}}\n", roles.join(",")))
}

fn role(auth: &Auth, name: &str) -> Result<String, Wrong> {
    if name == ROOT {
        let all = V2Names { names: vec!["/*".to_owned()] };
        let root = V2Role { name: ROOT.to_owned(), read: Some(all.clone()), write: Some(all) };
        return Ok(role_object(&root));
    }
    let role = auth.role(name).ok_or_else(|| refused(&AuthRefused::NoRole(name.to_owned())))?;
    Ok(role_object(role))
}

fn role_object(role: &V2Role) -> String {
    let mut out = r#"{"role":"#.to_owned();
    json::quote(&mut out, role.name.as_bytes());
    out.push_str(r#","permissions":{"kv":{"read":"#);
    names(&mut out, &role.read);
    out.push_str(r#","write":"#);
    names(&mut out, &role.write);
    out + "}}}"
}

/// What was never said is null.
fn names(out: &mut String, names: &Option<V2Names>) {
    match names {
        Some(names) => json::texts(out, &names.names),
        None => out.push_str("null"),
    }
}

async fn put_user(asked: &mut Asked<'_>, name: &str) -> Result<Page, Wrong> {
    let wanted: UserAsked = body(asked).await?;
    if wanted.user.unwrap_or_default() != name {
        return Err(bad("User JSON name does not match the name in the URL"));
    }
    let (grant, revoke) = (wanted.grant.unwrap_or_default(), wanted.revoke.unwrap_or_default());
    let has_roles = wanted.roles.as_ref().is_some_and(|roles| !roles.is_empty());
    let kind = match (grant.is_empty() && revoke.is_empty(), has_roles) {
        (true, true) => Kind::Create,
        (true, false) => Kind::CreateOrUpdate,
        (false, true) => return Err(bad("User JSON contains both roles and grant/revoke")),
        (false, false) => Kind::Update,
    };
    let password_hash = match wanted.password.unwrap_or_default() {
        password if password.is_empty() => password,
        password => passwords::hashed(asked.session, password).await.map_err(|it| bad(&it))?,
    };
    let roles = wanted.roles.map(|names| V2Names { names });
    let name = name.to_owned();
    let asks = V2UserChange { kind: kind.into(), name, password_hash, roles, grant, revoke };
    Ok(match change(asked, Change::User(asks)).await? {
        AuthTold::User { user, is_new } => (created(is_new), user_object(&user)),
        other => empty(other),
    })
}

fn user_object(user: &Arc<V2User>) -> String {
    let mut out = r#"{"user":"#.to_owned();
    json::quote(&mut out, user.name.as_bytes());
    out.push_str(r#","roles":"#);
    names(&mut out, &user.roles);
    out + "}\n"
}

async fn put_role(asked: &mut Asked<'_>, name: &str) -> Result<Page, Wrong> {
    let wanted: RoleAsked = body(asked).await?;
    if wanted.role.unwrap_or_default() != name {
        return Err(bad("Role JSON name does not match the name in the URL"));
    }
    let says = |permissions: &Option<Permissions>| {
        let kv = permissions.as_ref().and_then(|it| it.kv.as_ref());
        let has = |names: &Option<Vec<String>>| names.as_ref().is_some_and(|it| !it.is_empty());
        kv.is_some_and(|kv| has(&kv.read) || has(&kv.write))
    };
    let update = says(&wanted.grant) || says(&wanted.revoke);
    if update && says(&wanted.permissions) {
        return Err(bad("Role JSON contains both permissions and grant/revoke"));
    }
    let kv = wanted.permissions.and_then(|it| it.kv).unwrap_or_default();
    let patterns = |names: Option<Vec<String>>| names.map(|names| V2Names { names });
    let role = V2Role { name: name.to_owned(), read: patterns(kv.read), write: patterns(kv.write) };
    // Who says something about one kind of permission says it about both.
    let both = |permissions: Option<Permissions>| {
        let said = permissions.map(|it| it.kv.unwrap_or_default());
        said.map_or((None, None), |kv| {
            let names = |names: Option<Vec<String>>| patterns(Some(names.unwrap_or_default()));
            (names(kv.read), names(kv.write))
        })
    };
    let (grant_read, grant_write) = both(wanted.grant);
    let (revoke_read, revoke_write) = both(wanted.revoke);
    let asks = V2RoleChange {
        update,
        role: Some(role),
        grant_read,
        grant_write,
        revoke_read,
        revoke_write,
    };
    Ok(match change(asked, Change::Role(asks)).await? {
        AuthTold::Role { role, is_new } => (created(is_new), role_object(&role) + "\n"),
        other => empty(other),
    })
}

const fn created(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}

/// The first object of the body; what stands behind it nobody reads.
async fn body<T: Default + DeserializeOwned>(asked: &mut Asked<'_>) -> Result<T, Wrong> {
    let headers = asked.request.headers().clone();
    let session = asked.session;
    let text = form::whole(session, &headers, asked.request.body_mut()).await;
    let text = text.map_err(|wrong| bad(&wrong))?;
    let wrong = |_| bad("Invalid JSON in request body.");
    match Value::deserialize(&mut serde_json::Deserializer::from_slice(&text)).map_err(wrong)? {
        Value::Null => Ok(T::default()),
        object @ Value::Object(_) => serde_json::from_value(object).map_err(wrong),
        _ => Err(bad("Invalid JSON in request body.")),
    }
}

/// Through the log.
async fn change(asked: &Asked<'_>, change: Change) -> Result<AuthTold, Wrong> {
    let failed = |text: String| Wrong(StatusCode::INTERNAL_SERVER_ERROR, text);
    let command = Command::V2Auth(V2Auth { change: Some(change) });
    let handle = asked.handle;
    let now = handle.clock().now();
    let deadline = now + limits::V2_REQUEST_DEADLINE;
    let admitted = asked.quota.admit(handle, &command, now, deadline);
    admitted.map_err(|rejection| failed(rejection.to_string()))?;
    let applied = handle.propose(command, deadline).await;
    match applied.map_err(|error| failed(status::of_error(&error).text))?.reply {
        Reply::V2Auth(told) => told.map_err(|it| refused(&it)),
        _ => Err(failed("quorate: the log answered something else".to_owned())),
    }
}

fn bad(text: &str) -> Wrong {
    Wrong(StatusCode::BAD_REQUEST, text.to_owned())
}

fn refused(refused: &AuthRefused) -> Wrong {
    let code = match refused {
        AuthRefused::Enabled
        | AuthRefused::Disabled
        | AuthRefused::NoRootUser
        | AuthRefused::UserExists(_)
        | AuthRefused::RoleGranted { .. }
        | AuthRefused::RoleNotGranted { .. }
        | AuthRefused::RoleExists(_)
        | AuthRefused::PermissionGranted { .. } => StatusCode::CONFLICT,
        AuthRefused::NoUser(_)
        | AuthRefused::NoUserToDelete(_)
        | AuthRefused::NoRole(_)
        | AuthRefused::NoRoleToDelete(_) => StatusCode::NOT_FOUND,
        AuthRefused::RootUserNeeded | AuthRefused::RootRole => StatusCode::FORBIDDEN,
        AuthRefused::EmptyPassword(_)
        | AuthRefused::UserNotUpdated
        | AuthRefused::RoleNotUpdated
        | AuthRefused::TooManyUsers(_)
        | AuthRefused::TooManyRoles(_)
        | AuthRefused::TooLong { .. } => StatusCode::BAD_REQUEST,
    };
    Wrong(code, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_no_object() {
        let read = |text: &str| serde_json::from_str::<RoleAsked>(text);
        let asked =
            read(r#"{"role":"r","permissions":{"kv":{"read":["/a"]}},"grant":null}"#).unwrap();
        assert!(asked.grant.is_none() && asked.revoke.is_none());
        let read_of = |it: Permissions| it.kv.and_then(|kv| kv.read);
        assert_eq!(asked.permissions.and_then(read_of), Some(vec!["/a".to_owned()]));
        for wrong in [
            r#"{"permissions":[]}"#,
            r#"{"grant":[{"read":[]}]}"#,
            r#"{"revoke":{"kv":[]}}"#,
            r#"{"revoke":{"kv":{"read":"/a"}}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
