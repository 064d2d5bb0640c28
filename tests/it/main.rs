//! The real program, one module per capability.

mod native;
