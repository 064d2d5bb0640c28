//! How a cluster finds itself: by DNS, asked of a real server with a zone of the test's own, by lists, and at a discovery
//! service; founders that are killed meanwhile; and the service itself, at which real etcds meet, too.

mod article;
mod dns;
mod etcds;
mod foreign;
mod founders;
mod joining;
mod kills;
mod lists;
mod machines;
mod nodes;
mod onlookers;
mod service;
mod strangers;
mod ways;
mod zone;
