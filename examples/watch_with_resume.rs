//! A copy of a prefix that follows every change: read once, watch from there, read again if history is gone.
//!
//! `cargo run --example watch_with_resume`. Then change something: `quorate put example/a 1`. Lost connections and killed
//! members need no code: the watcher resumes behind the last event it handed out.

mod common;

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use quorate::client::mvccpb::event::EventType;
use quorate::client::{self, Client};

const PREFIX: &str = "example/";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = common::connect().await?;
    let mut copy = BTreeMap::new();
    loop {
        let start = read(&client, &mut copy).await?;
        println!("{} keys; watching from revision {start}", copy.len());
        match follow(&client, &mut copy, start).await {
            // We were away for too long, and what happened meanwhile was compacted.
            client::Error::Compacted { compact_revision } => {
                println!("history before {compact_revision} is gone: reading again");
            }
            error => return Err(error.into()),
        }
    }
}

/// Everything there is now; the revision from which on changes are news.
async fn read(client: &Client, copy: &mut BTreeMap<Bytes, Bytes>) -> Result<i64, client::Error> {
    let found = client.get(PREFIX).prefix().await?;
    *copy = found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    Ok(found.header.map_or(0, |header| header.revision) + 1)
}

/// Every change, until the watch cannot go on.
async fn follow(client: &Client, copy: &mut BTreeMap<Bytes, Bytes>, start: i64) -> client::Error {
    let mut watcher = match client.watch(PREFIX).prefix().start_revision(start).await {
        Ok(watcher) => watcher,
        Err(error) => return error,
    };
    loop {
        let response = match watcher.next().await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return error,
            None => return client::Error::Closed,
        };
        // All events of one revision are in one response.
        for event in response.events {
            let is_deletion = event.r#type() == EventType::Delete;
            let Some(kv) = event.kv else { continue };
            println!("{} {:?} {:?}", if is_deletion { "-" } else { "+" }, kv.key, kv.value);
            match is_deletion {
                true => copy.remove(&kv.key),
                false => copy.insert(kv.key, kv.value),
            };
        }
    }
}
