//! What must hold after every step, one file each.

mod acked_survives;
mod applied_monotonic;
mod committed_immutable;
mod committed_on_quorum_disks;
mod counts_equal_walk;
mod election_safety;
mod leader_completeness;
mod lease_never_early;
mod log_matching;
mod membership_agrees;
mod revision_monotonic;
mod state_agreement;
mod watch_gapless;

pub(crate) use acked_survives::acked_survives;
pub(crate) use applied_monotonic::AppliedMonotonic;
pub(crate) use committed_immutable::CommittedImmutable;
pub(crate) use committed_on_quorum_disks::CommittedOnQuorumDisks;
pub(crate) use counts_equal_walk::counts_equal_walk;
pub(crate) use election_safety::ElectionSafety;
pub(crate) use leader_completeness::LeaderCompleteness;
pub(crate) use lease_never_early::LeaseNeverEarly;
pub(crate) use log_matching::LogMatching;
pub(crate) use membership_agrees::MembershipAgrees;
pub(crate) use revision_monotonic::RevisionMonotonic;
pub(crate) use state_agreement::StateAgreement;
pub(crate) use watch_gapless::WatchGapless;
