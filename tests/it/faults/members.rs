//! Members come, are promoted, are replaced and go, while clients write and somebody is killed in the middle of it: no
//! acknowledged write is lost, nobody who was removed serves or comes back.

use std::fs;
use std::time::{Duration, Instant};

use quorate::client::Client;
use quorate::proto::etcdserverpb::Member;

use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::{Cluster, SOON, eventually};
use crate::recorded::Trial;

/// Is never removed, so that its log stays whole: it is the truth.
const FIRST: usize = 0;

/// Commands that the others are to acknowledge meanwhile.
const MEANWHILE: u64 = 10;

/// Time for one call: who asks somebody that is killed soon asks another.
const CALL: Duration = Duration::from_secs(1);

const REMOVED: &str = "the member has been permanently removed from the cluster";

/// What is asked of the cluster.
#[derive(Clone, Debug)]
enum Change {
    Add { url: String, is_learner: bool },
    Promote(u64),
    Remove(u64),
}

impl Change {
    /// Whether it happens is seen by the list of members, and by nothing else: an answer may be lost.
    async fn ask(self, client: Client) {
        let failed = match self {
            Self::Add { url, is_learner: true } => client.member_add_learner(&[url]).await.err(),
            Self::Add { url, is_learner: false } => client.member_add(&[url]).await.err(),
            Self::Promote(id) => client.member_promote(id).await.err(),
            Self::Remove(id) => client.member_remove(id).await.err(),
        };
        if let Some(error) = failed {
            println!("not at once: {error}");
        }
    }

    fn has_happened(&self, members: &[Member]) -> bool {
        let by_id = |id: u64| members.iter().find(|member| member.id == id);
        match self {
            Self::Add { url, .. } => by_url(members, url).is_some(),
            Self::Promote(id) => by_id(*id).is_some_and(|member| !member.is_learner),
            Self::Remove(id) => by_id(*id).is_none(),
        }
    }
}

fn by_url<'a>(members: &'a [Member], url: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.peer_ur_ls.iter().any(|known| known == url))
}

/// A cluster whose members change.
struct Changing<'a> {
    cluster: &'a mut Cluster,
    trial: &'a Trial,
    dice: &'a mut Dice,
}

impl Changing<'_> {
    fn client(&self) -> Client {
        self.cluster.client_of(&self.cluster.running()).within(CALL)
    }

    async fn members(&self) -> Vec<Member> {
        eventually("the list of members", || async {
            Some(self.client().member_list(true).await.ok()?.members)
        })
        .await
    }

    async fn pause(&mut self, ms_max: u64) {
        tokio::time::sleep(Duration::from_millis(self.dice.between(0, ms_max))).await;
    }

    /// Until it has happened; somebody is killed while it is asked for the first time.
    async fn change(&mut self, change: Change) {
        let asked = tokio::spawn(change.clone().ask(self.client()));
        let running = self.cluster.running();
        let victim = running[self.dice.below(running.len())];
        self.pause(40).await;
        println!("members: {change:?}, and kill -9 of {victim}");
        self.cluster.kill(victim);
        self.pause(300).await;
        self.cluster.spawn(victim);
        asked.await.unwrap();
        let began = Instant::now();
        while !change.has_happened(&self.members().await) {
            assert!(began.elapsed() < SOON, "{change:?} does not happen");
            change.clone().ask(self.client()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A member that was added joins, is killed once while it does, and is told by the list in the end; its id.
    async fn join(&mut self, place: usize) -> u64 {
        let (name, url) = {
            let member = &self.cluster.members[place];
            (member.name.clone(), member.url.clone())
        };
        let roster = self.members().await.into_iter().map(|member| {
            let is_own = member.peer_ur_ls.contains(&url);
            let name = if is_own { name.clone() } else { member.name };
            (name, member.peer_ur_ls[0].clone())
        });
        self.cluster.joins_as(place, &roster.collect::<Vec<_>>());
        self.cluster.spawn(place);
        self.pause(600).await;
        self.cluster.kill(place);
        self.cluster.spawn(place);
        eventually("the new member is there", || async {
            let members = self.client().member_list(true).await.ok()?.members;
            by_url(&members, &url).filter(|member| member.name == name).map(|member| member.id)
        })
        .await
    }

    async fn add(&mut self, is_learner: bool) {
        let (place, url) =
            self.cluster.prepare_joiner(&format!("n{}", self.cluster.members.len() + 1));
        self.change(Change::Add { url, is_learner }).await;
        let id = self.join(place).await;
        if is_learner {
            self.change(Change::Promote(id)).await;
        }
    }

    async fn id_of(&self, place: usize) -> u64 {
        by_url(&self.members().await, &self.cluster.members[place].url).unwrap().id
    }

    /// Its disk is lost with it: under another id it begins anew in its old place.
    async fn replace(&mut self, place: usize) {
        let id = self.id_of(place).await;
        self.cluster.kill(place);
        self.change(Change::Remove(id)).await;
        fs::remove_dir_all(&self.cluster.members[place].data).unwrap();
        let url = self.cluster.members[place].url.clone();
        self.change(Change::Add { url, is_learner: false }).await;
        assert_ne!(self.join(place).await, id);
    }

    /// For good: it ends, and neither its data nor its settings alone bring it back; the former is not tried if the
    /// directory is emptied at once.
    async fn remove(&mut self, place: usize, is_emptied_at_once: bool) {
        let id = self.id_of(place).await;
        self.change(Change::Remove(id)).await;
        self.ends_with(place, REMOVED);
        if !is_emptied_at_once {
            self.cluster.spawn(place);
            self.is_no_ghost(place).await;
            self.ends_with(place, REMOVED);
        }
        fs::remove_dir_all(&self.cluster.members[place].data).unwrap();
        self.cluster.spawn(place);
        self.is_no_ghost(place).await;
        let told = self.ends_with(place, "");
        let words = [
            "does not belong to cluster",
            "member count is unequal",
            "no member of cluster",
            REMOVED,
        ];
        assert!(words.iter().any(|words| told.contains(words)), "{told}");
        assert!(self.members().await.iter().all(|member| member.id != id));
    }

    /// The end of what it told in this life.
    fn ends_with(&mut self, place: usize, words: &str) -> String {
        self.cluster.ended(place);
        let log = self.cluster.log(place);
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        assert!(last.iter().any(|line| line.contains(words)), "{last:?}");
        last.join("\n")
    }

    /// While the others go on, it answers no linearizable read.
    async fn is_no_ghost(&mut self, place: usize) {
        let client = self.cluster.client_of(&[place]).within(Duration::from_millis(200));
        let wanted = self.trial.writes() + MEANWHILE;
        eventually("the others go on", || async {
            if let Ok(read) = client.get("k/00").await {
                panic!("who was removed serves: {:?}", read.header);
            }
            (self.trial.writes() >= wanted).then_some(())
        })
        .await;
    }

    /// Another than the first leads.
    async fn other_leader(&mut self) -> usize {
        loop {
            let (leader, _) = self.cluster.leader().await;
            if leader != FIRST {
                return leader;
            }
            let members = self.members().await;
            let own = by_url(&members, &self.cluster.members[FIRST].url).unwrap().id;
            let target = members.iter().find(|member| member.id != own && !member.is_learner);
            // The next look tells what became of it.
            if let Err(error) =
                self.cluster.client_of(&[FIRST]).move_leader(target.unwrap().id).await
            {
                println!("not at once: {error}");
            }
        }
    }
}

#[test]
fn members_come_and_go_under_load_and_nobody_comes_back() {
    let round = async |stage: &mut Stage<()>, trial: &Trial, dice: &mut Dice, number: usize| {
        let mut changing = Changing { cluster: &mut stage.cluster, trial, dice };
        match number % 5 {
            0 => changing.add(true).await,
            1 => changing.remove(1, false).await,
            2 => changing.replace(2).await,
            3 => changing.add(false).await,
            _ => {
                let leader = changing.other_leader().await;
                changing.remove(leader, true).await;
            }
        }
    };
    let three = || Some(Stage { cluster: Cluster::start(3), extra: () });
    trials("members", rounds("QUORATE_MEMBER_ROUNDS", 5), three, round);
}
