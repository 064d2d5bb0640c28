//! `discovery new|list|revoke`: tokens of a discovery service, asked of it. `discovery` alone is `serve` with
//! `--discovery-service`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::base::limits;
use crate::discovery::REGISTRY;

use super::connect::Session;
use super::exit::Exit;
use super::print::{TokenMade, TokenRevoked, Tokens};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Discovery {
    /// Make a token for a cluster that is to be, and print what its members are started with
    #[command(
        after_help = "Examples:\n  quorate discovery new --size 3\n  quorate discovery new --size 5 --ttl 3600 staging"
    )]
    New(New),
    /// Show the tokens, their sizes, when they end, and who has come
    #[command(
        after_help = "Examples:\n  quorate discovery list\n  quorate discovery list -w table"
    )]
    List,
    /// Take a token back, with everything that is registered under it
    #[command(after_help = "Examples:\n  quorate discovery revoke staging")]
    Revoke(Revoke),
}

#[derive(Args, Clone, Debug)]
pub(super) struct New {
    /// Its name [default: a random one]
    token: Option<String>,
    /// How many members found the cluster
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=limits::MEMBERS_MAX as i64))]
    size: u32,
    /// Seconds until it ends, with all that is registered under it [default: a week]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..=limits::DISCOVERY_TTL_S_MAX))]
    ttl: Option<i64>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Revoke {
    token: String,
}

impl Discovery {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let client = session.client().await?;
        match self {
            Self::New(New { token, size, ttl }) => {
                let answer = client.discovery_new(size, ttl, token.as_deref()).await?;
                let endpoints: Vec<String> =
                    session.endpoints.iter().map(|it| with_scheme(it, session)).collect();
                let first = endpoints.first().cloned().unwrap_or_default();
                session.printer.print(&TokenMade {
                    answer: &answer,
                    url: &format!("{first}/v2/keys{REGISTRY}{}", answer.token),
                    endpoints: &endpoints.join(","),
                })
            }
            Self::List => session.printer.print(&Tokens(&client.discovery_list().await?)),
            Self::Revoke(Revoke { token }) => {
                let answer = client.discovery_revoke(&token).await?;
                session.printer.print(&TokenRevoked(&token, &answer))
            }
        }
    }
}

fn with_scheme(endpoint: &str, session: &Session) -> String {
    match (endpoint.contains("://"), session.tls.is_some()) {
        (true, _) => endpoint.trim_end_matches('/').to_owned(),
        (false, true) => format!("https://{endpoint}"),
        (false, false) => format!("http://{endpoint}"),
    }
}

/// What the service is called, and so where its data lies, where nobody says.
const NAME: &str = "discovery";

/// `discovery` and a server's flags, as `serve` takes them.
pub(super) fn as_serve(words: &mut Vec<OsString>, environment: &[(String, String)]) {
    let is_named = |word: &OsString| {
        let word = word.to_string_lossy();
        let flag = word.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
        word.starts_with('-') && matches!(flag.as_str(), "name" | "config-file")
    };
    let is_said = words.iter().any(is_named)
        || environment.iter().any(|(name, _)| {
            let name = name.strip_prefix("ETCD_").or_else(|| name.strip_prefix("QUORATE_"));
            matches!(name, Some("NAME" | "CONFIG_FILE"))
        });
    words[1] = OsString::from("serve");
    words.insert(2, OsString::from("--discovery-service=true"));
    if !is_said {
        words.insert(3, OsString::from(format!("--name={NAME}")));
    }
}
