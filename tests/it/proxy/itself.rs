//! A proxy asks members and nobody else: not itself, not another proxy.

use std::time::{Duration, Instant};

use super::super::harness::{Cluster, free_ports, run};
use super::{Sidecar, asked, urls};

#[test]
fn a_proxy_never_asks_itself() {
    let mut cluster = Cluster::prepare(1);
    let ports = free_ports(2);
    let own = format!("https://127.0.0.1:{}", ports[0]);
    // What clients are told leads to the proxy, as `localhost` does on another machine.
    let config = cluster.members[0].config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    let told = format!("advertise-client-urls = \"{}\"", cluster.members[0].url);
    assert!(text.contains(&told));
    super::write(&config, &text.replace(&told, &format!("advertise-client-urls = \"{own}\"")));
    cluster.spawn(0);
    let server = |name: &str| cluster.dir().join("certs").join(name).display().to_string();
    let (cert, key) = (server("server-n1.crt"), server("server-n1.key"));
    let member = cluster.members[0].url.clone();
    let words = ["--cert-file", &cert, "--key-file", &key];
    let clear = format!("http://127.0.0.1:{}", ports[1]);
    let listen = format!("{own},{clear}");
    let endpoints = [own, member.clone()];
    let proxy = Sidecar::listening(&listen, clear, &cluster, &endpoints, &words);
    run(async {
        proxy.ready().await;
        assert_eq!(asked(&proxy).await, [member]);
        let client = proxy.client();
        for number in 0..10 {
            client.put("k", number.to_string()).await.unwrap();
        }
        assert_eq!(client.get("k").await.unwrap().kvs[0].version, 10);
        assert_eq!(proxy.http("PUT", "/v2/keys/k", "value=v").await.0, 201);
        // Without the member there is nobody, and it says so in time.
        cluster.kill(0);
        let began = Instant::now();
        let client = client.within(Duration::from_secs(2));
        assert!(client.put("k", "nobody's").await.is_err());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    });
}

#[test]
fn a_proxy_of_a_proxy_asks_the_members() {
    let cluster = Cluster::start(1);
    let near = Sidecar::start(&cluster, &urls(&cluster), &[]);
    run(async {
        near.ready().await;
        // The far one is told of the near one alone, and of itself: no member is among them, and both are in clear.
        let port = free_ports(1)[0];
        let endpoints = [near.url.clone(), format!("http://127.0.0.1:{port}")];
        let far = Sidecar::start_at(port, &cluster, &endpoints, &[]);
        far.ready().await;
        assert_eq!(asked(&far).await, urls(&cluster));
        // So the near one may go.
        drop(near);
        far.client().put("k", "v").await.unwrap();
    });
}
