//! Users of the v3 API behind a proxy: its clients' tokens pass, its own name does not.

use quorate::client::{Client, Config};
use quorate::proto::Code;

use super::super::harness::run;
use super::super::permissions::{founded, refused};
use super::Sidecar;

#[test]
fn a_proxy_gives_its_own_name_to_nobody() {
    let cluster = founded(3);
    run(async {
        let urls: Vec<String> = cluster.members.iter().map(|member| member.url.clone()).collect();
        // With root's certificate, which opens the members' doors.
        let proxy = Sidecar::start(&cluster, &urls, &[]);
        proxy.ready().await;
        let nobody = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
        assert_eq!(refused(proxy.client().put("b", "1").await), nobody);
        assert_eq!(refused(proxy.client().user_list().await), nobody);
        let (_, said) = proxy.http("POST", "/v3/kv/range", r#"{"key":"ZTE="}"#).await;
        assert!(said.contains("user name is empty"), "{said}");
        let eve = Client::lazy(Config::new([proxy.url.clone()]).user("eve", "word")).unwrap();
        eve.put("e1", "1").await.unwrap();
        let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
        assert_eq!(refused(eve.put("b", "1").await), denied);
        let mut watcher = eve.watch("e1").start_revision(1).await.unwrap();
        let heard = watcher.next().await.unwrap().unwrap();
        assert_eq!(heard.events[0].kv.as_ref().unwrap().value, "1");
        // Neither in v2: members are changed by no one who comes through it.
        let (status, _) =
            proxy.http("POST", "/v2/members", r#"{"peerURLs":["https://127.0.0.1:1"]}"#).await;
        assert_eq!(status, 401);
    });
}
