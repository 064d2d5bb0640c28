//! Users of the v3 API at members in clear, over every wire: whoever is nobody, passwords, tokens, and the holes that others
//! have had. What each request is answered is in the transcripts (`tests/golden/etcd/users_*`).

mod jwt;
mod nobody;
mod passwords;
mod tokens;

use quorate::client::{Access, Client, Config, Error};
use quorate::proto::{Code, Status};

/// What a server said.
fn refused<T: std::fmt::Debug>(asked: Result<T, Error>) -> (Code, String) {
    match asked.unwrap_err() {
        Error::Server { status: Status { code, text, .. }, .. } => (code, text),
        other => panic!("{other}"),
    }
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "etcdserver: permission denied".to_owned())
}

fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned())
}

const ROOT: Option<(&str, &str)> = Some(("root", "secret"));
const BOB: Option<(&str, &str)> = Some(("bob", "word"));

/// `root`, and `bob`, who may read and write what begins with `b`; users are asked for from now on.
pub(super) async fn enable(client: &Client) {
    client.user_add("root", "secret").await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("bob", "word").await.unwrap();
    client.role_add("b").await.unwrap();
    client.role_grant_permission("b", Access::ReadWrite, "b", "c").await.unwrap();
    client.user_grant_role("bob", "b").await.unwrap();
    client.auth_enable().await.unwrap();
}

/// A client over QUIC that shows this password, or none.
pub(super) fn client(addresses: &[std::net::SocketAddr], login: Option<(&str, &str)>) -> Client {
    let config = Config::new(addresses.iter().map(|address| format!("http://{address}")));
    let config = match login {
        Some((name, password)) => config.user(name, password),
        None => config,
    };
    Client::lazy(config).unwrap()
}
