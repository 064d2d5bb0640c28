//! The verbs of v2 as clap has them: for scripts that complete words, and for nothing else (see `flags`).

use clap::{Arg, ArgAction, Command};

use super::flags::{Flag, Kind};
use super::verbs::{VERBS, Verb};

/// The grammar with the verbs that it does not have itself.
pub(in super::super) fn with_verbs(mut grammar: Command) -> Command {
    for verb in &VERBS {
        if grammar.find_subcommand(verb.name).is_none() {
            grammar = grammar.subcommand(command(verb));
        }
    }
    grammar
}

fn command(verb: &Verb) -> Command {
    let own = Command::new(verb.name).about(verb.about).args(verb.flags.iter().map(arg));
    let own = own.subcommands(verb.inner.iter().map(command));
    // Its help is `help VERB`, or with the flags of etcdctl.
    own.disable_help_subcommand(true)
}

fn arg(flag: &Flag) -> Arg {
    let action = match flag.kind {
        Kind::Switch => ArgAction::SetTrue,
        Kind::List => ArgAction::Append,
        Kind::Text | Kind::Default(_) | Kind::Number | Kind::Time(_) => ArgAction::Set,
    };
    let mut arg = Arg::new(flag.id()).help(flag.usage).action(action);
    for name in flag.names {
        let mut signs = name.chars();
        arg = match (signs.next(), signs.next()) {
            (Some(short), None) => arg.short(short),
            _ if arg.get_long().is_some() => arg.visible_alias(*name),
            _ => arg.long(*name),
        };
    }
    arg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_the_rest_is_added() {
        let before = Command::new("it").subcommand(Command::new("get").about("its own"));
        let mut grammar = with_verbs(before);
        grammar.build();
        let about =
            |name: &str| grammar.find_subcommand(name)?.get_about().map(ToString::to_string);
        assert_eq!(about("get").as_deref(), Some("its own"));
        for verb in &VERBS {
            let found = grammar.find_subcommand(verb.name).unwrap();
            for inner in verb.inner {
                assert!(found.find_subcommand(inner.name).is_some(), "{}", inner.name);
            }
        }
        let watch = grammar.find_subcommand("exec-watch").unwrap();
        let recursive = watch.get_arguments().find(|arg| arg.get_short() == Some('r')).unwrap();
        assert_eq!(recursive.get_long(), Some("recursive"));
    }
}
