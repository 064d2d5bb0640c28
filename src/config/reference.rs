//! The tables of docs/configuration.md, made from the keys; a test keeps the page true.

use super::keys::{KEYS, Kind, Section, Settings};
use super::unbuilt;

const MARK: &str =
    "<!-- From here on written by a test: UPDATE_CONFIG=1 cargo test --lib config:: -->\n";

fn tables() -> String {
    let mut text = MARK.to_owned();
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    for section in Section::ALL {
        text.push_str(&format!("\n## {}\n\n", section.title()));
        text.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            let takes = match key.kind {
                Kind::Text => "text",
                Kind::List => "list",
                Kind::Initial => "name=URL, ..",
                Kind::Number => "number",
                Kind::Switch => "true, false",
            };
            let default = match &defaults[key.name] {
                serde_json::Value::String(text) if text.is_empty() => String::new(),
                serde_json::Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let meaning = key.help.trim().replace('<', "&lt;");
            text.push_str(&format!("| `{}` | {takes} | {default} | {meaning} |\n", key.name));
        }
    }
    let [refused, without_effect] = unbuilt::tables();
    text.push_str(&format!(
        "\n## etcd's flags that are refused\n\nA server does not start with them, in whatever place they stand, and says \
         why, unless their value asks for nothing (`false`, `off`, 0, etcd's default). So it is with their names that begin \
         with `experimental-`.\n\n{refused}\n\
         ## etcd's flags that do nothing here\n\nA server starts with them, and warns of each.\n\n{without_effect}"
    ));
    text
}

#[test]
fn the_page_states_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (prose, written) = page.split_once(MARK).expect("the mark stands in the page");
    let right = tables();
    if std::env::var_os("UPDATE_CONFIG").is_some() {
        std::fs::write(path, format!("{prose}{right}")).unwrap();
    } else {
        let advice = "run once with UPDATE_CONFIG=1 and look at the diff";
        assert_eq!(format!("{MARK}{written}"), right, "{advice}");
    }
}
