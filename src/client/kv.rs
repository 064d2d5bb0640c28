//! Builders of key-value requests: awaited on a client, or put into a transaction.
//!
//! ```text
//!   client.put(key, value).lease(id).await           bound to a client: awaits to the response
//!   client.txn().when(Compare::version(key).equals(0))
//!         .then(Put::new(key, value))                not bound: becomes an operation
//!         .otherwise(Get::new(key)).await
//! ```

use std::future::IntoFuture;
use std::pin::Pin;

use bytes::Bytes;

use super::{Client, Error};
use crate::base::KeyRange;
use crate::proto::etcdserverpb as pb;
pub use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};

/// A call on its way.
pub type Calling<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Op(pb::RequestOp);

impl From<Op> for pb::RequestOp {
    fn from(op: Op) -> Self {
        op.0
    }
}

/// etcd's `range_end` for every key that begins with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    KeyRange::prefix_end(prefix).unwrap_or_else(|| Bytes::from_static(b"\0"))
}

/// The empty prefix begins at the smallest key, because no key is empty.
fn prefix_start(prefix: Bytes) -> Bytes {
    if prefix.is_empty() { Bytes::from_static(b"\0") } else { prefix }
}

macro_rules! builder {
    ($(#[$doc:meta])* $name:ident, $request:ident, $response:ident, $op:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "nothing happens until it is awaited or put into a transaction"]
        pub struct $name<C = ()> {
            client: C,
            request: pb::$request,
        }

        impl<C> From<$name<C>> for pb::$request {
            fn from(builder: $name<C>) -> Self {
                builder.request
            }
        }

        impl<C> From<$name<C>> for Op {
            fn from(builder: $name<C>) -> Self {
                Self(pb::RequestOp {
                    request: Some(pb::request_op::Request::$op(builder.request)),
                })
            }
        }

        impl<'c> IntoFuture for $name<&'c Client> {
            type Output = Result<pb::$response, Error>;
            type IntoFuture = Calling<'c, pb::$response>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.client.send(self.request))
            }
        }
    };
}

macro_rules! ranged {
    ($($name:ident)*) => {
        $(impl<C> $name<C> {
            /// Every key that begins with the key given; all keys, if that is empty.
            pub fn prefix(mut self) -> Self {
                self.request.range_end = prefix_end(&self.request.key);
                self.request.key = prefix_start(self.request.key);
                self
            }

            /// Keys up to `end`, not included.
            pub fn range(mut self, end: impl Into<Bytes>) -> Self {
                self.request.range_end = end.into();
                self
            }

            /// The key given and every key after it.
            pub fn from_key(mut self) -> Self {
                self.request.range_end = Bytes::from_static(b"\0");
                self.request.key = prefix_start(self.request.key);
                self
            }
        })*
    };
}

builder! {
    /// Reads a key or a range of keys.
    Get, RangeRequest, RangeResponse, RequestRange
}
builder! {
    /// Writes a key.
    Put, PutRequest, PutResponse, RequestPut
}
builder! {
    /// Deletes a key or a range of keys.
    Delete, DeleteRangeRequest, DeleteRangeResponse, RequestDeleteRange
}
builder! {
    /// Compares, and then does one of two lists of operations, all at one revision.
    Txn, TxnRequest, TxnResponse, RequestTxn
}

ranged! { Get Delete }

impl Get {
    /// Of one key; [`Get::prefix`] and its like make it a range.
    pub fn new(key: impl Into<Bytes>) -> Self {
        Self { client: (), request: pb::RangeRequest { key: key.into(), ..Default::default() } }
    }
}

impl<C> Get<C> {
    /// At most so many keys; 0 is no limit.
    pub fn limit(mut self, keys: i64) -> Self {
        self.request.limit = keys;
        self
    }

    /// As the store was at `revision`; 0 is now.
    pub fn revision(mut self, revision: i64) -> Self {
        self.request.revision = revision;
        self
    }

    /// Sorted by this field; without it, and with an order of `None`, by key.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.request.set_sort_target(target);
        self.request.set_sort_order(order);
        self
    }

    /// What the asked member has now, without asking the others: fast, and maybe stale.
    pub fn serializable(mut self) -> Self {
        self.request.serializable = true;
        self
    }

    /// Without values.
    pub fn keys_only(mut self) -> Self {
        self.request.keys_only = true;
        self
    }

    /// Only how many there are.
    pub fn count_only(mut self) -> Self {
        self.request.count_only = true;
        self
    }

    /// Only keys last changed at `min` or later and at `max` or earlier; 0 is no bound.
    pub fn mod_revisions(mut self, min: i64, max: i64) -> Self {
        self.request.min_mod_revision = min;
        self.request.max_mod_revision = max;
        self
    }

    /// Only keys created at `min` or later and at `max` or earlier; 0 is no bound.
    pub fn create_revisions(mut self, min: i64, max: i64) -> Self {
        self.request.min_create_revision = min;
        self.request.max_create_revision = max;
        self
    }
}

impl Put {
    /// Of one key.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let request = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        Self { client: (), request }
    }
}

impl<C> Put<C> {
    /// The key is deleted when this lease ends; 0 is no lease.
    pub fn lease(mut self, id: i64) -> Self {
        self.request.lease = id;
        self
    }

    /// The answer brings what was there before.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Keeps the value that is there; the value given must be empty.
    pub fn ignore_value(mut self) -> Self {
        self.request.ignore_value = true;
        self
    }

    /// Keeps the lease that is there.
    pub fn ignore_lease(mut self) -> Self {
        self.request.ignore_lease = true;
        self
    }
}

impl Delete {
    /// Of one key; [`Delete::prefix`] and its like make it a range.
    pub fn new(key: impl Into<Bytes>) -> Self {
        let request = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
        Self { client: (), request }
    }
}

impl<C> Delete<C> {
    /// The answer brings what was there before.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }
}

impl Txn {
    /// One without a condition, for another transaction to contain.
    pub fn new() -> Self {
        Self { client: (), request: pb::TxnRequest::default() }
    }
}

impl Default for Txn {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Txn<C> {
    /// One more condition; all must hold.
    pub fn when(mut self, compare: impl Into<pb::Compare>) -> Self {
        self.request.compare.push(compare.into());
        self
    }

    /// One more operation for when all conditions hold.
    pub fn then(mut self, op: impl Into<Op>) -> Self {
        self.request.success.push(op.into().0);
        self
    }

    /// One more operation for when a condition does not hold.
    pub fn otherwise(mut self, op: impl Into<Op>) -> Self {
        self.request.failure.push(op.into().0);
        self
    }
}

/// One condition of a transaction. A key that does not exist has all numbers 0, and no comparison with its value
/// holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare(pb::Compare);

/// A comparison that still needs its right side.
#[derive(Clone, Debug)]
#[must_use = "a comparison needs its right side"]
pub struct Comparing<T> {
    key: Bytes,
    union: fn(T) -> pb::compare::TargetUnion,
    target: pb::compare::CompareTarget,
}

impl Compare {
    /// The key's value, byte by byte.
    pub fn value(key: impl Into<Bytes>) -> Comparing<Bytes> {
        comparing(key, pb::compare::CompareTarget::Value, pb::compare::TargetUnion::Value)
    }

    /// Changes since the key's creation; 0 for a key that does not exist.
    pub fn version(key: impl Into<Bytes>) -> Comparing<i64> {
        comparing(key, pb::compare::CompareTarget::Version, pb::compare::TargetUnion::Version)
    }

    /// The revision at which the key was created.
    pub fn create_revision(key: impl Into<Bytes>) -> Comparing<i64> {
        comparing(key, pb::compare::CompareTarget::Create, pb::compare::TargetUnion::CreateRevision)
    }

    /// The revision at which the key was changed last.
    pub fn mod_revision(key: impl Into<Bytes>) -> Comparing<i64> {
        comparing(key, pb::compare::CompareTarget::Mod, pb::compare::TargetUnion::ModRevision)
    }

    /// The id of the lease that the key is attached to; 0 for none.
    pub fn lease(key: impl Into<Bytes>) -> Comparing<i64> {
        comparing(key, pb::compare::CompareTarget::Lease, pb::compare::TargetUnion::Lease)
    }

    /// Every key that begins with the key given must satisfy it.
    pub fn prefix(mut self) -> Self {
        self.0.range_end = prefix_end(&self.0.key);
        self.0.key = prefix_start(self.0.key);
        self
    }

    /// Every key up to `end`, not included, must satisfy it.
    pub fn range(mut self, end: impl Into<Bytes>) -> Self {
        self.0.range_end = end.into();
        self
    }
}

impl From<Compare> for pb::Compare {
    fn from(compare: Compare) -> Self {
        compare.0
    }
}

fn comparing<T>(
    key: impl Into<Bytes>,
    target: pb::compare::CompareTarget,
    union: fn(T) -> pb::compare::TargetUnion,
) -> Comparing<T> {
    Comparing { key: key.into(), union, target }
}

impl<T> Comparing<T> {
    /// It is `right`.
    pub fn equals(self, right: impl Into<T>) -> Compare {
        self.with(pb::compare::CompareResult::Equal, right)
    }

    /// It is not `right`.
    pub fn differs(self, right: impl Into<T>) -> Compare {
        self.with(pb::compare::CompareResult::NotEqual, right)
    }

    /// It is greater than `right`.
    pub fn greater(self, right: impl Into<T>) -> Compare {
        self.with(pb::compare::CompareResult::Greater, right)
    }

    /// It is less than `right`.
    pub fn less(self, right: impl Into<T>) -> Compare {
        self.with(pb::compare::CompareResult::Less, right)
    }

    fn with(self, result: pb::compare::CompareResult, right: impl Into<T>) -> Compare {
        Compare(pb::Compare {
            result: result.into(),
            target: self.target.into(),
            key: self.key,
            range_end: Bytes::new(),
            target_union: Some((self.union)(right.into())),
        })
    }
}

impl Client {
    /// Reads a key, or a range of keys: linearizable, unless [`Get::serializable`] is said.
    ///
    /// ```no_run
    /// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
    /// let page = client.get("user/").prefix().limit(100).await?;
    /// for kv in &page.kvs {
    ///     println!("{:?} = {:?}, changed at revision {}", kv.key, kv.value, kv.mod_revision);
    /// }
    /// println!("{} in all, more of them: {}", page.count, page.more);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, key: impl Into<Bytes>) -> Get<&Self> {
        Get { client: self, request: Get::new(key).request }
    }

    /// Writes a key.
    ///
    /// ```no_run
    /// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
    /// let lease = client.lease_grant(30, 0).await?.id;
    /// let answer = client.put("node/7", "10.0.0.7").lease(lease).prev_kv().await?;
    /// println!("before: {:?}", answer.prev_kv.map(|kv| kv.value));
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put<&Self> {
        Put { client: self, request: Put::new(key, value).request }
    }

    /// Deletes a key, or a range of keys; the answer says how many there were.
    pub fn delete(&self, key: impl Into<Bytes>) -> Delete<&Self> {
        Delete { client: self, request: Delete::new(key).request }
    }

    /// Compares, and then does one of two lists of operations, all at one revision.
    ///
    /// ```no_run
    /// # async fn example(client: quorate::client::Client) -> Result<(), quorate::client::Error> {
    /// use quorate::client::{Compare, Get, Put};
    ///
    /// // Only the first one creates it; everybody else reads what it wrote.
    /// let answer = client
    ///     .txn()
    ///     .when(Compare::version("config").equals(0))
    ///     .then(Put::new("config", "mine"))
    ///     .otherwise(Get::new("config"))
    ///     .await?;
    /// println!("created: {}", answer.succeeded);
    /// # Ok(())
    /// # }
    /// ```
    pub fn txn(&self) -> Txn<&Self> {
        Txn { client: self, request: pb::TxnRequest::default() }
    }

    /// Forgets what was overwritten or deleted before `revision`. With `physical` the answer comes when the rows are
    /// gone from the asked member's disk.
    pub async fn compact(
        &self,
        revision: i64,
        physical: bool,
    ) -> Result<pb::CompactionResponse, Error> {
        self.send(pb::CompactionRequest { revision, physical }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_etcd_reads_them() {
        let of = |get: Get| (get.request.key, get.request.range_end);
        assert_eq!(of(Get::new("a")), ("a".into(), "".into()));
        assert_eq!(of(Get::new("a").prefix()), ("a".into(), "b".into()));
        assert_eq!(of(Get::new("").prefix()), ("\0".into(), "\0".into()));
        assert_eq!(of(Get::new(&b"\xff\xff"[..]).prefix()), (b"\xff\xff"[..].into(), "\0".into()));
        assert_eq!(of(Get::new("a").from_key()), ("a".into(), "\0".into()));
        assert_eq!(of(Get::new("").from_key()), ("\0".into(), "\0".into()));
        assert_eq!(of(Get::new("a").range("c")), ("a".into(), "c".into()));
    }

    #[test]
    fn a_transaction_is_built_in_the_order_it_is_written() {
        let txn: pb::TxnRequest = Txn::new()
            .when(Compare::version("lock").equals(0))
            .when(Compare::value("owner").differs("me"))
            .then(Put::new("lock", "me").lease(7))
            .then(Get::new("lock").prefix())
            .otherwise(Delete::new("lock"))
            .otherwise(Txn::new().then(Get::new("x")))
            .into();
        assert_eq!(txn.compare.len(), 2);
        assert_eq!(txn.compare[0].target_union, Some(pb::compare::TargetUnion::Version(0)));
        assert_eq!(txn.compare[1].result(), pb::compare::CompareResult::NotEqual);
        assert!(matches!(
            &txn.success[0].request,
            Some(pb::request_op::Request::RequestPut(put)) if put.lease == 7 && put.value == "me"
        ));
        assert!(matches!(&txn.failure[1].request, Some(pb::request_op::Request::RequestTxn(_))));
    }
}
