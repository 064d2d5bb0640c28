//! Ten kinds of stranger at every door of a member that has TLS and users, and at those of real etcds beside it (3.6 and 3.5)
//! that were started with the same words, the same certificates and the same users. What each is told is compared: which alert
//! of TLS, which status and body of HTTP, which code and text of gRPC. Where an answer differs, the difference stands
//! in [`ten::KNOWN`] with its reason, and a line there that is not true any more fails as well.
//!
//! - `house`: one member of whichever program, its doors, and its users.
//! - `knock`: a caller who shows what he likes over TCP, and what he is told.
//! - `ten`: who the strangers are, at which doors each is sent, and what is known to differ.
//! - `open`: those who come without TLS: a name that is none of ours, tokens that say by themselves whose they are.
//! - `members`: strangers at the door of the members, which is QUIC here and HTTP there.
//! - `native`: strangers on our own wire, which no etcd has.
//! - `holes`: what etcd's advisories tell of, each tried.

mod holes;
mod house;
mod knock;
mod members;
mod native;
mod open;
mod ten;
