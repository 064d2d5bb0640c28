//! `user add|delete|get|list|passwd|grant-role|revoke-role`.

use std::io::Read as _;

use clap::{Args, Subcommand};

use crate::client::Client;

use super::connect::Session;
use super::exit::Exit;
use super::go::parse_bool;
use super::password;
use super::print::{Changed, RoleShown, UserShown, Users};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum User {
    /// Add a user
    Add(Add),
    /// Delete a user
    #[command(
        override_usage = "quorate user delete [OPTIONS] NAME",
        after_help = "Examples:\n  quorate user delete alice"
    )]
    Delete(Words),
    /// Show the roles of a user
    Get(Get),
    /// Show all users
    #[command(after_help = "Examples:\n  quorate user list")]
    List(Words),
    /// Change a user's password
    Passwd(Passwd),
    /// Let a user do what a role may do
    #[command(
        override_usage = "quorate user grant-role [OPTIONS] NAME ROLE",
        after_help = "Examples:\n  quorate user grant-role alice readers"
    )]
    GrantRole(Words),
    /// Take a role from a user
    #[command(
        override_usage = "quorate user revoke-role [OPTIONS] NAME ROLE",
        after_help = "Examples:\n  quorate user revoke-role alice readers"
    )]
    RevokeRole(Words),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Words {
    #[arg(hide = true)]
    words: Vec<String>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate user add [OPTIONS] NAME[:PASSWORD]",
    after_help = "Examples:\n  quorate user add alice\n  quorate user add --no-password alice   # known by the name in her certificate"
)]
pub(super) struct Add {
    #[arg(hide = true)]
    words: Vec<String>,
    #[command(flatten)]
    interactive: Interactive,
    /// The password, as a flag
    #[arg(long, value_name = "PASSWORD", default_value = "", hide_default_value = true)]
    new_user_password: String,
    /// Known by the name in its certificate alone
    #[arg(long)]
    no_password: bool,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate user passwd [OPTIONS] NAME",
    after_help = "Examples:\n  quorate user passwd alice\n  echo secret | quorate user passwd alice --interactive=false"
)]
pub(super) struct Passwd {
    #[arg(hide = true)]
    words: Vec<String>,
    #[command(flatten)]
    interactive: Interactive,
}

#[derive(Args, Clone, Copy, Debug)]
struct Interactive {
    /// Whether a person types the password, twice; else a word of stdin is it
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = parse_bool)]
    interactive: bool,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate user get [OPTIONS] NAME",
    after_help = "Examples:\n  quorate user get alice\n  quorate user get alice --detail"
)]
pub(super) struct Get {
    #[arg(hide = true)]
    words: Vec<String>,
    /// Show the permissions of its roles
    #[arg(long)]
    detail: bool,
}

/// The only word, or `missing`.
pub(super) fn one<'a>(words: &'a [String], missing: &str) -> Result<&'a str, Exit> {
    match words {
        [word] => Ok(word),
        _ => Err(Exit::bad_args(missing)),
    }
}

fn two<'a>(words: &'a [String], missing: &str) -> Result<(&'a str, &'a str), Exit> {
    match words {
        [user, role] => Ok((user, role)),
        _ => Err(Exit::bad_args(missing)),
    }
}

impl User {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let printer = session.printer;
        match self {
            Self::Add(add) => add.run(session).await,
            Self::Passwd(passwd) => passwd.run(session).await,
            Self::Get(get) => get.run(session).await,
            Self::Delete(Words { words }) => {
                let name = one(&words, "user delete command requires user name as its argument")?;
                let answer = session.client().await?.user_delete(name).await?;
                let text = format!("User {name} deleted");
                printer.print(&Changed { header: answer.header.as_ref(), text })
            }
            Self::List(Words { words }) => {
                if !words.is_empty() {
                    return Err(Exit::bad_args("user list command requires no arguments"));
                }
                printer.print(&Users(&session.client().await?.user_list().await?))
            }
            Self::GrantRole(Words { words }) => {
                let missing = "user grant command requires user name and role name as its argument";
                let (user, role) = two(&words, missing)?;
                let answer = session.client().await?.user_grant_role(user, role).await?;
                let text = format!("Role {role} is granted to user {user}");
                printer.print(&Changed { header: answer.header.as_ref(), text })
            }
            Self::RevokeRole(Words { words }) => {
                let missing = "user revoke-role requires user name and role name as its argument";
                let (user, role) = two(&words, missing)?;
                let answer = session.client().await?.user_revoke_role(user, role).await?;
                let text = format!("Role {role} is revoked from user {user}");
                printer.print(&Changed { header: answer.header.as_ref(), text })
            }
        }
    }
}

impl Add {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let word = one(&self.words, "user add command requires user name as its argument")?;
        let (name, password) = match word.split_once(':') {
            _ if self.no_password => (word, None),
            _ if !self.new_user_password.is_empty() => (word, Some(self.new_user_password)),
            Some(("", _)) => return Err(Exit::bad_args("empty user name is not allowed")),
            Some((name, password)) => (name, Some(password.to_owned())),
            None => (word, Some(self.interactive.password(word)?)),
        };
        let client = session.client().await?;
        let answer = match password {
            Some(password) => client.user_add(name, &password).await?,
            None => client.user_add_without_password(name).await?,
        };
        let text = format!("User {name} created");
        session.printer.print(&Changed { header: answer.header.as_ref(), text })
    }
}

impl Passwd {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let name = one(&self.words, "user passwd command requires user name as its argument")?;
        let password = self.interactive.password(name)?;
        let answer = session.client().await?.user_change_password(name, &password).await?;
        let text = "Password updated".to_owned();
        session.printer.print(&Changed { header: answer.header.as_ref(), text })
    }
}

impl Get {
    async fn run(self, session: &Session) -> Result<(), Exit> {
        let name = one(&self.words, "user get command requires user name as its argument")?;
        let client = session.client().await?;
        let answer = client.user_get(name).await?;
        if !self.detail {
            return session.printer.print(&UserShown { name, answer: &answer });
        }
        println!("User: {name}");
        for role in &answer.roles {
            println!();
            show_role(&client, session, role).await?;
        }
        Ok(())
    }
}

/// A role, as `role get` shows it.
pub(super) async fn show_role(client: &Client, session: &Session, role: &str) -> Result<(), Exit> {
    let answer = client.role_get(role).await?;
    session.printer.print(&RoleShown { name: role, answer: &answer })
}

impl Interactive {
    /// Typed twice by a person, or a word of stdin.
    fn password(self, name: &str) -> Result<String, Exit> {
        if !self.interactive {
            return first_word();
        }
        let ask = |prompt: &str| {
            let asked = password::ask(prompt);
            asked.map_err(|error| Exit::bad_args(format!("failed to ask password: {error}")))
        };
        let password = ask(&format!("Password of {name}: "))?;
        if password.is_empty() {
            return Err(Exit::bad_args("empty password"));
        }
        let again = ask(&format!("Type password of {name} again for confirmation: "))?;
        match again == password {
            true => Ok(password),
            false => Err(Exit::bad_args("given passwords are different.")),
        }
    }
}

fn first_word() -> Result<String, Exit> {
    let mut line = Vec::new();
    let input = std::io::stdin().lock();
    for byte in input.bytes() {
        let byte = byte?;
        if byte == b'\n' || (byte.is_ascii_whitespace() && !line.is_empty()) {
            break;
        }
        if !byte.is_ascii_whitespace() {
            line.push(byte);
        }
    }
    String::from_utf8(line).map_err(|_| Exit::bad_args("the password on stdin is no text"))
}
