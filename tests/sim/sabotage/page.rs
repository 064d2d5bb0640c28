//! The table in docs/testing.md says what is tested, and nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::cases::CASES;
use super::recorded::RECORDED;

const BEGIN: &str = "<!-- bugs: written by the search -->\n";
const END: &str = "<!-- end of bugs -->";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md")
}

/// Before, between and behind the marks.
fn parts(page: &str) -> (&str, &str, &str) {
    let (before, rest) =
        page.split_once(BEGIN).expect("docs/testing.md marks the table's beginning");
    let (table, behind) = rest.split_once(END).expect("docs/testing.md marks the table's end");
    (before, table, behind)
}

fn table(recorded: impl Fn(&str) -> Option<(u64, &'static str)>) -> String {
    let mut text =
        String::from("| bug put back | stands for | found by | in world |\n|---|---|---|---|\n");
    for case in CASES {
        let (seed, check) = recorded(case.name).unwrap_or((0, "nothing"));
        let (title, stands_for) = (case.title(), case.stands_for);
        text.push_str(&format!("| {title} | {stands_for} | `{check}` | {} |\n", seed + 1));
    }
    text
}

pub(super) fn write(recorded: impl Fn(&str) -> Option<(u64, &'static str)>) {
    let page = std::fs::read_to_string(path()).unwrap();
    let (before, _, behind) = parts(&page);
    let page = format!("{before}{BEGIN}{}{END}{behind}", table(recorded));
    std::fs::write(path(), page).unwrap();
}

#[test]
fn the_page_is_what_is_recorded() {
    let recorded = |name: &str| {
        let found = RECORDED.iter().find(|recorded| recorded.0 == name);
        found.map(|&(_, seed, check)| (seed, check))
    };
    let page = std::fs::read_to_string(path()).unwrap();
    assert_eq!(parts(&page).1, table(recorded), "search again, and record");
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    let found: BTreeSet<&str> = RECORDED.iter().map(|recorded| recorded.0).collect();
    assert_eq!(names, found, "what is recorded, and what there is");
    assert_eq!(names.len(), CASES.len(), "a name stands for one bug");
}

/// The second table speaks of etcd's own list by the titles of the first.
#[test]
fn titles_elsewhere_on_the_page_are_bugs_of_the_table() {
    let page = std::fs::read_to_string(path()).unwrap();
    let titles: BTreeSet<String> = CASES.iter().map(|case| case.title()).collect();
    let (_, _, behind) = parts(&page);
    let rows: Vec<&str> = behind.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(rows.len(), 17, "etcd's record has so many rows");
    for row in rows {
        let told = row.split('|').nth(3).unwrap_or_default();
        for title in told.split(';').map(str::trim) {
            assert!(titles.contains(title), "{title:?} is no bug of the table");
        }
    }
}

/// No build that is not asked for has a bug to choose.
#[test]
fn no_feature_turns_the_bugs_on() {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let (_, features) = manifest.split_once("[features]").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let lines = features.lines().filter(|line| !line.trim_start().starts_with('#'));
    let named: Vec<&str> = lines.filter(|line| line.contains("sabotage")).collect();
    assert_eq!(named, ["sabotage = [\"server\"]"]);
}
