//! Users, roles and permissions of the v3 API: who may do what, once it is enabled.
//!
//! ```text
//!   store    Auth: all users and roles, whether they count, and their revision; rows of table auth
//!   change   what a change makes of it: etcd's rules, and its errors
//!   spans    the keys that a user may read or write: the union of what its roles permit
//!   permit   whether who asks may do what a request says and what follows from it
//! ```
//!
//! The revision grows with every change. Who asks is a name and the revision at which it was believed; an entry carries
//! both, and what a revoked permission or a changed password made stale is refused when it is applied. Passwords come
//! hashed. Knows nothing of: tokens, certificates, how a password is compared.

mod change;
mod permit;
mod spans;
mod store;

pub(super) use change::change;
pub use permit::{Asker, LeaseKeys};
pub use store::{Auth, AuthNote, ROOT, User};
