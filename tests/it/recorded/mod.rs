//! Histories of real processes, judged like those of the simulated world.
//!
//! ```text
//!   asking, watching   clients and watchers            -> recorder    notes: asked, answered, heard; one order, one clock
//!   members stop                                       -> truth       the committed log, read from their own logs
//!   committed, verdict notes + log                     -> a history   -> tests/sim's judge
//! ```
//!
//! Reading the log back settles what no client was told, and gives the order, so that nothing is searched (etcd's
//! robustness suite does the same). A log is whole while nothing is trimmed: a trial stays well below a segment.

mod asking;
mod committed;
mod hearing;
mod recorder;
mod tally;
mod trial;
mod truth;
mod verdict;
mod watching;

pub(crate) use tally::Tally;
pub(crate) use trial::Trial;
