//! What etcd's flags say of a proxy.

use std::time::Duration;

use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::node::{ProxyMode, ProxyRules};

pub(super) fn rules(settings: &Settings, mistakes: &mut Mistakes) -> ProxyRules {
    let mode = match settings.proxy.as_str() {
        "off" => ProxyMode::Off,
        "on" => ProxyMode::On,
        "readonly" => ProxyMode::Readonly,
        other => {
            mistakes.push(format!("proxy is {other:?}; it is off, on or readonly"));
            ProxyMode::Off
        }
    };
    let mut time = |key: &str, value: i64, least: i64| {
        if value < least {
            mistakes.push(format!("{key} is {value} ms; it must be at least {least}"));
        }
        Duration::from_millis(u64::try_from(value).unwrap_or_default())
    };
    ProxyRules {
        mode,
        refresh: time("proxy-refresh-interval", settings.proxy_refresh_interval, 1),
        failure_wait: time("proxy-failure-wait", settings.proxy_failure_wait, 0),
        dial_timeout: time("proxy-dial-timeout", settings.proxy_dial_timeout, 1),
        listeners: Vec::new(),
        is_fallback: settings.discovery_fallback != "exit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl Fn(&mut Settings)) -> (ProxyRules, String) {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut mistakes = Mistakes::default();
        let rules = rules(&settings, &mut mistakes);
        (rules, mistakes.unless_any(()).err().map_or_else(String::new, |it| it.to_string()))
    }

    #[test]
    fn a_node_is_a_member_unless_somebody_says_otherwise() {
        assert_eq!(told(|_| {}), (ProxyRules::default(), String::new()));
        let (rules, _) = told(|it| {
            it.proxy = "readonly".to_owned();
            it.proxy_failure_wait = 0;
        });
        assert_eq!((rules.mode, rules.failure_wait), (ProxyMode::Readonly, Duration::ZERO));
        let (_, said) = told(|it| {
            it.proxy = "yes".to_owned();
            it.proxy_dial_timeout = 0;
        });
        assert!(said.contains("proxy is \"yes\"; it is off, on or readonly"), "{said}");
        assert!(said.contains("proxy-dial-timeout is 0 ms; it must be at least 1"), "{said}");
    }
}
