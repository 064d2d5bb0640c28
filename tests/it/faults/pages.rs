//! A bit flips in what LMDB's file is made of, on one member that is down: it is found and named, or it changes nothing;
//! the others go on, and one command heals the member.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::resync::{OTHERS, VICTIM, resync};
use super::rounds;
use crate::dice::Dice;
use crate::harness::{Cluster, SOON, run_within};

/// Enough for branches.
const KEYS: usize = 600;

const PAGE_BYTES: usize = 4_096;

/// Beginning of a page: its number, its kind, where its entries are.
const HEAD_BYTES: u64 = 40;

/// Kinds of pages, docs of LMDB: branch, leaf, meta.
const KINDS: [u16; 3] = [1, 2, 8];

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

async fn rows(cluster: &Cluster, of: &[usize]) -> Option<Rows> {
    let client = cluster.client_of(of).within(Duration::from_millis(500));
    let read = client.get("k/").prefix().serializable().await.ok()?;
    Some(read.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv.value.to_vec())).collect())
}

/// Flips a bit at one place of all pages of one kind, so that one that is in use is hit, or of one page.
fn flip(file: &mut [u8], dice: &mut Dice, number: usize) -> String {
    let bit = dice.between(0, HEAD_BYTES * 8 - 1) as usize;
    let kind_of = |page: &[u8]| u16::from_le_bytes([page[10], page[11]]);
    let kind = KINDS[number / 2 % KINDS.len()];
    let pages = file.chunks_exact_mut(PAGE_BYTES).filter(|page| kind_of(page) == kind);
    let mut pages: Vec<&mut [u8]> = pages.collect();
    let flip = |page: &mut [u8]| page[bit / 8] ^= 1 << (bit % 8);
    if number.is_multiple_of(2) {
        pages.into_iter().for_each(flip);
        return format!("bit {bit} of all pages of kind {kind}");
    }
    let one = dice.below(pages.len());
    flip(pages[one]);
    format!("bit {bit} of one page of kind {kind}")
}

/// True if the damage was named; false if it was none.
async fn is_named(cluster: &mut Cluster, expected: &Rows, what: &str) -> bool {
    let before = cluster.log(VICTIM).len();
    cluster.spawn(VICTIM);
    let began = Instant::now();
    let status = loop {
        if let Some(read) = rows(cluster, &[VICTIM]).await {
            assert!(read == *expected, "{what}: something else is served");
            assert!(cluster.stop(VICTIM).success(), "{what}");
            return false;
        }
        if let Some(status) = cluster.has_ended(VICTIM) {
            break status;
        }
        assert!(began.elapsed() < SOON, "{what}: it neither serves nor ends");
    };
    let log = cluster.log(VICTIM).split_off(before);
    let last = log.lines().last().unwrap_or_default();
    assert!(status.code() == Some(1), "{what}: {status}: {last}");
    assert!(
        last.contains("data.mdb") && last.contains("`quorate member resync`"),
        "{what}: {last}"
    );
    assert!(!log.contains("panicked"), "{what}: {log}");
    true
}

#[test]
fn a_bit_that_flips_in_a_page_is_named_or_changes_nothing() {
    let rounds = rounds("QUORATE_PAGE_ROUNDS", 4);
    let mut cluster = Cluster::start(3);
    let mut dice = Dice::new(7);
    run_within(Duration::from_secs(300 + 20 * rounds as u64), async {
        let client = cluster.client_of(&OTHERS);
        for number in 0..KEYS {
            let length = if number.is_multiple_of(50) { 9_000 } else { 150 };
            let value = vec![b'a' + (number % 26) as u8; length];
            client.put(format!("k/{number}"), value).await.unwrap();
        }
        cluster.same_hash().await;
        assert!(cluster.stop(VICTIM).success());
        let expected = rows(&cluster, &OTHERS).await.unwrap();
        let path = cluster.members[VICTIM].data.join("db/1/data.mdb");
        let mut named = 0;
        for number in 0..rounds {
            let whole = fs::read(&path).unwrap();
            let mut flipped = whole.clone();
            let what = flip(&mut flipped, &mut dice, number);
            fs::write(&path, flipped).unwrap();
            let is_named = is_named(&mut cluster, &expected, &what).await;
            println!("{what}: {}", if is_named { "named" } else { "nobody minds" });
            named += usize::from(is_named);
            client.put("goes on", "").await.unwrap();
            if is_named && number + 1 < rounds {
                // LMDB was not opened: nothing but the bit is to be taken back.
                fs::write(&path, whole).unwrap();
            } else if is_named {
                resync(&mut cluster).await;
            }
        }
        assert!(named > 0, "no bit was found");
        if !cluster.is_running(VICTIM) {
            cluster.spawn(VICTIM);
        }
        cluster.leader().await;
        cluster.same_hash().await;
        assert_eq!(rows(&cluster, &[VICTIM]).await.unwrap(), expected);
    });
}
