//! Who this member is in which cluster: decided once, from what is known, and pure.
//!
//! ```text
//!   data directory has an identity           -> Restart (initial-* is ignored)
//!   empty, initial-cluster-state new         -> Found: ids and genesis follow from the roster, equal on every member
//!   empty, initial-cluster-state existing    -> Join: the id is the one that `member add` chose; the rest comes by snapshot
//! ```

use std::net::SocketAddr;

use crate::base::{ClusterId, MemberId};
use crate::proto::etcdserverpb::Member;
use crate::proto::quorate::peer::MembersResponse;
use crate::state::Members;
use crate::storage::DataDir;
use crate::transport::Url;

use super::config::{ClusterState, Roster, RosterMember};
use super::error::Error;

/// Addresses behind a host name; a test has its own.
pub(super) type Resolve<'a> = &'a dyn Fn(&str, u16) -> Vec<SocketAddr>;

/// A member's place in its cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub members: Vec<Member>,
}

/// This member's entry of the roster, whose URLs must be the advertised ones.
pub(super) fn own_entry<'a>(
    roster: &'a Roster,
    name: &str,
    advertised: &[Url],
    resolve: Resolve<'_>,
) -> Result<&'a RosterMember, Error> {
    let own = entry(roster, name)?;
    if same_addresses(&own.peer_urls, advertised, resolve) {
        return Ok(own);
    }
    let (name, roster) = (name.to_owned(), texts(&own.peer_urls).join(","));
    let lost =
        own.peer_urls.iter().chain(advertised).find(|url| resolve(&url.host, url.port).is_empty());
    let advertised = texts(advertised).join(",");
    Err(match lost {
        Some(url) => Error::Unresolved { name, roster, advertised, host: url.host.clone() },
        None => Error::OtherUrls { name, roster, advertised },
    })
}

/// This member's entry of the roster.
pub(super) fn entry<'a>(roster: &'a Roster, name: &str) -> Result<&'a RosterMember, Error> {
    roster.members.iter().find(|member| member.name == name).ok_or_else(|| {
        let found: Vec<&str> = roster.members.iter().map(|member| member.name.as_str()).collect();
        Error::NotInRoster { name: name.to_owned(), found: found.join(", ") }
    })
}

/// Equal as written, or after their names were resolved.
fn same_addresses(left: &[Url], right: &[Url], resolve: Resolve<'_>) -> bool {
    let (mut left, mut right) = (left.to_vec(), right.to_vec());
    left.sort();
    right.sort();
    if left == right {
        return true;
    }
    let resolved = |urls: &[Url]| {
        let mut addresses: Vec<(bool, SocketAddr)> = urls
            .iter()
            .flat_map(|url| {
                let secure = url.scheme == crate::tls::Scheme::Https;
                resolve(&url.host, url.port).into_iter().map(move |address| (secure, address))
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    let (left, right) = (resolved(&left), resolved(&right));
    !left.is_empty() && left == right
}

/// The founding members as the roster and its token make them: the same on every member. Where one's name is not known
/// to all (DNS tells none), none is written: each tells its own when it is there.
pub(super) fn found(roster: &Roster, own: &RosterMember) -> Place {
    let names_are_known = roster.members.iter().all(|entry| !entry.name.is_empty());
    let name_of = |entry: &RosterMember| match names_are_known {
        true => entry.name.clone(),
        false => String::new(),
    };
    let mut members: Vec<Member> = roster
        .members
        .iter()
        .map(|entry| Member {
            id: id_of(entry, &roster.token).0,
            name: name_of(entry),
            peer_ur_ls: texts(&entry.peer_urls),
            ..Member::default()
        })
        .collect();
    members.sort_unstable_by_key(|member| member.id);
    let ids: Vec<MemberId> = members.iter().map(|member| MemberId(member.id)).collect();
    Place { cluster: ClusterId::from_members(&ids), member: id_of(own, &roster.token), members }
}

fn id_of(entry: &RosterMember, token: &str) -> MemberId {
    MemberId::from_peer_urls(&texts(&entry.peer_urls), token, None)
}

/// Refuses a data directory that the roster is not about. Who restarts is told by its directory who it is, and the
/// roster may have aged since; but one that founds another member that the cluster knows, or another cluster at
/// another address, is a mix-up.
pub(super) fn check_directory(
    dir: &DataDir,
    members: &Members,
    roster: &Roster,
    name: &str,
) -> Result<(), Error> {
    let (Some(identity), false) = (dir.identity(), members.is_empty()) else { return Ok(()) };
    let own = roster.members.iter().find(|entry| entry.name == name);
    let (Some(own), ClusterState::New) = (own, roster.state) else { return Ok(()) };
    let place = found(roster, own);
    if place.member == identity.member {
        return Ok(());
    }
    let is_another_member = members.member(place.member).is_some();
    let is_known = |member: &Member| {
        let id = MemberId(member.id);
        members.member(id).is_some() || members.is_removed(id)
    };
    let has_moved = members
        .member(identity.member)
        .is_some_and(|member| member.peer_ur_ls != texts(&own.peer_urls));
    let is_another_cluster = has_moved && !place.members.iter().any(is_known);
    if is_another_member || is_another_cluster {
        dir.check(place.cluster, place.member)?;
    }
    Ok(())
}

/// Refuses to found a member that somebody else has seen serving: its data directory was lost; or one whose cluster
/// runs without it.
pub(super) fn check_not_bootstrapped(place: &Place, told: &MembersResponse) -> Result<(), Error> {
    let known = told.members.iter().find(|member| member.id == place.member.0);
    let is_ours = ClusterId(told.cluster_id) == place.cluster && !told.members.is_empty();
    match known {
        None if is_ours => {
            Err(Error::NoMemberAnyMore { member: place.member, cluster: place.cluster })
        }
        Some(member) if !member.client_ur_ls.is_empty() => {
            Err(Error::AlreadyBootstrapped { member: place.member })
        }
        _ => Ok(()),
    }
}

/// A joining member's place, as a running member told it.
pub(super) fn join(
    roster: &Roster,
    own: &RosterMember,
    told: &MembersResponse,
    resolve: Resolve<'_>,
) -> Result<Place, Error> {
    let cluster = ClusterId(told.cluster_id);
    let urls_of = |member: &Member| -> Vec<Url> {
        member.peer_ur_ls.iter().filter_map(|url| url.parse().ok()).collect()
    };
    if told.members.len() != roster.members.len() {
        let names: Vec<String> = told.members.iter().map(describe).collect();
        return Err(Error::UnequalCount {
            roster: roster.members.len(),
            found: told.members.len(),
            cluster,
            names: names.join(", "),
        });
    }
    let mut member = None;
    for entry in &roster.members {
        let found = told
            .members
            .iter()
            .find(|known| same_addresses(&entry.peer_urls, &urls_of(known), resolve))
            .ok_or_else(|| Error::NotAMember {
                name: match entry.name.as_str() {
                    "" => "NAME".to_owned(),
                    name => name.to_owned(),
                },
                urls: texts(&entry.peer_urls).join(","),
                cluster,
            })?;
        if entry.name == own.name {
            member = Some(MemberId(found.id));
        }
    }
    let member = member.ok_or_else(|| Error::NotInRoster {
        name: own.name.clone(),
        found: "others only".to_owned(),
    })?;
    Ok(Place { cluster, member, members: told.members.clone() })
}

fn describe(member: &Member) -> String {
    let name = if member.name.is_empty() { "unstarted" } else { &member.name };
    format!("{name}={}", member.peer_ur_ls.join(","))
}

pub(super) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(entries: &[(&str, &str)], state: ClusterState) -> Roster {
        let members = entries
            .iter()
            .map(|(name, url)| RosterMember {
                name: (*name).to_owned(),
                peer_urls: vec![url.parse().unwrap()],
            })
            .collect();
        Roster { members, token: "etcd-cluster".to_owned(), state }
    }

    fn no_dns(_: &str, _: u16) -> Vec<SocketAddr> {
        Vec::new()
    }

    #[test]
    fn founding_gives_etcds_well_known_ids() {
        let roster = roster(&[("default", "http://localhost:2380")], ClusterState::New);
        let advertised = ["http://localhost:2380".parse().unwrap()];
        let own = own_entry(&roster, "default", &advertised, &no_dns).unwrap();
        let place = found(&roster, own);
        assert_eq!(place.member.to_string(), "8e9e05c52164694d");
        assert_eq!(place.cluster.to_string(), "cdf818194e3a8c32");
        assert_eq!(place.members[0].name, "default");
    }

    #[test]
    fn every_member_founds_the_same_cluster() {
        let forward = roster(&[("a", "https://h:1"), ("b", "https://h:2")], ClusterState::New);
        let backward = roster(&[("b", "https://h:2"), ("a", "https://h:1")], ClusterState::New);
        let (of_a, of_b) =
            (found(&forward, &forward.members[0]), found(&backward, &backward.members[0]));
        assert_eq!((of_a.cluster, &of_a.members), (of_b.cluster, &of_b.members));
        assert_ne!(of_a.member, of_b.member);
    }

    #[test]
    fn who_knows_only_its_own_name_founds_what_the_others_found() {
        let seen_by_a = roster(&[("a", "https://h:1"), ("", "https://h:2")], ClusterState::New);
        let seen_by_b = roster(&[("", "https://h:1"), ("b", "https://h:2")], ClusterState::New);
        let of_a = found(&seen_by_a, entry(&seen_by_a, "a").unwrap());
        let of_b = found(&seen_by_b, entry(&seen_by_b, "b").unwrap());
        assert_eq!((of_a.cluster, of_a.members), (of_b.cluster, of_b.members));
        assert_ne!(of_a.member, of_b.member);
    }

    #[test]
    fn a_roster_that_does_not_fit_says_so() {
        let roster = roster(&[("a", "https://h:1"), ("b", "https://h:2")], ClusterState::New);
        let told = |name: &str, url: &str| {
            own_entry(&roster, name, &[url.parse().unwrap()], &no_dns).unwrap_err().to_string()
        };
        let said = told("c", "https://h:1");
        assert!(
            said.starts_with("couldn't find local name \"c\" in the initial cluster configuration")
        );
        assert!(said.contains("names a, b"), "{said}");
        let said = told("a", "https://h:9");
        assert!(
            said.contains("initial-cluster has a=https://h:1") && said.contains("h has no address"),
            "{said}"
        );
    }

    #[test]
    fn names_and_addresses_may_mean_the_same() {
        let roster = roster(&[("a", "https://node-a:1")], ClusterState::New);
        let dns = |host: &str, port: u16| match host {
            "node-a" | "10.0.0.1" => vec![SocketAddr::from(([10, 0, 0, 1], port))],
            _ => Vec::new(),
        };
        let fits = |url: &str| own_entry(&roster, "a", &[url.parse().unwrap()], &dns).is_ok();
        assert!(fits("https://10.0.0.1:1"));
        assert!(!fits("http://10.0.0.1:1"));
        assert!(!fits("https://10.0.0.2:1"));
    }

    #[test]
    fn who_joins_takes_over_the_ids_that_are_there() {
        let roster = roster(&[("a", "https://h:1"), ("b", "https://h:2")], ClusterState::Existing);
        let known =
            |id, url: &str| Member { id, peer_ur_ls: vec![url.to_owned()], ..Member::default() };
        let told = MembersResponse {
            cluster_id: 7,
            members: vec![known(10, "https://h:1"), known(11, "https://h:2")],
        };
        let place = join(&roster, &roster.members[1], &told, &no_dns).unwrap();
        assert_eq!((place.cluster, place.member), (ClusterId(7), MemberId(11)));

        let fewer = MembersResponse { members: vec![known(10, "https://h:1")], cluster_id: 7 };
        let said = join(&roster, &roster.members[1], &fewer, &no_dns).unwrap_err().to_string();
        assert!(said.starts_with("member count is unequal"), "{said}");
        let other = MembersResponse {
            members: vec![known(10, "https://h:1"), known(11, "https://h:9")],
            cluster_id: 7,
        };
        let said = join(&roster, &roster.members[1], &other, &no_dns).unwrap_err().to_string();
        assert!(said.contains("member add b --peer-urls=https://h:2"), "{said}");
    }

    #[test]
    fn a_member_that_was_seen_serving_is_not_founded_again() {
        let roster = roster(&[("a", "https://h:1"), ("b", "https://h:2")], ClusterState::New);
        let place = found(&roster, &roster.members[0]);
        let check = |members| {
            check_not_bootstrapped(&place, &MembersResponse { cluster_id: 7, members }).is_ok()
        };
        let started = place.members.iter().map(|member| Member {
            client_ur_ls: vec!["https://h:1".to_owned()],
            ..member.clone()
        });
        assert!(!check(started.collect()));
        let others = vec![place.members[0].clone(), Member { id: 5, ..Member::default() }];
        let others: Vec<Member> =
            others.into_iter().filter(|member| member.id != place.member.0).collect();
        let told = MembersResponse { cluster_id: place.cluster.0, members: others.clone() };
        let said = check_not_bootstrapped(&place, &told).unwrap_err().to_string();
        assert!(said.contains("does not belong to cluster"), "{said}");
        assert!(check(others), "of another cluster");
        assert!(check(place.members.clone()));
    }
}
