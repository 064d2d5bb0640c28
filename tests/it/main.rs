//! The real program, one module per capability.
