//! Who somebody is, and whom a member believes: certificates, keys, trust and their files.
//!
//! ```text
//!  files ──load──► Keychain ──► server configuration   which certificate is shown, by ALPN; which chains may knock
//!                     │    └──► peer dialler's configuration
//!                     └───────► admit(protocol, doors, chain)   the last word, before a single stream byte is read
//! ```
//!
//! There are two trusts on one port: members are believed under the peer CA and only with a certificate that is good
//! for both ends of a connection; clients under the client CA. No ticket and no session is ever stored, because
//! rustls does not verify a client again when it resumes; 0-RTT is off. [`Keychain::reload`] reads every file again,
//! and the next handshake sees the new ones. The room knows nothing of connections, streams or the cluster's members.
//!
//! A client build has only the dialling half: the halves that need rcgen or a member's files are behind `server`.

#[cfg(feature = "server")]
mod admit;
mod describe;
mod dialler;
mod error;
#[cfg(feature = "server")]
mod keychain;
mod load;
#[cfg(feature = "server")]
pub mod make;
#[cfg(feature = "server")]
mod policy;
mod protocol;
#[cfg(feature = "server")]
mod server;
mod stamp;

#[cfg(feature = "server")]
pub use admit::{Identity, Refusal};
pub use describe::Description;
pub use dialler::{ClientFiles, client_config};
pub use error::Error;
#[cfg(feature = "server")]
pub use keychain::{Doors, Keychain, KeychainFiles, MadeHere, PlaneFiles};
pub use load::certificates;
#[cfg(feature = "server")]
pub use policy::{Suite, TcpPolicy, Version};
pub use protocol::{ALPN_CLIENT, ALPN_PEER, Protocol, Scheme};
pub use stamp::Stamp;
