//! How users are known: etcd's auth-token, auth-token-ttl and bcrypt-cost.

use std::time::Duration;

use super::keys::Settings;
use super::mistakes::Mistakes;
use crate::node::AuthRules;

/// What bcrypt takes, and etcd's default.
const COSTS: std::ops::RangeInclusive<i64> = 4..=31;
const COST_DEFAULT: u32 = 10;
const TTL_DEFAULT_S: u64 = 300;

/// Costs and times that are none are etcd's defaults, as in etcd.
pub(super) fn rules(
    settings: &Settings,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> AuthRules {
    let cost = match u32::try_from(settings.bcrypt_cost) {
        Ok(cost) if COSTS.contains(&settings.bcrypt_cost) => cost,
        _ => {
            let (given, least, most) = (settings.bcrypt_cost, COSTS.start(), COSTS.end());
            warnings.push(format!(
                "bcrypt-cost is {given}, and bcrypt takes {least} to {most}: it is taken for {COST_DEFAULT}"
            ));
            COST_DEFAULT
        }
    };
    let seconds = u64::try_from(settings.auth_token_ttl).ok().filter(|&seconds| seconds > 0);
    if seconds.is_none() {
        let given = settings.auth_token_ttl;
        warnings
            .push(format!("auth-token-ttl is {given}: it is taken for {TTL_DEFAULT_S} seconds"));
    }
    let ttl = Duration::from_secs(seconds.unwrap_or(TTL_DEFAULT_S));
    AuthRules::new(&settings.auth_token, ttl, cost).unwrap_or_else(|error| {
        mistakes.push(error);
        AuthRules::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut Settings)) -> (AuthRules, Vec<String>, Option<String>) {
        let mut settings = Settings::default();
        change(&mut settings);
        let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
        let rules = rules(&settings, &mut mistakes, &mut warnings);
        (rules, warnings, mistakes.unless_any(()).err().map(|it| it.to_string()))
    }

    #[test]
    fn what_is_no_cost_and_no_time_is_the_default() {
        let usual = (AuthRules::default(), Vec::new(), None);
        assert_eq!(told(|_| {}), usual);
        let (rules, warnings, mistake) = told(|it| (it.bcrypt_cost, it.auth_token_ttl) = (32, 0));
        assert_eq!((rules, warnings.len(), mistake), (AuthRules::default(), 2, None));
        let (_, warnings, mistake) = told(|it| it.auth_token = "jwt,sign-method=none".to_owned());
        assert!(warnings.is_empty() && mistake.unwrap().contains("no signing method"));
    }
}
