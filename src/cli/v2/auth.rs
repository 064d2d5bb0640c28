//! `auth`, `user` and `role`: the users of the v2 API, at `/v2/auth`.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Error, expect, read, refused, within};
use super::failure::{Failure, print, say};
use super::flags::Words;
use super::http::{Answer, Ask, canonical};
use super::settings::Settings;
use crate::cli::password;

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
struct Role {
    role: String,
    permissions: Permissions,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Permissions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<Permissions>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
struct Permissions {
    kv: Paths,
}

/// Patterns; null is what Go writes for none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
struct Paths {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Change<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    password: &'a str,
    roles: Option<()>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    grant: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    revoke: &'a [String],
}

/// A user as a list shows it, and as it is told alone: with the names of its roles, or with the roles.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    user: String,
    roles: Option<Vec<Named>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Role(Role),
}

/// Whether a role gets rights or loses them, a user roles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Grant,
    Revoke,
}

struct Call<'a> {
    settings: &'a Settings,
    cluster: Cluster,
}

impl<'a> Call<'a> {
    async fn begin(settings: &'a Settings) -> Result<Self, Failure> {
        let cluster = settings.cluster().await?;
        if settings.globals.switch("debug") {
            eprintln!("Cluster-Endpoints: {}", cluster.listed(", "));
        }
        Ok(Self { settings, cluster })
    }

    /// An answer of any status.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, Error> {
        let path = format!("/v2/auth/{path}");
        let body = body.map(|body| ("application/json", body));
        self.cluster.ask(&Ask { body, ..Ask::new(method, path) }).await
    }

    /// One that says that it was done; else the server's words are the failure.
    async fn done(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let total = self.settings.total_timeout();
        let asked = async {
            let answer = self.ask(method, path, body).await?;
            match answer.status {
                200 | 201 => Ok(answer),
                _ => Err(refused(&answer)),
            }
        };
        within(total, asked).await.map_err(Failure::told)
    }
}

fn no_words(words: &Words) -> Result<(), Failure> {
    match words.rest.is_empty() {
        true => Ok(()),
        false => Err(Failure::told("No arguments accepted")),
    }
}

fn one_word<'a>(words: &'a Words, missing: &str) -> Result<&'a str, Failure> {
    match words.rest.as_slice() {
        [name] => Ok(name),
        _ => Err(Failure::told(missing)),
    }
}

fn username(words: &Words) -> Result<&str, Failure> {
    one_word(words, "Please provide a username")
}

fn role_name(words: &Words) -> Result<&str, Failure> {
    one_word(words, "Please provide a role name")
}

fn json(value: &impl Serialize) -> Option<String> {
    // A structure of strings is always written.
    Some(serde_json::to_string(value).unwrap_or_default())
}

pub(super) async fn turn(settings: &Settings, words: &Words, on: bool) -> Result<(), Failure> {
    no_words(words)?;
    let mut call = Call::begin(settings).await?;
    let method = if on { Method::PUT } else { Method::DELETE };
    call.done(method, "enable", None).await?;
    say(if on { "Authentication Enabled" } else { "Authentication Disabled" })
}

pub(super) async fn user_list(settings: &Settings, words: &Words) -> Result<(), Failure> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Users {
        users: Option<Vec<User>>,
    }
    no_words(words)?;
    let answer = Call::begin(settings).await?.done(Method::GET, "users", None).await?;
    let users: Users = read(&answer).map_err(Failure::told)?;
    users.users.iter().flatten().try_for_each(|user| say(&user.user))
}

pub(super) async fn user_add(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let said = username(words)?;
    let mut call = Call::begin(settings).await?;
    let (user, password) = password::split_or_ask("New password: ", said)
        .map_err(|error| Failure::told(format_args!("Error reading password: {error}")))?;
    let body = json(&Change { user: &user, password: &password, ..Change::default() });
    call.done(Method::PUT, &format!("users/{user}"), body).await?;
    say(format_args!("User {user} created"))
}

pub(super) async fn user_get(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let name = username(words)?;
    let mut call = Call::begin(settings).await?;
    let answer = call.done(Method::GET, &format!("users/{name}"), None).await?;
    let user: User = read(&answer).map_err(Failure::told)?;
    let roles = user.roles.unwrap_or_default();
    // etcdctl reads names first, finds roles, and keeps an empty name for each of them.
    let places = roles.iter().filter(|role| matches!(role, Named::Role(_))).map(|_| String::new());
    let names = roles.iter().map(|role| match role {
        Named::Name(name) => name.clone(),
        Named::Role(role) => role.role.clone(),
    });
    let names: Vec<String> = places.chain(names).collect();
    print(format_args!("User: {}\nRoles: {}\n", user.user, names.join(" ")))
}

pub(super) async fn user_remove(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let name = username(words)?;
    let mut call = Call::begin(settings).await?;
    call.done(Method::DELETE, &format!("users/{name}"), None).await?;
    say(format_args!("User {name} removed"))
}

pub(super) async fn user_passwd(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let user = username(words)?;
    let mut call = Call::begin(settings).await?;
    let password = password::ask("New password: ")
        .map_err(|error| Failure::told(format_args!("Error reading password: {error}")))?;
    let body = json(&Change { user, password: &password, ..Change::default() });
    let answer = call.done(Method::PUT, &format!("users/{user}"), body).await?;
    if answer.status == 201 {
        // There was no such user: etcd makes one, and etcdctl has no word for that.
        return Err(Failure::told(""));
    }
    say("Password updated")
}

pub(super) async fn user_roles(
    settings: &Settings,
    words: &Words,
    way: Way,
) -> Result<(), Failure> {
    let roles = words.list("roles");
    if roles.is_empty() {
        return Err(Failure::told("No roles specified; please use `--roles`"));
    }
    let user = username(words)?;
    let mut call = Call::begin(settings).await?;
    let change = match way {
        Way::Grant => Change { user, grant: roles, ..Change::default() },
        Way::Revoke => Change { user, revoke: roles, ..Change::default() },
    };
    call.done(Method::PUT, &format!("users/{user}"), json(&change)).await?;
    say(format_args!("User {user} updated"))
}

pub(super) async fn role_list(settings: &Settings, words: &Words) -> Result<(), Failure> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Roles {
        roles: Option<Vec<Role>>,
    }
    no_words(words)?;
    let mut call = Call::begin(settings).await?;
    let total = settings.total_timeout();
    let asked = async {
        let answer = call.ask(Method::GET, "roles", None).await?;
        expect(&answer, &[200])?;
        read::<Roles>(&answer)
    };
    let roles = within(total, asked).await.map_err(Failure::told)?;
    roles.roles.iter().flatten().try_for_each(|role| say(&role.role))
}

pub(super) async fn role_add(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let name = role_name(words)?;
    let mut call = Call::begin(settings).await?;
    let path = format!("roles/{name}");
    if call.done(Method::GET, &path, None).await.is_ok() {
        return Err(Failure::told(format_args!("Role {name} already exists")));
    }
    let body = json(&Role { role: name.to_owned(), ..Role::default() });
    call.done(Method::PUT, &path, body).await?;
    say(format_args!("Role {name} created"))
}

pub(super) async fn role_get(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let name = role_name(words)?;
    let mut call = Call::begin(settings).await?;
    let answer = call.done(Method::GET, &format!("roles/{name}"), None).await?;
    let role: Role = read(&answer).map_err(Failure::told)?;
    let lines = |paths: Option<Vec<String>>| -> String {
        paths.iter().flatten().map(|path| format!("\t{path}\n")).collect()
    };
    let Paths { read, write } = role.permissions.kv;
    let (read, write) = (lines(read), lines(write));
    print(format_args!("Role: {}\nKV Read:\n{read}KV Write:\n{write}", role.role))
}

pub(super) async fn role_remove(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let name = role_name(words)?;
    let mut call = Call::begin(settings).await?;
    call.done(Method::DELETE, &format!("roles/{name}"), None).await?;
    say(format_args!("Role {name} removed"))
}

/// What `--path` and its companions say.
fn paths(words: &Words) -> Result<Paths, Failure> {
    let path = words.text("path");
    if path.is_empty() {
        return Err(Failure::told("No path specified; please use `--path`"));
    }
    let clean = canonical(path);
    if clean != path {
        let text = format_args!("Not canonical path; please use `--path={clean}`");
        return Err(Failure::told(text));
    }
    let paths = Some(vec![path.to_owned()]);
    let said = ["read", "write", "readwrite"].map(|name| words.switch(name));
    match said {
        [true, false, false] => Ok(Paths { read: paths, write: None }),
        [false, true, false] => Ok(Paths { read: None, write: paths }),
        [false, false, true] => Ok(Paths { read: paths.clone(), write: paths }),
        _ => Err(Failure::told("Please specify exactly one of --read, --write or --readwrite")),
    }
}

pub(super) async fn role_rights(
    settings: &Settings,
    words: &Words,
    way: Way,
) -> Result<(), Failure> {
    let kv = paths(words)?;
    let name = role_name(words)?;
    let mut call = Call::begin(settings).await?;
    let path = format!("roles/{name}");
    let before = call.done(Method::GET, &path, None).await?;
    let rights = Some(Permissions { kv });
    let role = match way {
        Way::Grant => Role { role: name.to_owned(), grant: rights, ..Role::default() },
        Way::Revoke => Role { role: name.to_owned(), revoke: rights, ..Role::default() },
    };
    let after = call.done(Method::PUT, &path, json(&role)).await?;
    let of = |answer: &Answer| read::<Role>(answer).map_err(Failure::told);
    if of(&before)? == of(&after)? {
        // etcdctl ends no line here.
        print(match way {
            Way::Grant => "Role unchanged; already granted",
            Way::Revoke => "Role unchanged; already revoked",
        })?;
    }
    say(format_args!("Role {name} updated"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_written_as_etcdctl_does() {
        let roles = ["a".to_owned()];
        let change = Change { user: "u", grant: &roles, ..Change::default() };
        assert_eq!(json(&change).unwrap(), r#"{"user":"u","roles":null,"grant":["a"]}"#);
        let kv = Paths { read: Some(vec!["/a/*".to_owned()]), write: None };
        let role =
            Role { role: "r".to_owned(), grant: Some(Permissions { kv }), ..Role::default() };
        assert_eq!(
            json(&role).unwrap(),
            r#"{"role":"r","permissions":{"kv":{"read":null,"write":null}},"grant":{"kv":{"read":["/a/*"],"write":null}}}"#
        );
    }

    #[test]
    fn both_kinds_of_users_are_read() {
        let roles = |text: &str| serde_json::from_str::<User>(text).unwrap().roles.unwrap().len();
        assert_eq!(roles(r#"{"user":"u","roles":["a","b"]}"#), 2);
        assert_eq!(
            roles(
                r#"{"user":"u","roles":[{"role":"a","permissions":{"kv":{"read":[],"write":[]}}}]}"#
            ),
            1
        );
    }
}
