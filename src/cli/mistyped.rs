//! Words that the grammar does not know: etcdctl's texts and exit codes, and the word that was probably meant.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{SERVER, named};
use super::exit::{Code, Exit};
use crate::config::nearest;

/// What to tell; none if clap's own text is to be shown (help, and the commands that are not etcdctl's).
pub(super) fn told(
    error: &clap::Error,
    grammar: &clap::Command,
    words: &[OsString],
) -> Option<Exit> {
    let stranger = text(error, ContextKind::InvalidSubcommand);
    let (path, here) = typed(grammar, words, stranger.as_deref());
    if path.get(1).is_some_and(|name| SERVER.contains(&name.as_str())) {
        return None;
    }
    let called = path.join(" ");
    let (code, what) = sentence(error, &called)?;
    let mut text = what;
    // clap knows nothing of letters that changed places, and finds words that are further away.
    let names = here.get_subcommands().map(clap::Command::get_name);
    let near = stranger.as_deref().and_then(|word| nearest(word, names)).map(str::to_owned);
    if let Some(meant) = near.or_else(|| suggestion(error)) {
        text.push_str(&format!("\n\nDid you mean this?\n\t{meant}\n"));
    }
    text.push_str(&format!("\nRun '{called} --help' for usage."));
    Some(Exit::new(code, text))
}

/// Cobra's words for what clap found.
fn sentence(error: &clap::Error, called: &str) -> Option<(Code, String)> {
    let arg = text(error, ContextKind::InvalidArg).unwrap_or_default();
    // `--limit <N>` is `--limit` to the person who typed it.
    let flag = arg.split([' ', '=', '[']).next().unwrap_or_default();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    Some(match error.kind() {
        ErrorKind::UnknownArgument => (Code::Error, unknown(&arg)),
        ErrorKind::InvalidSubcommand => {
            let word = text(error, ContextKind::InvalidSubcommand)?;
            (Code::Error, format!("unknown command {word:?} for {called:?}"))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            (Code::Error, format!("flag needs an argument: {flag}"))
        }
        ErrorKind::InvalidValue if flag == "--write-out" => {
            let text = format!(
                "unsupported output format {value:?}: it is simple, json, table, fields or protobuf"
            );
            (Code::BadFeature, text)
        }
        ErrorKind::InvalidValue => {
            let text = format!("invalid argument {value:?} for {called:?}");
            let known = error.get(ContextKind::ValidValue).map(ToString::to_string);
            (
                Code::Error,
                known.map_or_else(|| text.clone(), |known| format!("{text}: it is {known}")),
            )
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            (Code::Error, format!("invalid argument {value:?} for {flag:?} flag: {why}"))
        }
        ErrorKind::TooManyValues => {
            let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
            (Code::Error, format!("invalid argument {value:?} for {flag:?} flag: {why}"))
        }
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
        _ => (Code::BadArgs, first_line(error)),
    })
}

fn unknown(arg: &str) -> String {
    let letters = arg.strip_prefix('-');
    match (arg.starts_with("--"), letters.and_then(|letters| letters.chars().next())) {
        (true, _) => format!("unknown flag: {arg}"),
        (false, Some(letter)) => format!("unknown shorthand flag: '{letter}' in {arg}"),
        (false, None) => format!("one word too many: {arg:?}"),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| text(error, kind))
}

/// The first of the words that clap names.
fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) => words.first().cloned(),
        _ => None,
    }
}

/// clap's message without usage and hints.
pub(super) fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The program and its commands as far as they were typed right (`quorate lease grant`), and the last of them. What stands
/// behind a word that is no command is no command either.
fn typed<'a>(
    grammar: &'a clap::Command,
    words: &[OsString],
    stranger: Option<&str>,
) -> (Vec<String>, &'a clap::Command) {
    let mut here = grammar;
    let mut path = vec![here.get_name().to_owned()];
    let words = words.iter().skip(1).filter_map(|word| word.to_str());
    for word in words.take_while(|word| Some(*word) != stranger) {
        if let Some(inner) = named(here, word) {
            path.push(inner.get_name().to_owned());
            here = inner;
        }
    }
    (path, here)
}

#[cfg(test)]
mod tests {
    use super::super::args::grammar;
    use super::super::called::Called;
    use super::super::run::parse;
    use super::*;

    fn exit(words: &[&str]) -> Exit {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let error = parse(Called::Quorate, words.clone()).unwrap_err();
        told(&error, &grammar(Called::Quorate), &words).unwrap()
    }

    #[test]
    fn mistakes_have_etcdctls_texts_and_codes() {
        for (words, code, first) in [
            (&["quorate", "get", "--foo", "k"][..], Code::Error, "unknown flag: --foo"),
            (&["quorate", "get", "k", "-q"], Code::Error, "unknown shorthand flag: 'q' in -q"),
            (
                &["quorate", "get", "k", "--rev=x"],
                Code::Error,
                "invalid argument \"x\" for \"--rev\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                &["quorate", "get", "k", "--hex=x"],
                Code::Error,
                "invalid argument \"x\" for \"--hex\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (&["quorate", "get", "--limit"], Code::Error, "flag needs an argument: --limit"),
            (
                &["quorate", "get", "-w", "yaml", "k"],
                Code::BadFeature,
                "unsupported output format \"yaml\": it is simple, json, table, fields or protobuf",
            ),
            (&["quorate", "nope"], Code::Error, "unknown command \"nope\" for \"quorate\""),
            (
                &["quorate", "lease", "grnt"],
                Code::Error,
                "unknown command \"grnt\" for \"quorate lease\"",
            ),
        ] {
            let exit = exit(words);
            assert_eq!(exit.text.lines().next(), Some(first), "{words:?}");
            assert_eq!(exit.code, code, "{words:?}");
        }
    }

    #[test]
    fn the_word_that_was_meant_is_told() {
        for (words, meant, help) in [
            (&["quorate", "wacth", "k"][..], "\twatch\n", "'quorate --help'"),
            (&["quorate", "get", "--prefx", "k"], "\t--prefix\n", "'quorate get --help'"),
            (&["quorate", "lease", "grnt", "5"], "\tgrant\n", "'quorate lease --help'"),
            (&["quorate", "gte", "a"], "\tget\n", "'quorate --help'"),
            (&["quorate", "gett", "a", "l"], "\tget\n", "'quorate --help'"),
        ] {
            let text = exit(words).text;
            assert!(text.contains(meant) && text.contains(help), "{text}");
        }
    }
}
