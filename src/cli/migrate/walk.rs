//! Both clusters side by side, page by page.

use bytes::Bytes;

use crate::cli::changes::Pages;
use crate::cli::exit::Exit;
use crate::client::Client;
use crate::proto::mvccpb::KeyValue;

use super::destination;
use super::difference::{Difference, differences};
use super::mark;
use super::patience::{Failure, Patience, patiently};
use super::source::{self, Source};

/// etcd's `range_end` for everything.
const ALL: Bytes = Bytes::from_static(b"\0");

pub(super) struct Walk {
    source: Pages,
    /// None while nothing is there.
    destination: Option<Client>,
}

/// A page of the source, and what is otherwise at the destination between its first key and the next page's.
pub(super) struct Met {
    pub kvs: Vec<KeyValue>,
    pub differences: Vec<Difference>,
    /// Keys from here to the end.
    pub left: i64,
}

impl Walk {
    /// The source as it was at `revision`, and the destination as it is; nothing of that is read if it `is_empty`.
    pub(super) fn new(
        source: &Source,
        destination: &Client,
        revision: i64,
        is_empty: bool,
    ) -> Self {
        let source = Pages::new(&source.client, Bytes::new(), ALL, revision);
        Self { source, destination: (!is_empty).then(|| destination.clone()) }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Met>, Failure> {
        let page = patiently(async || self.source.next().await).await.map_err(source::failed)?;
        let Some(page) = page else { return Ok(None) };
        if page.kvs.iter().any(|kv| kv.key == mark::KEY) {
            return Err(Exit::error(format!(
                "the source has key {}: it is the destination of an unfinished migration; finish that first",
                destination::shown(mark::KEY)
            ))
            .into());
        }
        let mut found = Vec::new();
        match &self.destination {
            None => found = differences(&page.kvs, &[]),
            Some(client) => {
                let mut rest = &page.kvs[..];
                let mut here = Pages::new(client, page.from, page.end, 0);
                while let Some(other) =
                    patiently(async || here.next().await).await.map_err(unreadable)?
                {
                    let split = match here.is_over() {
                        true => rest.len(),
                        false => rest.partition_point(|kv| kv.key < other.end),
                    };
                    let (these, behind) = rest.split_at(split);
                    found.extend(differences(these, &other.kvs));
                    rest = behind;
                }
            }
        }
        Ok(Some(Met { kvs: page.kvs, differences: found, left: page.count }))
    }
}

/// Every key at the destination that begins so.
pub(super) async fn all_below(client: &Client, name: &Bytes) -> Result<Vec<KeyValue>, Failure> {
    let end = crate::client::prefix_end(name);
    let mut pages = Pages::new(client, name.clone(), end, 0);
    let mut found = Vec::new();
    let mut patience = Patience::new();
    loop {
        match pages.next().await {
            Ok(Some(page)) => found.extend(page.kvs),
            Ok(None) => return Ok(found),
            Err(error) if patience.bears(&error).await => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

fn unreadable(error: crate::client::Error) -> Failure {
    destination::exit(&error, "read").into()
}
