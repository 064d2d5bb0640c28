//! From the words of a v2 command to its exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use super::super::called::Called;
use super::auth::{self, Way};
use super::failure::{ERROR, Failure, NO_TOPIC, print, say};
use super::flags::{Words, parse, parse_anywhere, parse_before_terminator};
use super::settings::Settings;
use super::verbs::{GLOBALS, VERBS, Verb};
use super::{backup, health, help, keys, members, watch};

/// The whole command; `words` begin with the program's name.
pub(in super::super) fn main(
    called: Called,
    words: Vec<OsString>,
    environment: Vec<(String, String)>,
) -> ExitCode {
    let mut words = words.into_iter().map(OsString::into_string);
    words.next();
    let done = match words.collect::<Result<Vec<String>, OsString>>() {
        Ok(words) => carry_out(called, &words, environment),
        Err(word) => Err(Failure::told(format_args!(
            "a word is not in UTF-8, which keys and values of the v2 API are: {}",
            word.display()
        ))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn carry_out(
    called: Called,
    words: &[String],
    environment: Vec<(String, String)>,
) -> Result<(), Failure> {
    let name = called.name();
    let page = || help::program(name, called.number());
    let globals = parse(&GLOBALS, words).map_err(|why| mistaken(&why, &page(), "."))?;
    if globals.help {
        return print(page());
    }
    if globals.switch("version") {
        return say(called.version("2"));
    }
    let Some((first, rest)) = globals.rest.split_first() else { return print(page()) };
    if matches!(first.as_str(), "help" | "h") {
        return match rest.first() {
            None => print(page()),
            Some(word) => print(help::verb(&format!("{name} {word}"), known(&VERBS, word)?)),
        };
    }
    let verb = known(&VERBS, first)?;
    let (path, rest) = (format!("{name} {first}"), rest.to_vec());
    descend(&Settings { called, globals, environment }, &path, verb, &rest)
}

/// Down to the verb that is no group.
fn descend(settings: &Settings, path: &str, verb: &Verb, words: &[String]) -> Result<(), Failure> {
    let page = || help::verb(path, verb);
    if verb.inner.is_empty() {
        let parsed = match verb.name {
            "exec-watch" => parse_before_terminator(verb.flags, words),
            _ => parse_anywhere(verb.flags, words),
        };
        let words = parsed.map_err(|why| mistaken(&why, &page(), ":"))?;
        if words.help {
            return print(page());
        }
        let verbs = path.split_once(' ').map_or(path, |(_, verbs)| verbs);
        return run(settings, verbs, &words);
    }
    let words = parse(&[], words).map_err(|why| mistaken(&why, &page(), "."))?;
    let Some((first, rest)) = words.rest.split_first().filter(|_| !words.help) else {
        return print(page());
    };
    if matches!(first.as_str(), "help" | "h") {
        return match rest.first() {
            None => print(page()),
            Some(word) => print(help::verb(&format!("{path} {word}"), known(verb.inner, word)?)),
        };
    }
    descend(settings, &format!("{path} {first}"), known(verb.inner, first)?, rest)
}

fn known<'a>(verbs: &'a [Verb], word: &str) -> Result<&'a Verb, Failure> {
    Verb::named(verbs, word).ok_or_else(|| {
        let text = format!("No help topic for '{word}'\n");
        Failure { code: NO_TOPIC, text }
    })
}

/// The mistake and the page go to stdout, and the mistake to stderr, too: etcdctl's.
fn mistaken(why: &str, page: &str, mark: &str) -> Failure {
    let told = print(format_args!("Incorrect Usage{mark} {why}\n\n{page}"));
    told.err().unwrap_or_else(|| Failure { code: ERROR, text: format!("{why}\n") })
}

fn run(settings: &Settings, verbs: &str, words: &Words) -> Result<(), Failure> {
    if verbs == "backup" {
        return backup::backup(words);
    }
    // Looks up names of its own, and so does what runs below.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(ask(settings, verbs, words));
    runtime.shutdown_background();
    done
}

async fn ask(settings: &Settings, verbs: &str, words: &Words) -> Result<(), Failure> {
    match verbs {
        "get" => keys::get(settings, words).await,
        "ls" => keys::ls(settings, words).await,
        "set" => keys::set(settings, words).await,
        "update" => keys::update(settings, words).await,
        "mk" => keys::mk(settings, words).await,
        "mkdir" => keys::directory(settings, words, Some(false)).await,
        "setdir" => keys::directory(settings, words, None).await,
        "updatedir" => keys::directory(settings, words, Some(true)).await,
        "rm" => keys::rm(settings, words).await,
        "rmdir" => keys::rmdir(settings, words).await,
        "watch" => watch::watch(settings, words).await,
        "exec-watch" => watch::exec_watch(settings, words).await,
        "cluster-health" => health::cluster_health(settings, words).await,
        "member list" => members::list(settings, words).await,
        "member add" => members::add(settings, words).await,
        "member remove" => members::remove(settings, words).await,
        "member update" => members::update(settings, words).await,
        "auth enable" => auth::turn(settings, words, true).await,
        "auth disable" => auth::turn(settings, words, false).await,
        "user list" => auth::user_list(settings, words).await,
        "user add" => auth::user_add(settings, words).await,
        "user get" => auth::user_get(settings, words).await,
        "user remove" => auth::user_remove(settings, words).await,
        "user passwd" => auth::user_passwd(settings, words).await,
        "user grant" => auth::user_roles(settings, words, Way::Grant).await,
        "user revoke" => auth::user_roles(settings, words, Way::Revoke).await,
        "role list" => auth::role_list(settings, words).await,
        "role add" => auth::role_add(settings, words).await,
        "role get" => auth::role_get(settings, words).await,
        "role remove" => auth::role_remove(settings, words).await,
        "role grant" => auth::role_rights(settings, words, Way::Grant).await,
        "role revoke" => auth::role_rights(settings, words, Way::Revoke).await,
        other => Err(Failure::told(format_args!("{other}: not built"))),
    }
}
