//! One at a time: a lock with a fencing token, and an election that an observer follows.
//!
//! `cargo run --example lock_and_election`, in several terminals at once.

mod common;

use std::error::Error;
use std::time::Duration;

use quorate::client::{Election, Mutex, Put, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = common::connect().await?;
    // If we vanish, others wait 10 seconds for us.
    let session = Session::start(&client, 10).await?;

    println!("waiting for the lock");
    let held = Mutex::new(&session, "example-lock").lock().await?;
    println!("we hold it with the token {}", held.create_revision());
    tokio::select! {
        // Somebody else may hold it from now on: stop at once.
        error = held.lost() => return Err(error.into()),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    // A write that happens only if we hold the lock when it happens.
    let guarded = client.txn().when(held.is_held()).then(Put::new("example-guarded", "by us"));
    println!("written while we held it: {}", guarded.await?.succeeded);
    held.unlock().await?;

    let election = Election::new(&client, "example-election");
    let mut observer = election.observe();
    let watching = tokio::spawn(async move {
        while let Ok(leader) = observer.next().await {
            println!("the leader says {:?}", leader.kv.value);
        }
    });
    println!("campaigning");
    let mut leadership =
        election.campaign(&session, format!("process {}", std::process::id())).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    leadership.proclaim("goodbye").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    leadership.resign().await?;
    watching.abort();

    session.close().await?;
    client.close().await;
    Ok(())
}
