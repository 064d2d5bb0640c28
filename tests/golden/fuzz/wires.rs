//! What comes over the network in frames: from clients, members, and servers.

use bytes::{Bytes, BytesMut};
use prost::Message;
use quorate::base::{Index, MemberId, RequestId};
use quorate::consensus::decode_change;
use quorate::consensus::wire::{self, Kind, RaftMessage};
use quorate::proto::frame::{Answer, FrameError, MovedHead, Request, StreamFrame};
use quorate::proto::hello::{ClientHello, Control, GoAway, ServerHello, SetToken};
use quorate::proto::{Code, Retry, Status, etcdserverpb as pb};
use quorate::state::{Command, Envelope, check, cost, decode, encode};

use super::judge::judge;
use super::mutate::Inputs;

/// What an encoder writes, without the length in front.
fn unframed(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze().slice(4..)
}

fn status() -> Status {
    Status::new(Code::Unavailable, "etcdserver: no leader", Retry::NotProposed)
}

fn put() -> pb::PutRequest {
    pb::PutRequest {
        key: "k".into(),
        value: "v".into(),
        lease: 7,
        prev_kv: true,
        ..Default::default()
    }
}

#[test]
fn frames_of_our_own_protocol() {
    let body = Bytes::from(put().encode_to_vec());
    let id = u64::MAX;
    let requests = [
        Request::Call { id, method: 2, deadline_ms: 5_000, body: body.clone() },
        Request::Cancel { id },
    ];
    let answers = [
        Answer::Message { id, body: body.clone() },
        Answer::Error { id, status: status() },
        Answer::Moved { id },
    ];
    let frames =
        [StreamFrame::Message(body), StreamFrame::End(Ok(())), StreamFrame::End(Err(status()))];
    let mut made: Vec<Vec<u8>> = Vec::new();
    made.extend(requests.iter().map(|it| unframed(|out| it.encode(out)).to_vec()));
    made.extend(answers.iter().map(|it| unframed(|out| it.encode(out)).to_vec()));
    made.extend(frames.iter().map(|it| unframed(|out| it.encode(out)).to_vec()));
    made.push(MovedHead { id: 7, length: 1 << 40 }.encode().to_vec());
    judge(Inputs::new("frames", made, &["etcdserver: no leader"], 6_000), |bytes| {
        let frame = Bytes::copy_from_slice(bytes);
        // What was read is written and read again as the same.
        again(frame.clone(), Request::parse, Request::encode);
        again(frame.clone(), Answer::parse, Answer::encode);
        again(frame.clone(), StreamFrame::parse, StreamFrame::encode);
        if let Some(head) = MovedHead::decode(bytes) {
            assert_eq!(MovedHead::decode(&head.encode()), Some(head));
        }
        let status = Status::decode(frame);
        assert_eq!(Status::decode(status.encode()), status);
    });
}

fn again<T: PartialEq + std::fmt::Debug>(
    frame: Bytes,
    parse: impl Fn(Bytes) -> Result<T, FrameError>,
    encode: impl Fn(&T, &mut BytesMut),
) {
    if let Ok(read) = parse(frame) {
        assert_eq!(parse(unframed(|out| encode(&read, out))).as_ref(), Ok(&read));
    }
}

#[test]
fn greetings() {
    let made = [
        Control::ClientHello(ClientHello {
            versions: vec![1, 2, u32::MAX],
            client: "quorate".to_owned(),
            token: "simple.1".to_owned(),
            requires_leader: true,
            for_others: true,
        }),
        Control::ServerHello(ServerHello {
            version: 1,
            cluster_id: u64::MAX,
            member_id: 7,
            in_flight_max: 1_024,
            frame_bytes_max: 2 << 20,
            streams_max: 64,
            server: "0.1.0".to_owned(),
        }),
        Control::SetToken(SetToken { token: "t".to_owned() }),
        Control::GoAway(GoAway { text: "stopping".to_owned() }),
        Control::Unknown(99),
    ];
    let made = made.iter().map(|it| it.encode().slice(4..).to_vec()).collect();
    judge(Inputs::new("greetings", made, &["quorate"], 4_000), |bytes| {
        if let Ok(read) = Control::parse(Bytes::copy_from_slice(bytes)) {
            let written = read.encode().slice(4..);
            assert_eq!(Control::parse(written).as_ref(), Ok(&read));
        }
    });
}

#[test]
fn messages_of_raft() {
    let entry = wire::Entry { kind: 0, term: 3, index: 8, data: "entry".into() };
    let message = |kind: Kind| RaftMessage {
        kind: kind as i32,
        from: 1,
        to: 2,
        term: 3,
        log_term: 2,
        index: 7,
        commit: 6,
        commit_term: 2,
        ..Default::default()
    };
    let append = RaftMessage {
        entries: vec![entry.clone(), wire::Entry { kind: 1, index: 9, ..entry }],
        ..message(Kind::Append)
    };
    let snapshot = wire::Snapshot { index: 7, term: 3, voters: vec![1, 2, 3], learners: vec![4] };
    let snapshot = RaftMessage { snapshot: Some(snapshot), ..message(Kind::Snapshot) };
    let heartbeat = RaftMessage { context: vec![7; 24].into(), ..message(Kind::Heartbeat) };
    let kinds = [
        Kind::AppendResponse,
        Kind::Vote,
        Kind::PreVote,
        Kind::VoteResponse,
        Kind::TimeoutNow,
        Kind::ReadIndex,
    ];
    let mut made = vec![append, snapshot, heartbeat];
    made.extend(kinds.map(message));
    let made = made.iter().map(|it| it.encode_to_vec()).collect();
    judge(Inputs::new("raft", made, &[], 8_000), |bytes| {
        if let Ok(read) = RaftMessage::decode(Bytes::copy_from_slice(bytes)) {
            assert_eq!(RaftMessage::decode(RaftMessage::encode(&read)), Ok(read.clone()));
            // What passed has a kind, and its claim of a snapshot can be taken.
            read.known_kind().unwrap();
            let _ = read.snapshot_mark();
        }
        let _ = decode_change(bytes);
    });
}

#[test]
fn entries_of_the_log() {
    let request = RequestId { member: MemberId(1), nonce: 7, counter: 9 };
    let txn = pb::TxnRequest {
        success: vec![pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put())) }],
        ..Default::default()
    };
    let commands = [Command::Put(put()), Command::Txn(txn)];
    let made = commands.map(|it| encode(&Envelope::new(request, it)).to_vec()).to_vec();
    judge(Inputs::new("entries", made, &[], 6_000), |bytes| {
        let index: Index = 7;
        if let Ok(read) = decode(index, bytes) {
            assert_eq!(decode(index, &encode(&read)).unwrap(), read);
        }
    });
}

/// Read as this message, written again, read as the same; and asked for its shape, where that is asked.
fn message<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8], shape: impl Fn(&M)) {
    if let Ok(read) = M::decode(bytes) {
        assert_eq!(M::decode(read.encode_to_vec().as_slice()).as_ref(), Ok(&read));
        shape(&read);
    }
}

/// The requests of every method that has one of its own kind.
fn requests() -> Vec<Vec<u8>> {
    let range =
        pb::RangeRequest { key: "a".into(), range_end: "b".into(), limit: 9, ..Default::default() };
    let op = |request| pb::RequestOp { request: Some(request) };
    let inner = pb::TxnRequest {
        compare: vec![pb::Compare { key: "k".into(), ..Default::default() }],
        success: vec![op(pb::request_op::Request::RequestRange(range.clone()))],
        failure: vec![op(pb::request_op::Request::RequestPut(put()))],
    };
    let mut txn = inner.clone();
    for _ in 0..4 {
        let nested = op(pb::request_op::Request::RequestTxn(txn.clone()));
        txn = pb::TxnRequest {
            success: vec![nested.clone()],
            failure: vec![nested],
            ..inner.clone()
        };
    }
    let delete = pb::DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv: true };
    let create =
        pb::WatchCreateRequest { key: "k".into(), filters: vec![0, 1], ..Default::default() };
    let watch = pb::watch_request::RequestUnion::CreateRequest(create);
    vec![
        range.encode_to_vec(),
        put().encode_to_vec(),
        delete.encode_to_vec(),
        inner.encode_to_vec(),
        txn.encode_to_vec(),
        pb::CompactionRequest { revision: 7, physical: true }.encode_to_vec(),
        pb::LeaseGrantRequest { ttl: 60, id: 7 }.encode_to_vec(),
        pb::WatchRequest { request_union: Some(watch) }.encode_to_vec(),
        pb::MemberAddRequest { peer_ur_ls: vec!["http://h:1".to_owned()], is_learner: true }
            .encode_to_vec(),
        pb::AuthenticateRequest { name: "root".to_owned(), password: "p".to_owned() }
            .encode_to_vec(),
    ]
}

#[test]
fn requests_of_etcds_clients() {
    const OPS_MAX: usize = 128;
    judge(Inputs::new("requests", requests(), &["http://10.0.0.1:2380", "root"], 8_000), |bytes| {
        message::<pb::RangeRequest>(bytes, |it| {
            let _ = check::range(it);
        });
        message::<pb::PutRequest>(bytes, |it| {
            let _ = check::put(it);
        });
        message::<pb::DeleteRangeRequest>(bytes, |it| {
            let _ = check::delete_range(it);
        });
        message::<pb::TxnRequest>(bytes, |it| {
            // What is of good shape has a cost.
            if check::txn(it, OPS_MAX).is_ok() {
                cost(&Command::Txn(it.clone()));
            }
        });
        message::<pb::CompactionRequest>(bytes, |_| {});
        message::<pb::LeaseGrantRequest>(bytes, |_| {});
        message::<pb::WatchRequest>(bytes, |_| {});
        message::<pb::MemberAddRequest>(bytes, |_| {});
        message::<pb::AuthenticateRequest>(bytes, |_| {});
        message::<pb::RangeResponse>(bytes, |_| {});
        message::<pb::WatchResponse>(bytes, |_| {});
    });
}
