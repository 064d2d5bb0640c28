//! A failing world made smaller: shorter, with fewer faults, fewer clients, fewer watching clients, as long as it fails
//! the same check.
//!
//! Every try is the same seed with less of it, from its beginning, so that it can be replayed by what was left out. A
//! fault that is left out changes what happens after it; so this searches and does not prove that no smaller world
//! fails. The number of tries is bounded.

use crate::world::Plan;

/// What a try came to: the check that failed, how many operations had begun, and the numbers of the faults.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) check: &'static str,
    pub(crate) operations: u64,
    pub(crate) faults: Vec<u64>,
}

/// The smallest world found.
#[derive(Clone, Debug)]
pub(crate) struct Shrunk {
    pub(crate) plan: Plan,
    pub(crate) tries: u64,
}

struct Search<F> {
    check: &'static str,
    best: Plan,
    ended: Ended,
    tries: u64,
    tries_max: u64,
    run: F,
}

/// `run` runs a world; none if it keeps its promises. `ended` is what became of `plan`.
pub(crate) fn shrink(
    plan: Plan,
    ended: Ended,
    tries_max: u64,
    run: impl FnMut(&Plan) -> Option<Ended>,
) -> Shrunk {
    let mut search = Search { check: ended.check, best: plan, ended, tries: 0, tries_max, run };
    loop {
        let before = search.size();
        search.shorten();
        search.drop_faults();
        search.drop_clients();
        if search.size() == before || search.is_over() {
            return Shrunk { plan: search.best, tries: search.tries };
        }
    }
}

impl<F: FnMut(&Plan) -> Option<Ended>> Search<F> {
    fn size(&self) -> (u64, usize, Option<usize>, Option<usize>) {
        let plan = &self.best;
        (self.ended.operations, self.ended.faults.len(), plan.clients, plan.watchers)
    }

    fn is_over(&self) -> bool {
        self.tries >= self.tries_max
    }

    /// Whether this world fails the same check; then it is the best so far.
    fn fails(&mut self, plan: Plan) -> bool {
        if self.is_over() {
            return false;
        }
        self.tries += 1;
        match (self.run)(&plan).filter(|ended| ended.check == self.check) {
            Some(ended) => {
                (self.best, self.ended) = (plan, ended);
                true
            }
            None => false,
        }
    }

    fn until(&self) -> u64 {
        self.best.until.unwrap_or(self.best.operations)
    }

    /// What would have begun after the failure never did.
    fn tighten(&mut self) {
        self.best.until = Some(self.until().min(self.ended.operations + 1));
    }

    /// Ends behind the failure, and then earlier by halves: what was found at the mended end, or by a later check,
    /// may be there long before.
    fn shorten(&mut self) {
        self.tighten();
        let mut step = self.until() / 2;
        while step > self.until() / 64 && !self.is_over() {
            let until = Some(self.until() - step);
            if self.fails(Plan { until, ..self.best.clone() }) {
                self.tighten();
                step = step.min(self.until() / 2);
            } else {
                step /= 2;
            }
        }
    }

    /// Leaves out many at once, then fewer, then each alone.
    fn drop_faults(&mut self) {
        let mut piece = self.ended.faults.len();
        while piece > 0 {
            let mut at = 0;
            while at < self.ended.faults.len() && !self.is_over() {
                let left_out = self.ended.faults.iter().skip(at).take(piece).copied();
                let mut without = self.best.without.clone();
                without.extend(left_out);
                // Where others stood before there are others now.
                if !self.fails(Plan { without, ..self.best.clone() }) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }

    fn drop_clients(&mut self) {
        for clients in [1, 2, 4, 8] {
            if self.best.clients.is_none_or(|now| clients < now)
                && self.fails(Plan { clients: Some(clients), ..self.best.clone() })
            {
                break;
            }
        }
        for watchers in [0, 1, 2] {
            if self.best.watchers.is_none_or(|now| watchers < now)
                && self.fails(Plan { watchers: Some(watchers), ..self.best.clone() })
            {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults 5 and 11 of 20 and at least 300 operations make it fail.
    fn world(plan: &Plan) -> Option<Ended> {
        let operations = plan.until.unwrap_or(2_000).min(plan.operations);
        let faults: Vec<u64> = (1..=20).filter(|number| !plan.without.contains(number)).collect();
        let fails = operations >= 300 && faults.contains(&5) && faults.contains(&11);
        let check = if fails { "answers" } else { "real_time" };
        (fails || operations > 1_990).then_some(Ended { check, operations, faults })
    }

    #[test]
    fn what_is_not_needed_goes_and_the_check_stays_the_same() {
        let plan = Plan::of_seed(1);
        let ended = world(&plan).unwrap();
        let shrunk = shrink(plan, ended, 1_000, world);
        let left = world(&shrunk.plan).unwrap();
        assert_eq!((left.check, left.faults), ("answers", vec![5, 11]));
        assert!(left.operations < 310, "{}", left.operations);
        assert_eq!((shrunk.plan.clients, shrunk.plan.watchers), (Some(1), Some(0)));
        assert!(shrunk.tries < 100, "{}", shrunk.tries);
    }

    #[test]
    fn it_ends_after_so_many_tries() {
        let plan = Plan::of_seed(1);
        let ended = world(&plan).unwrap();
        let mut ran = 0;
        let shrunk = shrink(plan, ended, 7, |plan| {
            ran += 1;
            world(plan)
        });
        assert_eq!((shrunk.tries, ran), (7, 7));
        assert_eq!(world(&shrunk.plan).unwrap().check, "answers");
    }
}
