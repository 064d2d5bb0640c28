//! When a checkpoint is due, and how LMDB is opened.

use std::time::Duration;

use crate::base::limits;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Overlay at which a seal is due, bytes.
    pub seal_bytes: usize,
    /// Rows at scattered places at which a seal is due.
    pub seal_rows: usize,
    /// Age of the oldest merge at which a seal is due.
    pub seal_age: Duration,
    /// Address space of the map, bytes; also the most the database can hold.
    pub map_bytes: u64,
    /// Views at one time, copies included.
    pub readers: u32,
}

impl StoreConfig {
    /// Room for four times the quota: live pages, the copies that a transaction makes, and pages not yet used again.
    pub fn for_quota(quota_bytes: Option<u64>) -> Self {
        let map_bytes = quota_bytes.map_or(0, |bytes| bytes.saturating_mul(4));
        Self { map_bytes: map_bytes.max(limits::DB_MAP_BYTES_MIN), ..Self::default() }
    }

    /// Seals up to a quarter earlier, by a number of the member: members apply the same entries, and those that write
    /// their checkpoints at the same moment are slow at the same moment, when a majority could have gone on.
    pub fn staggered(self, member: u64) -> Self {
        let steps = (member % 64) as usize;
        let earlier = |limit: usize| limit - limit / 256 * steps;
        Self {
            seal_bytes: earlier(self.seal_bytes),
            seal_rows: earlier(self.seal_rows),
            seal_age: self.seal_age - self.seal_age / 256 * (member % 64) as u32,
            ..self
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            seal_bytes: limits::OVERLAY_SEAL_BYTES,
            seal_rows: limits::OVERLAY_SEAL_ROWS,
            seal_age: limits::OVERLAY_SEAL_AGE,
            map_bytes: limits::DB_MAP_BYTES_MIN,
            readers: limits::DB_READERS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_seal_at_different_times_and_none_later_than_the_limits() {
        let limits = StoreConfig::default();
        let [one, two] = [1, 63].map(|member| StoreConfig::default().staggered(member));
        assert!(two.seal_rows < one.seal_rows && one.seal_rows < limits.seal_rows);
        assert!(two.seal_rows > limits.seal_rows * 3 / 4 - 256);
        assert!(two.seal_bytes < one.seal_bytes && two.seal_age < one.seal_age);
    }
}
