//! The words of the store: a key with its value, one version of a key, and what changed.

use bytes::Bytes;

use crate::base::{LeaseId, Revision};

/// A key as a client sees it at one revision.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyValue {
    pub key: Bytes,
    /// Main revision of the put that made the key live.
    pub create_revision: i64,
    /// Main revision of the last change.
    pub mod_revision: i64,
    /// Puts since creation, from 1.
    pub version: i64,
    pub value: Bytes,
    /// The lease that holds the key, or 0.
    pub lease: LeaseId,
}

/// One live version of a key as the index knows it: everything but the value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    pub key: Bytes,
    pub revision: Revision,
    pub create_revision: i64,
    pub version: i64,
    pub lease: LeaseId,
    /// Length of the value, bytes.
    pub value_bytes: u32,
}

impl Version {
    /// The key with `value`; an empty one when only the key was asked for.
    pub fn with_value(&self, value: Bytes) -> KeyValue {
        KeyValue {
            key: self.key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.revision.main,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    Put,
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    /// Of a delete: key and `mod_revision` only.
    pub kv: KeyValue,
    /// The live version that this change replaced; [`value_at`](super::value_at) reads it until it is compacted.
    pub prev: Option<Revision>,
}

/// Every change of one main revision, in `sub` order; never split.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventBatch {
    pub revision: i64,
    pub events: Vec<Event>,
}
