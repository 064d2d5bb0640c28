//! etcd's feature gates: but for one, each is answered with what it would have asked for.

use super::keys::Settings;
use super::mistakes::Mistakes;
use super::types::{List, switch};

const COMPARED: &str =
    "members compare their histories at the same revision, whatever was compacted";
/// The one that asks for what there is.
const INITIAL_CHECK: &str = "InitialCorruptCheck";
const RECORDED: &str =
    "leases are recorded always, so that a new leader knows what is left of them";

/// etcd's, 3.6 and 3.7, and why each changes nothing.
const GATES: &[(&str, &str)] = &[
    ("AllAlpha", "each gate is answered by itself"),
    ("AllBeta", "each gate is answered by itself"),
    ("StopGRPCServiceOnDefrag", "a member serves while it is defragmented"),
    ("CompactHashCheck", COMPARED),
    ("TxnModeWriteWithSharedBuffer", "the database is not bbolt, and is written by checkpoints"),
    ("LeaseCheckpoint", RECORDED),
    ("LeaseCheckpointPersist", RECORDED),
    ("SetMemberLocalAddr", "members call from the address that the system chooses"),
    ("FastLeaseKeepAlive", "there is one way to renew a lease"),
    ("PriorityRequest", "what a cluster needs to live is never behind what clients ask"),
];

/// Whether a gate asks for what `initial-corrupt-check` does.
pub(super) fn is_initial_check_on(settings: &Settings) -> bool {
    let gates = settings.feature_gates.0.iter().filter_map(|gate| gate.split_once('='));
    gates.filter(|(name, _)| *name == INITIAL_CHECK).any(|(_, value)| switch(value) == Some(true))
}

pub(super) fn check(gates: &List, mistakes: &mut Mistakes, warnings: &mut Vec<String>) {
    for gate in &gates.0 {
        let (name, value) = gate.split_once('=').unwrap_or((gate, ""));
        let known = GATES.iter().find(|(known, _)| *known == name);
        let is_known = known.is_some() || name == INITIAL_CHECK;
        match known {
            _ if !is_known => {
                mistakes.push(format!("feature-gates: unrecognized feature gate: {name}"))
            }
            _ if switch(value).is_none() => {
                mistakes.push(format!("feature-gates: {gate:?} is no {name}=true or {name}=false"))
            }
            None => {}
            Some((_, why)) => {
                warnings.push(format!("feature-gates: {gate} changes nothing here: {why}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_gate_is_answered_and_another_is_a_mistake() {
        let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
        let list = List::parse(
            "InitialCorruptCheck=true,CompactHashCheck=true,LeaseCheckpoint=yes,Nope=true",
        );
        check(&list, &mut mistakes, &mut warnings);
        assert!(
            warnings.len() == 1 && warnings[0].contains("CompactHashCheck=true changes nothing"),
            "{warnings:?}"
        );
        let told = mistakes.to_string();
        assert!(told.contains("\"LeaseCheckpoint=yes\" is no"), "{told}");
        assert!(told.contains("unrecognized feature gate: Nope"), "{told}");
    }
}
