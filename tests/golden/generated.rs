//! The messages in src/proto/generated are what proto/ says: regenerated here and compared.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --test golden generated` writes them anew.

use std::fs;
use std::path::Path;

use prost::Message;

const SOURCES: [&str; 8] = [
    "etcd/auth.proto",
    "etcd/election.proto",
    "etcd/kv.proto",
    "etcd/lock.proto",
    "etcd/rpc.proto",
    "quorate/log.proto",
    "quorate/peer.proto",
    "quorate/registry.proto",
];

#[test]
fn generated_messages_are_what_the_proto_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(SOURCES, [root.join("proto")]).unwrap();
    // What clients may ask for, for the JSON gateway; comments are not.
    let mut etcd = files.clone();
    let is_for_clients = |name: &str| name.starts_with("etcd/") || name == "quorate/registry.proto";
    etcd.file.retain(|file| is_for_clients(file.name()));
    etcd.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(out.path().join("etcd.binpb"), etcd.encode_to_vec()).unwrap();
    prost_build::Config::new().bytes(["."]).out_dir(out.path()).compile_fds(files).unwrap();

    let checked_in = root.join("src/proto/generated");
    for entry in fs::read_dir(out.path()).unwrap() {
        let path = entry.unwrap().path();
        let fresh = fs::read(&path).unwrap();
        let kept = checked_in.join(path.file_name().unwrap());
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            fs::write(&kept, &fresh).unwrap();
        }
        let stored = fs::read(&kept).unwrap_or_default();
        assert!(stored == fresh, "{} is not what proto/ says: regenerate it", kept.display());
    }
}
