//! What programs in Rust do with etcd every day, by etcd-client, against a cluster of three with TLS.
//!
//! `everyday ENDPOINTS CACERT CERT KEY`; the last line is `ok`.

use std::error::Error;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions,
    EventType, GetOptions, GetResponse, Identity, LeaseTimeToLiveOptions, LockOptions,
    ProclaimOptions, PutOptions, ResignOptions, SortOrder, SortTarget, TlsOptions, Txn, TxnOp,
    TxnOpResponse, WatchOptions, WatchStream,
};
use tokio::time::timeout;

type Done = Result<(), Box<dyn Error>>;

/// Longest time for anything that should happen soon: the machines that run this are busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, cacert, cert, key] = words.as_slice() else {
        return Err("usage: everyday ENDPOINTS CACERT CERT KEY".into());
    };
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(std::fs::read(cacert)?))
        .identity(Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?));
    let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(PATIENCE);
    let endpoints: Vec<String> =
        endpoints.split(',').map(|endpoint| format!("https://{endpoint}")).collect();

    let mut client = Client::connect(&endpoints, Some(options.clone())).await?;
    keys(&mut client).await?;
    println!("keys");
    transactions(&mut client).await?;
    println!("transactions");
    let settle = async || -> Done {
        for endpoint in &endpoints {
            let mut one = Client::connect([endpoint], Some(options.clone())).await?;
            one.get("settled", None).await?;
        }
        Ok(())
    };
    watches(&mut client, &settle).await?;
    println!("watches");
    leases(&mut client, &settle).await?;
    println!("leases");
    locks(&mut client).await?;
    println!("locks");
    elections(&mut client).await?;
    println!("elections");
    cluster(&mut client).await?;
    println!("cluster");
    for endpoint in &endpoints {
        let mut one = Client::connect([endpoint], Some(options.clone())).await?;
        maintenance(&mut one).await?;
    }
    println!("maintenance");
    println!("ok");
    Ok(())
}

/// Keys and values, as `k=v k=v`.
fn pairs(response: &GetResponse) -> String {
    let pair = |kv: &etcd_client::KeyValue| {
        format!("{}={}", kv.key_str().unwrap_or("?"), kv.value_str().unwrap_or("?"))
    };
    response.kvs().iter().map(pair).collect::<Vec<_>>().join(" ")
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.expect("a header").revision()
}

async fn keys(client: &mut Client) -> Done {
    let first = revision(client.put("a", "1", None).await?.header());
    client.put("ab", "2", None).await?;
    let all = GetOptions::new().with_prefix();
    assert_eq!(pairs(&client.get("a", Some(all.clone())).await?), "a=1 ab=2");
    let before = client.put("a", "3", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(before.prev_key().expect("it was there").value(), b"1");
    let past = GetOptions::new().with_revision(first);
    assert_eq!(pairs(&client.get("a", Some(past)).await?), "a=1");
    let newest = all.clone().with_sort(SortTarget::Mod, SortOrder::Descend).with_limit(1);
    let page = client.get("a", Some(newest)).await?;
    assert_eq!((pairs(&page).as_str(), page.more(), page.count()), ("a=3", true, 2));
    let gone = DeleteOptions::new().with_prefix().with_prev_key();
    assert_eq!(client.delete("a", Some(gone)).await?.prev_kvs().len(), 2);
    assert_eq!(client.get("a", Some(all.with_count_only())).await?.count(), 0);
    let refused = client.put("", "x", None).await.expect_err("a key is needed");
    assert!(refused.to_string().contains("etcdserver: key is not provided"), "{refused}");
    Ok(())
}

async fn transactions(client: &mut Client) -> Done {
    client.put("t", "1", None).await?;
    for (to, is_done) in [("2", true), ("3", false)] {
        let swap = Txn::new()
            .when([Compare::value("t", CompareOp::Equal, "1")])
            .and_then([TxnOp::put("t", to, None), TxnOp::get("t", None)])
            .or_else([TxnOp::get("t", None)]);
        let answer = client.txn(swap).await?;
        assert_eq!(answer.succeeded(), is_done);
        let Some(TxnOpResponse::Get(read)) = answer.op_responses().pop() else {
            return Err("the last operation is a read".into());
        };
        assert_eq!(pairs(&read), "t=2");
    }
    Ok(())
}

/// The next events of a stream, in words.
async fn hear(watch: &mut WatchStream, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let response = timeout(PATIENCE, watch.message()).await??.ok_or("the stream ended")?;
        if response.canceled() {
            return Err(format!("compacted at {}", response.compact_revision()).into());
        }
        for event in response.events() {
            let kv = event.kv().ok_or("an event has a key")?;
            let what = match event.event_type() {
                EventType::Put => "put",
                EventType::Delete => "delete",
            };
            heard.push(format!("{what} {}={}", kv.key_str()?, kv.value_str()?));
        }
    }
    Ok(heard)
}

/// `settle` returns when every member has applied all that was answered before.
async fn watches(client: &mut Client, settle: &impl AsyncFn() -> Done) -> Done {
    let mut watch = client.watch("w", Some(WatchOptions::new().with_prefix())).await?;
    let created = timeout(PATIENCE, watch.message()).await??.ok_or("the stream ended")?;
    assert!(created.created());
    let first = revision(client.put("w", "1", None).await?.header());
    client.put("w1", "2", None).await?;
    client.delete("w", None).await?;
    assert_eq!(hear(&mut watch, 3).await?, ["put w=1", "put w1=2", "delete w="]);
    watch.request_progress().await?;
    let progress = timeout(PATIENCE, watch.message()).await??.ok_or("the stream ended")?;
    assert!(progress.events().is_empty() && revision(progress.header()) >= first + 2);
    watch.cancel(created.watch_id()).await?;
    let canceled = timeout(PATIENCE, watch.message()).await??.ok_or("the stream ended")?;
    assert!(canceled.canceled());

    let past = WatchOptions::new().with_start_revision(first).with_prefix();
    let mut again = client.watch("w", Some(past.clone())).await?;
    assert_eq!(hear(&mut again, 3).await?, ["put w=1", "put w1=2", "delete w="]);
    client.compact(first + 1, None).await?;
    settle().await?;
    let mut gone = client.watch("w", Some(past)).await?;
    let refused = hear(&mut gone, 1).await.expect_err("its past is compacted").to_string();
    assert_eq!(refused, format!("compacted at {}", first + 1));
    Ok(())
}

async fn leases(client: &mut Client, settle: &impl AsyncFn() -> Done) -> Done {
    let slow = client.lease_grant(60, None).await?.id();
    client.put("leased", "x", Some(PutOptions::new().with_lease(slow))).await?;
    settle().await?;
    let keys = LeaseTimeToLiveOptions::new().with_keys();
    assert_eq!(client.lease_time_to_live(slow, Some(keys)).await?.keys(), [b"leased"]);
    assert!(client.leases().await?.leases().iter().any(|lease| lease.id() == slow));
    let id = client.lease_grant(5, None).await?.id();
    client.put("leased", "x", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut kept) = client.lease_keep_alive(id).await?;
    // Longer than it lives by itself.
    for _ in 0..12 {
        keeper.keep_alive().await?;
        assert_eq!(timeout(PATIENCE, kept.message()).await??.ok_or("the stream ended")?.ttl(), 5);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(client.get("leased", None).await?.count(), 1);
    client.lease_revoke(id).await?;
    assert_eq!(client.get("leased", None).await?.count(), 0);
    let refused = client.lease_revoke(id).await.expect_err("it is gone");
    assert!(refused.to_string().contains("requested lease not found"), "{refused}");
    Ok(())
}

async fn locks(client: &mut Client) -> Done {
    let lease = client.lease_grant(30, None).await?.id();
    let held = client.lock("lock", Some(LockOptions::new().with_lease(lease))).await?;
    assert!(held.key().starts_with(b"lock/"));
    let mut other = client.clone();
    let wanted = tokio::spawn(async move { other.lock("lock", None).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!wanted.is_finished(), "two hold it");
    client.unlock(held.key()).await?;
    let got = timeout(PATIENCE, wanted).await???;
    client.unlock(got.key()).await?;
    client.lease_revoke(lease).await?;
    Ok(())
}

async fn elections(client: &mut Client) -> Done {
    let one = client.lease_grant(30, None).await?.id();
    let two = client.lease_grant(30, None).await?.id();
    let first = client.campaign("election", "first", one).await?;
    let leader = first.leader().expect("it leads").clone();
    let mut observed = client.observe("election").await?;
    let mut observe = async || -> Result<String, Box<dyn Error>> {
        let seen = timeout(PATIENCE, observed.message()).await??.ok_or("the stream ended")?;
        Ok(seen.kv().ok_or("a leader has a key")?.value_str()?.to_owned())
    };
    assert_eq!(observe().await?, "first");
    let mut other = client.clone();
    let wanted = tokio::spawn(async move { other.campaign("election", "second", two).await });
    client.proclaim("again", Some(ProclaimOptions::new().with_leader(leader.clone()))).await?;
    assert_eq!(observe().await?, "again");
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    let won = timeout(PATIENCE, wanted).await???;
    assert_eq!(observe().await?, "second");
    let found = client.leader("election").await?;
    assert_eq!(found.kv().expect("somebody leads").key(), won.leader().expect("it leads").key());
    client.lease_revoke(two).await?;
    assert!(client.leader("election").await.is_err());
    Ok(())
}

async fn cluster(client: &mut Client) -> Done {
    assert_eq!(client.member_list().await?.members().len(), 3);
    let alarms = client.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    assert!(alarms.alarms().is_empty());
    Ok(())
}

async fn maintenance(client: &mut Client) -> Done {
    let status = client.status().await?;
    assert!(status.version().starts_with("3.") && status.leader() != 0);
    assert_ne!(client.hash_kv(0).await?.hash(), 0);
    client.defragment().await?;
    let mut snapshot = client.snapshot().await?;
    let mut size = 0;
    while let Some(part) = snapshot.message().await? {
        size += part.blob().len();
    }
    // Pages, and a SHA-256 behind them.
    assert_eq!(size % 512, 32);
    Ok(())
}
