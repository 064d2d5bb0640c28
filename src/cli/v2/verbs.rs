//! Every word of etcdctl's v2 commands: verbs, their flags, and what the help says of them.

use super::flags::{Flag, Kind};

/// A verb, or a group of them.
#[derive(Debug)]
pub(super) struct Verb {
    pub name: &'static str,
    pub about: &'static str,
    /// What follows its flags.
    pub args: &'static str,
    pub description: &'static str,
    pub flags: &'static [Flag],
    /// Not empty for a group.
    pub inner: &'static [Self],
}

impl Verb {
    const fn new(name: &'static str, args: &'static str, about: &'static str) -> Self {
        Self { name, about, args, description: "", flags: &[], inner: &[] }
    }

    const fn with(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    const fn group(name: &'static str, about: &'static str, inner: &'static [Self]) -> Self {
        Self { inner, ..Self::new(name, "", about) }
    }

    pub(super) fn named<'a>(verbs: &'a [Self], name: &str) -> Option<&'a Self> {
        verbs.iter().find(|verb| verb.name == name)
    }
}

const fn switch(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag { names, kind: Kind::Switch, value: "", usage }
}

const fn text(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag { names, kind: Kind::Text, value: "value", usage }
}

const fn number(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag { names, kind: Kind::Number, value: "value", usage }
}

const TTL: Flag = number(&["ttl"], "key time-to-live in seconds");
const SORT: Flag = switch(&["sort"], "returns result in sorted order");
const QUORUM: Flag = switch(&["quorum", "q"], "require quorum for get request");
const AFTER: Flag = number(&["after-index"], "watch after the given index");
const ROLES: Flag = Flag {
    names: &["roles"],
    kind: Kind::List,
    value: "value",
    usage: "List of roles to grant or revoke",
};

/// The flags that stand before the verb.
pub(super) const GLOBALS: [Flag; 15] = [
    switch(&["debug"], "output cURL commands which can be used to reproduce the request"),
    switch(&["no-sync"], "don't synchronize cluster information before sending request"),
    Flag {
        names: &["output", "o"],
        kind: Kind::Default("\"simple\""),
        value: "simple",
        usage: "output response in the given format (simple, `extended` or `json`)",
    },
    text(
        &["discovery-srv", "D"],
        "domain name to query for SRV records describing cluster endpoints",
    ),
    switch(&["insecure-discovery"], "accept insecure SRV records describing cluster endpoints"),
    text(&["peers", "C"], "DEPRECATED - \"--endpoints\" should be used instead"),
    text(&["endpoint"], "DEPRECATED - \"--endpoints\" should be used instead"),
    text(
        &["endpoints"],
        "a comma-delimited list of machine addresses in the cluster (default: \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    text(&["cert-file"], "identify HTTPS client using this SSL certificate file"),
    text(&["key-file"], "identify HTTPS client using this SSL key file"),
    text(&["ca-file"], "verify certificates of HTTPS-enabled servers using this CA bundle"),
    text(&["username", "u"], "provide username[:password] and prompt if password is not supplied."),
    Flag {
        names: &["timeout"],
        kind: Kind::Time("2s"),
        value: "value",
        usage: "connection timeout per request",
    },
    Flag {
        names: &["total-timeout"],
        kind: Kind::Time("5s"),
        value: "value",
        usage: "timeout for the command execution (except watch)",
    },
    switch(&["version", "v"], "print the version"),
];

pub(super) const VERBS: [Verb; 18] = [
    Verb::new("backup", " ", "backup an etcd directory").with(&[
        text(&["data-dir"], "Path to the etcd data dir"),
        text(&["wal-dir"], "Path to the etcd wal dir"),
        text(&["backup-dir"], "Path to the backup dir"),
        text(&["backup-wal-dir"], "Path to the backup wal dir"),
        switch(&["with-v3"], "Backup v3 backend data"),
    ]),
    Verb::new("cluster-health", " ", "check the health of the etcd cluster").with(&[switch(
        &["forever", "f"],
        "forever check the health every 10 second until CTRL+C",
    )]),
    Verb::new("mk", "<key> <value>", "make a new key with a given value")
        .with(&[switch(&["in-order"], "create in-order key under directory <key>"), TTL]),
    Verb::new("mkdir", "<key>", "make a new directory").with(&[TTL]),
    Verb::new("rm", "<key>", "remove a key or a directory").with(&[
        switch(&["dir"], "removes the key if it is an empty directory or a key-value pair"),
        switch(&["recursive", "r"], "removes the key and all child keys(if it is a directory)"),
        text(&["with-value"], "previous value"),
        number(&["with-index"], "previous index"),
    ]),
    Verb::new("rmdir", "<key>", "removes the key if it is an empty directory or a key-value pair"),
    Verb::new("get", "<key>", "retrieve the value of a key").with(&[SORT, QUORUM]),
    Verb::new("ls", "[key]", "retrieve a directory").with(&[
        SORT,
        switch(&["recursive", "r"], "returns all key names recursively for the given path"),
        switch(&["p"], "append slash (/) to directories"),
        QUORUM,
    ]),
    Verb {
        description: "Set sets the value of a key.\n\n   When <value> begins with '-', <value> is interpreted as a flag.\n   \
                      Insert '--' for workaround:\n\n   $ set -- <key> <value>",
        ..Verb::new("set", "<key> <value>", "set the value of a key").with(&[
            TTL,
            text(&["swap-with-value"], "previous value"),
            number(&["swap-with-index"], "previous index"),
        ])
    },
    Verb::new("setdir", "<key>", "create a new directory or update an existing directory TTL")
        .with(&[TTL]),
    Verb::new("update", "<key> <value>", "update an existing key with a given value").with(&[TTL]),
    Verb::new("updatedir", "<key> <value>", "update an existing directory").with(&[TTL]),
    Verb::new("watch", "<key>", "watch a key for changes").with(&[
        switch(&["forever", "f"], "forever watch a key until CTRL+C"),
        AFTER,
        switch(&["recursive", "r"], "returns all values for key and child keys"),
    ]),
    Verb::new(
        "exec-watch",
        "<key> <command> [args...]",
        "watch a key for changes and exec an executable",
    )
    .with(&[AFTER, switch(&["recursive", "r"], "watch all values for key and child keys")]),
    Verb::group("member", "member add, remove and list subcommands", &MEMBER),
    Verb::group("user", "user add, grant and revoke subcommands", &USER),
    Verb::group("role", "role add, grant and revoke subcommands", &ROLE),
    Verb::group("auth", "overall auth controls", &AUTH),
];

const MEMBER: [Verb; 4] = [
    Verb::new("list", " ", "enumerate existing cluster members"),
    Verb::new("add", "<name> <peerURL>", "add a new member to the etcd cluster"),
    Verb::new("remove", "<memberID>", "remove an existing member from the etcd cluster"),
    Verb::new("update", "<memberID> <peerURLs>", "update an existing member in the etcd cluster"),
];

const USER: [Verb; 7] = [
    Verb::new("add", "<user>", "add a new user for the etcd cluster"),
    Verb::new("get", "<user>", "get details for a user"),
    Verb::new("list", "<user>", "list all current users"),
    Verb::new("remove", "<user>", "remove a user for the etcd cluster"),
    Verb::new("grant", "<user>", "grant roles to an etcd user").with(&[ROLES]),
    Verb::new("revoke", "<user>", "revoke roles for an etcd user").with(&[ROLES]),
    Verb::new("passwd", "<user>", "change password for a user"),
];

const ROLE: [Verb; 6] = [
    Verb::new("add", "<role> ", "add a new role for the etcd cluster"),
    Verb::new("get", "<role>", "get details for a role"),
    Verb::new("list", " ", "list all roles"),
    Verb::new("remove", "<role>", "remove a role from the etcd cluster"),
    Verb::new("grant", "<role>", "grant path matches to an etcd role").with(&[
        text(&["path"], "Path granted for the role to access"),
        switch(&["read"], "Grant read-only access"),
        switch(&["write"], "Grant write-only access"),
        switch(&["readwrite", "rw"], "Grant read-write access"),
    ]),
    Verb::new("revoke", "<role>", "revoke path matches for an etcd role").with(&[
        text(&["path"], "Path revoked for the role to access"),
        switch(&["read"], "Revoke read access"),
        switch(&["write"], "Revoke write access"),
        switch(&["readwrite", "rw"], "Revoke read-write access"),
    ]),
];

const AUTH: [Verb; 2] = [
    Verb::new("enable", " ", "enable auth access controls"),
    Verb::new("disable", " ", "disable auth access controls"),
];
