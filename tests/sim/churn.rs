//! Membership churn: members come and go while the world runs.

use quorate::proto::etcdserverpb::Member;
use quorate::proto::quorate::log::MemberChange;
use quorate::proto::quorate::log::member_change::Kind;

use crate::dice::Dice;
use crate::world::{World, member};

impl World {
    /// The next client's operation is a change of members that makes sense now; none while a member's log is damaged,
    /// or may be: it is replaced first.
    pub(crate) fn draw_member_step(&mut self, dice: &mut Dice) {
        let roll = &self.checker.roll;
        let (voters, learners) = (roll.voters(), roll.learners());
        let step = match learners.first() {
            _ if !self.suspects().is_empty() => return,
            Some(&learner) if dice.in_thousand(700) => change(Kind::Promote, named(learner)),
            Some(&learner) if dice.in_thousand(300) => removal(learner),
            _ if voters.len() > 2 && dice.in_thousand(450) => {
                removal(*dice.pick(&voters).expect("there are some"))
            }
            _ if voters.len() >= 7 => return,
            _ => {
                let is_learner = learners.is_empty() && dice.in_thousand(600);
                let kind = if is_learner { Kind::AddLearner } else { Kind::AddVoter };
                addition(kind, self.clients.new_member())
            }
        };
        self.clients.member_step = Some(step);
    }
}

/// A member that is named by its cluster only when it has joined.
pub(crate) fn addition(kind: Kind, id: u64) -> MemberChange {
    change(kind, Member { name: String::new(), client_ur_ls: Vec::new(), ..member(id) })
}

pub(crate) fn removal(id: u64) -> MemberChange {
    change(Kind::Remove, named(id))
}

fn named(id: u64) -> Member {
    Member { id, ..Member::default() }
}

fn change(kind: Kind, member: Member) -> MemberChange {
    MemberChange { kind: kind as i32, member: Some(member), learners_max: 0 }
}
