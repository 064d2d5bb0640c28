//! When members compare their histories, as etcd's flags and its feature gate say it.

use std::time::Duration;

use super::gates;
use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::base::parse_duration;
use crate::node::Comparisons;

pub(super) fn rules(settings: &Settings, mistakes: &mut Mistakes) -> Comparisons {
    let interval = parse_duration(&settings.corrupt_check_time).unwrap_or_else(|error| {
        mistakes.push(format!("corrupt-check-time: {error}"));
        Duration::ZERO
    });
    Comparisons {
        interval: Some(interval).filter(|interval| !interval.is_zero()),
        at_start: settings.initial_corrupt_check || gates::is_initial_check_on(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::List;
    use super::*;

    fn rules_of(settings: &Settings) -> Result<Comparisons, String> {
        let mut mistakes = Mistakes::default();
        let rules = rules(settings, &mut mistakes);
        mistakes.unless_any(rules).map_err(|it| it.to_string())
    }

    #[test]
    fn histories_are_compared_unless_somebody_says_no() {
        let every = |text: &str| {
            let settings = Settings { corrupt_check_time: text.to_owned(), ..Settings::default() };
            rules_of(&settings).map(|rules| rules.interval)
        };
        assert_eq!(rules_of(&Settings::default()), Ok(Comparisons::default()));
        assert_eq!(every("0s"), Ok(None));
        assert_eq!(every("90s"), Ok(Some(Duration::from_secs(90))));
        assert!(every("often").unwrap_err().contains("corrupt-check-time: \"often\""));
    }

    #[test]
    fn a_start_compares_by_flag_or_by_gate() {
        for (gates, is_on) in [("InitialCorruptCheck=true", true), ("CompactHashCheck=true", false)]
        {
            let settings = Settings { feature_gates: List::parse(gates), ..Settings::default() };
            assert_eq!(rules_of(&settings).unwrap().at_start, is_on, "{gates}");
        }
        let settings = Settings { initial_corrupt_check: true, ..Settings::default() };
        assert!(rules_of(&settings).unwrap().at_start);
    }
}
