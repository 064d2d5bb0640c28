//! stub
use super::shared::Shared;
use crate::base::Moment;
use crate::mvcc::EventBatch;
use crate::storage::Fault;
use std::sync::Arc;
pub(super) enum HubMessage {
    Events(Vec<Arc<EventBatch>>),
    Compacted(i64),
    Restarted { revision: i64, compacted: i64 },
}
pub struct HubTurn {
    shared: Arc<Shared>,
}
pub struct WatchStream {
    shared: Arc<Shared>,
}
impl WatchStream {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}
impl HubTurn {
    pub(super) fn new(shared: Arc<Shared>, _r: i64, _c: i64) -> Self {
        Self { shared }
    }
    pub fn turn(&mut self, _now: Moment) -> Result<bool, Fault> {
        Ok(!self.shared.hub.drain().is_empty())
    }
    pub fn has_work(&self) -> bool {
        false
    }
}
