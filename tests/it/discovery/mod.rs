//! How a cluster finds itself: by DNS, asked of a real server with a zone of the test's own, by lists, and at a discovery
//! service; and founders that are killed meanwhile.

mod article;
mod dns;
mod foreign;
mod founders;
mod joining;
mod kills;
mod lists;
mod nodes;
mod ways;
mod zone;
