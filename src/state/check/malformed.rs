//! What is wrong with a request.

use crate::base::limits;

/// A request that can never mean anything, whatever the state. The texts are etcd's where it has one; every variant
/// is InvalidArgument on the wire, but `LeaseTtlTooLarge`, which is OutOfRange.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// An operation of a transaction without a request in it: etcd says it like this.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: given member URLs are invalid")]
    MemberBadUrls,
    /// Ours: etcd has no such limit.
    #[error(
        "quorate: key is too long: {bytes} bytes when escaped, at most {max} (a zero byte counts twice, and the end two)",
        max = limits::KEY_ESCAPED_BYTES_MAX
    )]
    KeyTooLong { bytes: usize },
    /// Ours: etcd is bounded by the number of operations alone.
    #[error(
        "quorate: too many transactions inside each other, at most {max}",
        max = limits::TXN_DEPTH_MAX
    )]
    TxnTooDeep,
}
