//! Behaviour as transcripts, and files that must equal what they are generated from.

mod generated;
