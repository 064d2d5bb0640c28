//! What etcd's flags say of one connection over TCP, of who may ask without gRPC, and of what is counted.

use std::time::Duration;

use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::base::parse_duration;
use crate::node::TcpRules;

pub(super) fn rules(settings: &Settings, mistakes: &mut Mistakes) -> TcpRules {
    let mut time = |key: &str, text: &str| match parse_duration(text) {
        Ok(time) => time,
        Err(error) => {
            mistakes.push(format!("{key}: {error}"));
            Duration::ZERO
        }
    };
    let keep_alive = time("grpc-keepalive-interval", &settings.grpc_keepalive_interval);
    let keep_alive_timeout = time("grpc-keepalive-timeout", &settings.grpc_keepalive_timeout);
    if keep_alive_timeout.is_zero() && !keep_alive.is_zero() {
        mistakes.push("grpc-keepalive-timeout is 0: no client could answer in time");
    }
    let streams_max = u32::try_from(settings.max_concurrent_streams).ok().filter(|max| *max > 0);
    if streams_max.is_none() {
        mistakes.push(format!(
            "max-concurrent-streams is {}; it must be from 1 to {}",
            settings.max_concurrent_streams,
            u32::MAX
        ));
    }
    let times_calls = settings.metrics == "extensive";
    if !times_calls && settings.metrics != "basic" {
        mistakes.push(format!("metrics is {:?}; it is basic or extensive", settings.metrics));
    }
    TcpRules {
        streams_max: streams_max.unwrap_or(u32::MAX),
        keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
        keep_alive_timeout,
        origins: settings.cors.0.iter().cloned().collect(),
        hosts: settings.host_whitelist.0.iter().cloned().collect(),
        times_calls,
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::List;
    use super::*;

    fn told(change: impl Fn(&mut Settings)) -> (TcpRules, String) {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut mistakes = Mistakes::default();
        let rules = rules(&settings, &mut mistakes);
        (rules, mistakes.unless_any(()).err().map_or_else(String::new, |it| it.to_string()))
    }

    #[test]
    fn the_defaults_are_the_doors_own() {
        let (rules, mistakes) = told(|_| {});
        assert_eq!(mistakes, "");
        let everybody = ["*".to_owned()].into();
        let hosts = std::collections::BTreeSet::clone(&everybody);
        assert_eq!(rules, TcpRules { origins: everybody, hosts, ..TcpRules::default() });
    }

    #[test]
    fn what_is_set_is_meant() {
        let (rules, mistakes) = told(|it| {
            it.max_concurrent_streams = 7;
            it.grpc_keepalive_interval = "2h0m0s".to_owned();
            it.grpc_keepalive_timeout = "500ms".to_owned();
            it.host_whitelist = List::parse("a,b");
            it.metrics = "extensive".to_owned();
        });
        assert_eq!(mistakes, "");
        assert_eq!((rules.streams_max, rules.hosts.len(), rules.times_calls), (7, 2, true));
        assert_eq!(rules.keep_alive, Some(Duration::from_secs(7_200)));
        assert_eq!(rules.keep_alive_timeout, Duration::from_millis(500));
        let (rules, _) = told(|it| it.grpc_keepalive_interval = "0".to_owned());
        assert_eq!(rules.keep_alive, None);
        let (_, mistakes) = told(|it| {
            it.max_concurrent_streams = 0;
            it.metrics = "all".to_owned();
            it.grpc_keepalive_timeout = "5".to_owned();
        });
        assert!(mistakes.contains("max-concurrent-streams is 0"), "{mistakes}");
        assert!(mistakes.contains("metrics is \"all\"; it is basic or extensive"), "{mistakes}");
        assert!(mistakes.contains("grpc-keepalive-timeout: \"5\" is no duration"), "{mistakes}");
    }
}
