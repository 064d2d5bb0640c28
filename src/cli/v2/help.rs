//! The pages of etcdctl's help, as its v2 commands print them; pure.

use super::flags::{Flag, Kind};
use super::verbs::{GLOBALS, VERBS, Verb};

/// `key   what it is`, in two columns.
fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or_default() + 2;
    rows.iter().map(|(left, right)| format!("   {left:<width$}{right}\n")).collect()
}

fn listed(verbs: &[Verb]) -> Vec<(String, String)> {
    verbs.iter().map(|verb| (verb.name.to_owned(), verb.about.to_owned())).collect()
}

fn options(flags: &[Flag]) -> Vec<(String, String)> {
    flags.iter().map(option).collect()
}

fn option(flag: &Flag) -> (String, String) {
    let named = flag.names.iter().map(|name| {
        let dashes = if name.len() == 1 { "-" } else { "--" };
        match flag.value {
            "" => format!("{dashes}{name}"),
            value => format!("{dashes}{name} {value}"),
        }
    });
    let default = match flag.kind {
        Kind::Number => " (default: 0)".to_owned(),
        Kind::Default(value) | Kind::Time(value) => format!(" (default: {value})"),
        Kind::Switch | Kind::Text | Kind::List => String::new(),
    };
    (named.collect::<Vec<_>>().join(", "), format!("{}{default}", flag.usage))
}

fn row(left: &str, right: &str) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

/// Of the program, by the name it was called.
pub(super) fn program(name: &str, version: &str) -> String {
    let mut verbs = listed(&VERBS);
    verbs.push(row("help, h", "Shows a list of commands or help for one command"));
    let mut flags = options(&GLOBALS);
    flags.insert(flags.len() - 1, row("--help, -h", "show help"));
    format!(
        "NAME:\n   {name} - A simple command line client for etcd.\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {version}\n\n\
         COMMANDS:\n{}\n\
         GLOBAL OPTIONS:\n{}",
        columns(&verbs),
        columns(&flags)
    )
}

/// Of one verb; `path` is the program and the words down to it.
pub(super) fn verb(path: &str, verb: &Verb) -> String {
    let head = format!("NAME:\n   {path} - {}\n\nUSAGE:\n   {path} ", verb.about);
    if !verb.inner.is_empty() {
        return format!(
            "{head}command [command options] [arguments...]\n\nCOMMANDS:\n{}\nOPTIONS:\n{}   \n",
            columns(&listed(verb.inner)),
            columns(&[row("--help, -h", "show help")])
        );
    }
    let description = match verb.description {
        "" => String::new(),
        text => format!("\nDESCRIPTION:\n   {text}\n"),
    };
    if verb.flags.is_empty() {
        return format!("{head}{}\n{description}", verb.args);
    }
    let options = columns(&options(verb.flags));
    format!("{head}[command options] {}\n{description}\nOPTIONS:\n{options}   \n", verb.args)
}
