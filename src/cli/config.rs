//! `config check|show`: what a server would start with, without starting it.

use std::io::{ErrorKind, Write};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::config::{self, Effective};
use crate::node;

use super::exit::{Code, Exit};
use super::print::Table;
use super::profile::SERVE_DIR;
use super::serve::Serve;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether a server could start with these settings, or every mistake at once
    #[command(
        after_help = "Takes the flags, variables and file of `serve`: quorate config check --config-file n1.toml"
    )]
    Check(Serve),
    /// Print every setting with its value and where that comes from
    #[command(
        after_help = "Takes the flags, variables and file of `serve`: quorate config show --config-file n1.toml"
    )]
    Show(Show),
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// How to print them; toml is a file that `--config-file` takes
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT", default_value = "table")]
    write_out: Format,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Table,
    Json,
    Toml,
}

impl Config {
    pub(super) fn run(self, environment: &[(String, String)]) -> Result<(), Exit> {
        let (serve, format) = match self {
            Self::Check(serve) => (serve, None),
            Self::Show(show) => (show.serve, Some(show.write_out)),
        };
        if serve.is_plain(environment) {
            eprintln!(
                "Note: `quorate serve` without a single setting is something else than the defaults: one member on \
                 https://127.0.0.1:2379 in {SERVE_DIR}, with certificates of its own."
            );
        }
        let effective = config::effective(&serve.sources(environment))
            .map_err(|mistakes| Exit::new(Code::InvalidInput, mistakes.to_string()))?;
        for warning in effective.start.ignored.iter().chain(&effective.start.warnings) {
            eprintln!("Warning: {warning}");
        }
        let text = match format {
            Some(Format::Table) => format!("{}\n", table(&effective)),
            Some(Format::Json) => format!("{}\n", json(&effective)),
            Some(Format::Toml) => toml(&effective),
            None => {
                check(&effective)?;
                "ok\n".to_owned()
            }
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever reads the first lines only has read them.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

fn check(effective: &Effective) -> Result<(), Exit> {
    let lines: Vec<String> =
        node::check(&effective.start.node).iter().map(ToString::to_string).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(Exit::new(Code::InvalidInput, lines.join("\n"))),
    }
}

fn table(effective: &Effective) -> Table {
    let row = |setting: &config::Setting| {
        let value = match &setting.value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        vec![setting.key.name.to_owned(), value, setting.source.clone()]
    };
    Table {
        header: vec!["key", "value", "source"],
        rows: effective.settings.iter().map(row).collect(),
    }
}

fn json(effective: &Effective) -> serde_json::Value {
    let one = |setting: &config::Setting| json!({"key": setting.key.name, "value": setting.value, "source": setting.source});
    json!({
        "settings": effective.settings.iter().map(one).collect::<Vec<_>>(),
        "ignored": effective.start.ignored,
        "warnings": effective.start.warnings,
    })
}

/// JSON's spelling of texts, whole numbers and switches is TOML's, too.
fn toml(effective: &Effective) -> String {
    let line = |setting: &config::Setting| {
        format!("{} = {}  # {}\n", setting.key.name, setting.value, setting.source)
    };
    effective.settings.iter().map(line).collect()
}
