//! The tables of the database. What their rows mean is the business of the rooms above.

/// One table, in the overlay and in LMDB alike; the discriminant orders the overlay and names nothing on disk.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// Single facts: applied index, revision, compaction, cluster id, format.
    Meta,
    /// The history in revision order: main | sub (| piece) -> key, meta, value.
    Revisions,
    /// One row per version: escaped key | !main | !sub -> meta.
    Keys,
    /// The count index: first key of a chunk -> live keys in it. Derived, never hashed.
    Counts,
    /// Lease id -> TTL and recorded remaining time.
    Leases,
    /// Lease id | key -> nothing.
    LeaseKeys,
    /// Member id -> member, or the mark that it was removed.
    Members,
    /// Member id | alarm -> nothing.
    Alarms,
    /// The tree of etcd's v2 API: nodes, expiry times, the last events, its index.
    V2,
    /// Users and roles of the v3 API, whether they count, and their revision.
    Auth,
}

impl Table {
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Revisions,
        Self::Keys,
        Self::Counts,
        Self::Leases,
        Self::LeaseKeys,
        Self::Members,
        Self::Alarms,
        Self::V2,
        Self::Auth,
    ];

    /// The name in LMDB; part of the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Revisions => "revisions",
            Self::Keys => "keys",
            Self::Counts => "counts",
            Self::Leases => "leases",
            Self::LeaseKeys => "lease_keys",
            Self::Members => "members",
            Self::Alarms => "alarms",
            Self::V2 => "v2",
            Self::Auth => "auth",
        }
    }

    /// Whether rows only ever grow at the end, so that a checkpoint can append them.
    pub const fn is_append_only(self) -> bool {
        matches!(self, Self::Revisions)
    }
}
