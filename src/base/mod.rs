//! The ground floor: the words, numbers and limits that every other room uses.
//!
//! Little here does anything: ids and how they are printed, revisions, key ranges, durations, the clock as an argument,
//! every bound of the system with its unit and its reason, and how a long file is written.

mod backoff;
pub mod clock;
#[cfg(feature = "server")]
mod duration;
mod ids;
pub mod limits;
pub mod meter;
mod range;
mod revision;
#[cfg(feature = "server")]
mod sabotage;
mod steady;

pub use backoff::Backoff;
pub use clock::{Clock, Moment, SystemClock};
#[cfg(feature = "server")]
pub use duration::parse_duration;
pub use ids::{ClusterId, Index, LeaseId, MemberId, ParseIdError, RequestId, Term};
pub use range::KeyRange;
pub use revision::Revision;
#[cfg(feature = "server")]
pub use sabotage::Sabotage;
#[cfg(feature = "sabotage")]
pub use sabotage::choose as choose_sabotage;
pub use steady::Steady;
