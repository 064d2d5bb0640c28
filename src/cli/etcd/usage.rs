//! What `etcd --help` shows: etcd's form, our settings.

use crate::config::{KEYS, Section, Settings};

pub(super) const USAGE: &str = "Usage:

  etcd [flags]
    Start an etcd server.

  etcd --version
    Show the version of etcd.

  etcd -h | --help
    Show the help information about etcd.

  etcd --config-file
    Path to the server configuration file. Note that if a configuration file is provided, other command line flags and environment variables will be ignored.

  etcd gateway
    Pass TCP on to the members of a cluster.

  etcd grpc-proxy
    Serve what the members of a cluster serve.
";

/// All flags with their defaults.
pub(super) fn flags() -> String {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut text = String::new();
    for section in Section::ALL {
        text.push_str(&format!("\n{}:\n", section.title()));
        for key in KEYS.iter().filter(|key| key.section == section) {
            let default = match &defaults[key.name] {
                serde_json::Value::String(text) => format!("'{text}'"),
                other => format!("'{other}'"),
            };
            text.push_str(&format!("  --{} {default}\n    {}\n", key.name, key.help.trim()));
        }
    }
    text
}
