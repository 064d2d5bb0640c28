//! Bugs that broke real systems, put back one at a time: the checks must find each, and each by the check that is
//! meant for it, while the program without it passes in the very same world.
//!
//! ```text
//!   cases.rs     the bugs: what each stands for, where it lives, which checks may find it; one test each
//!   recorded.rs  the first world that finds each (written by the search)
//!   harm.rs      bugs of what the world itself stands in for: disk, network
//!   stories.rs   worlds that are told what happens, for what chance brings about too seldom
//!   search.rs    SABOTAGE_SEARCH=record cargo test --profile sabotage --features sabotage --test sim sabotage::search
//!   page.rs      the table of docs/testing.md is what is written here
//! ```
//!
//! Bugs of the program itself need the feature `sabotage`; those of the world are tested in every build.

mod cases;
mod harm;
mod page;
mod recorded;
mod search;
mod stories;
mod trial;

pub(crate) use harm::Harm;
