//! Downgrade: there is no older version of ours, so a cluster is never on its way to one. What can be said of the request
//! alone is said as etcd says it.

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use crate::proto::{Code, Method, Retry, Status};

use crate::api::status;

/// Only a cancel can be answered: nothing is under way, as it asks.
pub(super) fn check(request: &pb::DowngradeRequest, version: &str) -> Result<(), Status> {
    match DowngradeAction::try_from(request.action) {
        Ok(DowngradeAction::Cancel) => return Ok(()),
        Ok(DowngradeAction::Validate | DowngradeAction::Enable) => {}
        Err(_) => {
            return Err(Status::new(Code::Unknown, "etcdserver: unknown method", Retry::Never));
        }
    }
    let refused = |text: &str| Status::new(Code::InvalidArgument, text, Retry::Never);
    let wrong = || refused("etcdserver: wrong downgrade target version format");
    let (major, minor) = parsed(&request.version)
        .or_else(|| parsed(&format!("{}.0", request.version)))
        .ok_or_else(wrong)?;
    // One minor version down is all that etcd goes.
    if parsed(version).map(|(major, minor)| (major, minor - 1)) != Some((major, minor)) {
        return Err(refused("etcdserver: invalid downgrade target version"));
    }
    Err(status::not_served(Method::Downgrade))
}

/// "X.Y" of "X.Y.Z".
pub(super) fn cluster_version(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(cluster, _)| cluster)
}

/// The first two numbers of three, as etcd's parser takes them; what stands behind the third does not matter.
fn parsed(version: &str) -> Option<(i64, i64)> {
    let version = version.split(['+', '-']).next()?;
    let numbers: Option<Vec<i64>> = version.split('.').map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [major, minor, _] => Some((major, minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_version_down_is_a_version_to_go_to() {
        let said = |version: &str| {
            let request = pb::DowngradeRequest { version: version.to_owned(), action: 0 };
            check(&request, "3.6.0").unwrap_err().to_string()
        };
        for version in ["", "3", "x.y", "3.5.1.1", "v3.5.0", "3.5.x"] {
            assert!(said(version).ends_with("wrong downgrade target version format"), "{version}");
        }
        for version in ["3.4.0", "3.6", "3.7.1", "4.5.0", "2.5", "3.9223372036854775807"] {
            assert!(said(version).ends_with("invalid downgrade target version"), "{version}");
        }
        for version in ["3.5", "3.5.9", "3.5.0-alpha", "03.5"] {
            assert!(said(version).starts_with("Unimplemented"), "{version}");
        }
        assert_eq!(cluster_version("3.6.0"), "3.6");
    }
}
