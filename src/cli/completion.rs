//! `completion bash|zsh|fish|..`: a script that completes this program's words, those of etcd's v2 API, too.

use std::io::Write;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::args::grammar;
use super::called::Called;
use super::exit::Exit;
use super::v2;

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate completion SHELL",
    after_help = "Examples:\n  \
    source <(quorate completion bash)                                        for this shell\n  \
    quorate completion bash > /etc/bash_completion.d/quorate                 for every one\n  \
    quorate completion zsh > \"${fpath[1]}/_quorate\"\n  \
    quorate completion fish > ~/.config/fish/completions/quorate.fish"
)]
pub(super) struct Completion {
    /// The shell
    shell: Option<Name>,
    #[arg(hide = true)]
    more: Vec<String>,
}

/// The shells that etcdctl knows, too.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl Completion {
    pub(super) fn run(&self, called: Called, out: &mut dyn Write) -> Result<(), Exit> {
        let shell = self.shell.filter(|_| self.more.is_empty()).ok_or_else(|| {
            let count = usize::from(self.shell.is_some()) + self.more.len();
            Exit::error(format!("accepts 1 arg(s), received {count}"))
        })?;
        let shell = match shell {
            Name::Bash => Shell::Bash,
            Name::Zsh => Shell::Zsh,
            Name::Fish => Shell::Fish,
            Name::Powershell => Shell::PowerShell,
        };
        let mut script = Vec::new();
        let mut grammar = match called {
            Called::Etcdutl => super::etcdutl::grammar(),
            called => v2::with_verbs(grammar(called)),
        };
        clap_complete::generate(shell, &mut grammar, called.name(), &mut script);
        Ok(out.write_all(&script)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_a_commands_flags() {
        for shell in [Name::Bash, Name::Zsh, Name::Fish, Name::Powershell] {
            let mut script = Vec::new();
            Completion { shell: Some(shell), more: Vec::new() }
                .run(Called::Quorate, &mut script)
                .unwrap();
            let script = String::from_utf8(script).unwrap();
            let of_v2 = ["cluster-health", "exec-watch", "swap-with-index", "setdir"];
            for word in ["keep-alive", "print-value-only", "write-out"].into_iter().chain(of_v2) {
                assert!(script.contains(word), "{word} for {shell:?}");
            }
        }
    }
}
