//! What etcd's flags say of automatic compaction.

use std::time::Duration;

use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::base::parse_duration;
use crate::node::AutoCompaction;

const HOUR_S: u64 = 3_600;

/// None: it is off.
pub(super) fn rules(settings: &Settings, mistakes: &mut Mistakes) -> Option<AutoCompaction> {
    let (mode, text) = (&settings.auto_compaction_mode, &settings.auto_compaction_retention);
    let number = text.parse::<u32>().ok();
    let kept = match (mode.as_str(), number) {
        ("", _) if number.unwrap_or_default() == 0 => return None,
        ("revision", Some(revisions)) => Some(AutoCompaction::Revisions(i64::from(revisions))),
        ("periodic", Some(hours)) => {
            Some(AutoCompaction::Time(Duration::from_secs(u64::from(hours) * HOUR_S)))
        }
        ("periodic", None) => match parse_duration(text) {
            Ok(time) => Some(AutoCompaction::Time(time)),
            Err(error) => {
                mistakes.push(format!("auto-compaction-retention: {error}; or a number of hours"));
                None
            }
        },
        ("revision", None) => {
            mistakes.push(format!(
                "auto-compaction-retention is {text:?}; with auto-compaction-mode revision it is a number of revisions"
            ));
            None
        }
        (mode, _) => {
            mistakes.push(format!("auto-compaction-mode is {mode:?}; it is periodic or revision"));
            None
        }
    };
    kept.filter(|kept| {
        !matches!(kept, AutoCompaction::Revisions(0) | AutoCompaction::Time(Duration::ZERO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_hours_a_time_or_revisions() {
        let told = |mode: &str, retention: &str| {
            let settings = Settings {
                auto_compaction_mode: mode.to_owned(),
                auto_compaction_retention: retention.to_owned(),
                ..Settings::default()
            };
            let mut mistakes = Mistakes::default();
            (rules(&settings, &mut mistakes), mistakes.to_string())
        };
        let time = |seconds| Some(AutoCompaction::Time(Duration::from_secs(seconds)));
        assert_eq!(told("periodic", "1"), (time(3_600), String::new()));
        assert_eq!(told("periodic", "10m"), (time(600), String::new()));
        assert_eq!(
            told("revision", "1000"),
            (Some(AutoCompaction::Revisions(1_000)), String::new())
        );
        for off in ["0", "0h"] {
            assert_eq!(told("periodic", off), (None, String::new()));
        }
        for (mode, retention) in
            [("weekly", "1"), ("revision", "10m"), ("periodic", "-1"), ("periodic", "x")]
        {
            let (found, mistakes) = told(mode, retention);
            assert!(found.is_none() && mistakes.contains("auto-compaction"), "{mistakes}");
        }
    }
}
