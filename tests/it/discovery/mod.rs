//! How a cluster finds itself: by DNS, asked of a real server with a zone of the test's own, and by lists.

mod dns;
mod founders;
mod lists;
mod zone;
