//! The one binary. Everything it does is in the library's rooms.

fn main() {}
