//! The cluster versions that this binary serves.

use crate::transport::Versions;

/// One so far: 3.6, the API that is spoken.
pub(super) const VERSIONS: Versions = Versions { min: (3, 6), max: (3, 6) };
