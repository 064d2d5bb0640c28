//! Certificates change while members are connected: nothing that is under way is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::rig::{Folder, Node, config, keychain, loopback, subject, today};
use crate::base::{MemberId, Moment};
use crate::tls::make::{self, Authority, Validity};
use crate::tls::{Keychain, Scheme};
use crate::transport::Class;

const ONE: MemberId = MemberId(1);
const TWO: MemberId = MemberId(2);

/// Members 1 and 2 with certificates of their own under `ca.crt`, connected both ways.
struct Pair {
    folder: Folder,
    one: Node,
    two: Node,
    keys: [Arc<Keychain>; 2],
}

impl Pair {
    fn new(authority: impl FnOnce(&Folder) -> Authority) -> Self {
        let folder = Folder::new();
        let authority = authority(&folder);
        sign(&folder, &authority);
        let keys = ["one", "two"].map(|name| keychain(Some(folder.plane(name, "ca")), None));
        let (one, two) = connected(&keys);
        Self { folder, one, two, keys }
    }

    fn reload(&self) {
        for keys in &self.keys {
            keys.reload().unwrap();
        }
    }
}

/// Members 1 and 2 with these keys, connected both ways.
fn connected(keys: &[Arc<Keychain>; 2]) -> (Node, Node) {
    let start = |member: u64, keys: &Arc<Keychain>| {
        let listener = loopback(Some(Scheme::Https), None, 0);
        Node::start(config(member, Arc::clone(keys), listener))
    };
    let (one, two) = (start(1, &keys[0]), start(2, &keys[1]));
    one.knows(2, two.url());
    two.knows(1, one.url());
    one.ear.wait(|told| told.connected.contains(&TWO));
    two.ear.wait(|told| told.connected.contains(&ONE));
    (one, two)
}

fn since(node: &Node) -> Moment {
    node.transport.status()[0].since
}

/// Waits until the node has another connection than since `before`.
fn renewed(node: &Node, before: Moment) {
    loop {
        let status = &node.transport.status()[0];
        if status.connected && status.since != before {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// New certificates for both.
fn sign(folder: &Folder, authority: &Authority) {
    for name in ["one", "two"] {
        folder.keep(name, &make::peer(authority, &subject(name), today()).unwrap());
    }
}

#[test]
fn a_new_certificate_is_shown_and_no_message_or_question_is_lost() {
    let mut first = None;
    let pair = Pair::new(|folder| {
        let authority = folder.authority("ca");
        first = Some(make::peer(&authority, &subject("one"), today()).unwrap());
        authority
    });
    let before = since(&pair.one);
    let (asked, answer) = std::sync::mpsc::sync_channel(1);
    let deadline = Moment::ZERO + Duration::from_secs(3_600);
    pair.one.transport.ask_then(TWO, 2, Bytes::new(), deadline, move |answer| {
        asked.send(answer).unwrap();
    });
    pair.two.ear.wait(|told| told.held == 1);

    let sending = AtomicBool::new(true);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 0_u32;
            while sending.load(Ordering::Relaxed) {
                let message = Bytes::copy_from_slice(&number.to_be_bytes());
                assert!(pair.one.transport.send(TWO, Class::Append, message));
                number += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            number
        });
        pair.folder.keep("one", first.as_ref().unwrap());
        pair.keys[0].reload().unwrap();
        renewed(&pair.one, before);
        let so_far = pair.two.ear.wait(|_| true).messages.len();
        pair.two.ear.wait(|told| told.messages.len() > so_far + 100);
        sending.store(false, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let told = pair.two.ear.wait(|told| told.messages.len() >= sent as usize);
    let mut numbers: Vec<u32> = told
        .messages
        .iter()
        .map(|(_, _, bytes)| u32::from_be_bytes(bytes.as_ref().try_into().unwrap()))
        .collect();
    // Two streams meet: what was sent last on the old one may come after what was sent first on the new one.
    numbers.sort_unstable();
    assert_eq!(numbers, (0..sent).collect::<Vec<u32>>());
    assert!(told.unreachable.is_empty(), "{:?}", told.unreachable);
    assert!(pair.one.ear.wait(|_| true).unreachable.is_empty());

    // On the old connection, which is still there for it.
    pair.two.ear.answer_held(b"late");
    assert_eq!(answer.recv().unwrap(), Ok(Bytes::from_static(b"late")));
}

#[test]
fn the_authority_changes_by_a_bundle_of_both_and_members_stay_connected() {
    let pair = Pair::new(|folder| folder.authority("ca"));
    let old = std::fs::read_to_string(pair.folder.file("ca.crt")).unwrap();
    let new = make::authority("new", today()).unwrap();
    std::fs::write(pair.folder.file("ca.crt"), format!("{old}{}", new.made.cert_pem)).unwrap();
    pair.reload();
    let before = (since(&pair.one), since(&pair.two));
    sign(&pair.folder, &new);
    pair.reload();
    renewed(&pair.one, before.0);
    renewed(&pair.two, before.1);
    std::fs::write(pair.folder.file("ca.crt"), &new.made.cert_pem).unwrap();
    pair.reload();
    sign(&pair.folder, &new);
    let before = (since(&pair.one), since(&pair.two));
    pair.reload();
    renewed(&pair.one, before.0);
    renewed(&pair.two, before.1);
    for (from, to, at) in [(&pair.one, TWO, &pair.two), (&pair.two, ONE, &pair.one)] {
        assert!(from.transport.send(to, Class::Control, Bytes::from_static(b"still here")));
        let told = at.ear.wait(|told| !told.messages.is_empty());
        assert!(told.unreachable.is_empty() && told.connected.len() == 1, "{told:?}");
    }
}

#[test]
fn a_member_whose_certificate_ends_is_cut_off_until_it_has_another() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    sign(&folder, &authority);
    // Ends in six seconds: time enough to connect, on any machine.
    let soon = Validity { wall_ms: today().wall_ms - 86_400_000 + 6_000, days: 1 };
    folder.keep("two", &make::peer(&authority, &subject("two"), soon).unwrap());
    let keys = ["one", "two"].map(|name| keychain(Some(folder.plane(name, "ca")), None));
    let (one, two) = connected(&keys);
    one.ear.wait(|told| told.unreachable.contains(&TWO));
    two.ear.wait(|told| told.unreachable.contains(&ONE));
    let error = one.transport.status()[0].last_error.clone().unwrap();
    assert!(error.to_lowercase().contains("expired"), "{error}");
    sign(&folder, &authority);
    keys[1].reload().unwrap();
    one.ear.wait(|told| told.connected.len() == 2);
    two.ear.wait(|told| told.connected.len() == 2);
}

#[test]
fn a_revoked_member_is_cut_off_both_ways() {
    let folder = Folder::new();
    let authority = folder.authority("ca");
    sign(&folder, &authority);
    folder.keep("other", &make::peer(&authority, &subject("other"), today()).unwrap());
    folder.revoke("ca.crl", &authority, &["other"]);
    let mut plane = folder.plane("one", "ca");
    plane.crl = Some(folder.file("ca.crl"));
    let keys = [keychain(Some(plane), None), keychain(Some(folder.plane("two", "ca")), None)];
    let (one, two) = connected(&keys);
    folder.revoke("ca.crl", &authority, &["two"]);
    keys[0].reload().unwrap();
    one.ear.wait(|told| told.unreachable.contains(&TWO));
    two.ear.wait(|told| told.unreachable.contains(&ONE));
    let error = loop {
        let status = &one.transport.status()[0];
        assert!(!status.connected);
        if let Some(error) = status.last_error.clone() {
            break error;
        }
    };
    assert!(error.contains("Revoked"), "{error}");
}
