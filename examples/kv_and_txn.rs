//! Keys, ranges, leases, and a transaction that counts without losing a step.
//!
//! `cargo run --example kv_and_txn`

mod common;

use std::error::Error;

use quorate::client::{Client, Compare, Put};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = common::connect().await?;

    client.put("example/fruit/apple", "red").await?;
    client.put("example/fruit/plum", "blue").await?;
    let found = client.get("example/fruit/").prefix().await?;
    for kv in &found.kvs {
        println!("{:?} is {:?}, since revision {}", kv.key, kv.value, kv.mod_revision);
    }
    let then = found.header.map_or(0, |header| header.revision);

    // What was overwritten is still there, under its revision.
    client.put("example/fruit/apple", "green").await?;
    let before = client.get("example/fruit/apple").revision(then).await?;
    println!("at revision {then} it was {:?}", before.kvs[0].value);

    // A key that goes when its lease ends.
    let lease = client.lease_grant(60, 0).await?;
    client.put("example/session", "").lease(lease.id).await?;
    client.lease_revoke(lease.id).await?;
    println!("{} keys of the session are left", client.get("example/session").await?.count);

    for _ in 0..3 {
        println!("counted to {}", count(&client, "example/count").await?);
    }
    let gone = client.delete("example/").prefix().await?;
    println!("{} keys deleted", gone.deleted);
    client.close().await;
    Ok(())
}

/// Adds one. Whoever was overtaken reads again: the transaction holds only for the number that was read.
async fn count(client: &Client, key: &'static str) -> Result<u64, Box<dyn Error>> {
    loop {
        let found = client.get(key).await?;
        let (number, revision) = match found.kvs.first() {
            Some(kv) => (std::str::from_utf8(&kv.value)?.parse::<u64>()?, kv.mod_revision),
            None => (0, 0),
        };
        let next = number + 1;
        let step = client
            .txn()
            .when(Compare::mod_revision(key).equals(revision))
            .then(Put::new(key, next.to_string()));
        match step.await {
            Ok(answer) if answer.succeeded => return Ok(next),
            Ok(_) => {}
            // Where it is ambiguous (`error.retry()`) it may have been done, and must not simply be repeated.
            Err(error) => return Err(error.into()),
        }
    }
}
