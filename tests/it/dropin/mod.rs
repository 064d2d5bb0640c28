//! In the place of etcd: what was written for etcd runs with links named `etcd`, `etcdctl` and `etcdutl` to the program.

mod compose;
mod kubeadm;
mod links;
mod others;
mod rules;
mod script;
mod tls;
mod unit;
mod wire;

use links::Links;
