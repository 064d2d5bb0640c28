//! Who the members are, and in which order they are asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::member::Member;
use crate::base::Moment;
use crate::proto::etcdserverpb as pb;

/// The members of one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub cluster: u64,
    all: Vec<Arc<Member>>,
}

impl Members {
    /// Those that serve among `told`: they have said where clients find them, and vote (if any does). `given` are URLs
    /// where they may be found as well; of the others those count that begin with one of `schemes`. Who is known already keeps its connections.
    pub(super) fn next(
        &self,
        cluster: u64,
        told: &[pb::Member],
        given: &[String],
        schemes: &[&str],
    ) -> Self {
        let is_meant = |url: &&String| schemes.iter().any(|scheme| url.starts_with(scheme));
        let votes = told.iter().any(|member| !member.is_learner);
        let mut all: BTreeMap<u64, Arc<Member>> = BTreeMap::new();
        for member in told.iter().filter(|member| !(votes && member.is_learner)) {
            // Who has not started yet has told nobody.
            if member.client_ur_ls.is_empty() {
                continue;
            }
            let own = member.client_ur_ls.iter().filter(is_meant);
            let mut urls: Vec<String> = own.cloned().collect();
            let others = given.iter().filter(|url| !urls.contains(url)).cloned();
            let others: Vec<String> = others.collect();
            urls.extend(others);
            let known = self.all.iter().find(|known| {
                known.cluster == cluster && known.id == member.id && known.urls == urls
            });
            let member =
                known.map_or_else(|| Arc::new(Member::new(cluster, member.id, urls)), Arc::clone);
            all.insert(member.id, member);
        }
        Self { cluster, all: all.into_values().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn all(&self) -> &[Arc<Member>] {
        &self.all
    }

    /// All of them, beginning with another one for each `turn`; `first`, if it is there, before the others. Who has no
    /// connection is not waited for as long as somebody else has one, and who failed just now comes last.
    pub(super) fn in_turn(&self, turn: usize, first: Option<u64>, now: Moment) -> Vec<Arc<Member>> {
        let count = self.all.len().max(1);
        let (before, behind) = self.all.split_at((turn % count).min(self.all.len()));
        let mut order: Vec<Arc<Member>> = behind.iter().chain(before).cloned().collect();
        order.sort_by_key(|member| {
            (!member.is_connected(), member.is_resting(now), first != Some(member.id))
        });
        order
    }

    pub(super) fn names(&self) -> String {
        let of = |member: &Arc<Member>| {
            let url = member.urls.first().map(String::as_str).unwrap_or_default();
            format!("{:x}={url}", member.id)
        };
        self.all.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Clock, SystemClock};

    const TLS: [&str; 1] = ["https://"];

    fn told(id: u64, urls: &[&str], is_learner: bool) -> pb::Member {
        let client_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
        pb::Member { id, client_ur_ls, is_learner, ..Default::default() }
    }

    fn ids(order: &[Arc<Member>]) -> Vec<u64> {
        order.iter().map(|member| member.id).collect()
    }

    #[test]
    fn those_that_serve_are_asked_in_turn_and_those_that_rest_last() {
        let list = [
            told(1, &["https://a:1"], false),
            told(2, &["https://b:1"], false),
            told(3, &["https://c:1"], false),
            told(4, &["https://d:1"], true),
            told(5, &[], false),
        ];
        let members = Members::default().next(9, &list, &[], &TLS);
        let clock = SystemClock::new();
        let order = |turn, first| ids(&members.in_turn(turn, first, clock.now()));
        assert_eq!(order(0, None), [1, 2, 3]);
        assert_eq!(order(4, None), [2, 3, 1]);
        assert_eq!(order(0, Some(3)), [3, 1, 2]);
        assert_eq!(order(0, Some(5)), [1, 2, 3]);
        members.all()[2].rest(&clock, Duration::from_secs(60));
        assert_eq!(order(2, Some(3)), [1, 2, 3]);
        assert!(Members::default().in_turn(7, None, clock.now()).is_empty());
    }

    #[test]
    fn a_member_that_stays_keeps_its_connections_and_nobody_is_talked_out_of_tls() {
        let given = ["https://given:1".to_owned()];
        let first = Members::default().next(
            9,
            &[told(1, &["http://a:1", "https://a:1"], false), told(2, &["https://b:1"], false)],
            &given,
            &TLS,
        );
        assert_eq!(first.all()[0].urls, ["https://a:1", "https://given:1"]);
        let list = [told(2, &["https://b:1"], false), told(3, &["http://c:1"], false)];
        let second = first.next(9, &list, &given, &TLS);
        assert!(Arc::ptr_eq(&first.all()[1], &second.all()[0]));
        assert_eq!(second.all()[1].urls, ["https://given:1"]);
        let moved = second.next(9, &[told(2, &["https://new:1"], false)], &given, &TLS);
        assert!(!Arc::ptr_eq(&second.all()[0], &moved.all()[0]));
    }

    #[test]
    fn learners_alone_are_better_than_nobody() {
        let members =
            Members::default().next(9, &[told(4, &["http://d:1"], true)], &[], &["http://"]);
        assert_eq!(ids(members.all()), [4]);
    }
}
