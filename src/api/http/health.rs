//! Is this member well? `/health`, `/livez`, `/readyz`: asked of the service as a client would ask.

use super::session::Session;
use crate::api::ask;
use crate::proto::etcdserverpb as pb;
use crate::proto::{Admitted, Caller, Code, Method, Status};

/// etcd's one question: alarms, a leader, a read. True with the page of a member that is well.
pub(super) async fn whole(session: &Session, query: &str) -> (bool, String) {
    let reason = ill(session, query).await;
    let (tally, is_well) = (&session.shared.tally, reason.is_none());
    let counter = if is_well { &tally.healthy } else { &tally.unhealthy };
    counter.increment();
    let (health, end) = if is_well { ("true", "") } else { ("false", "\n") };
    let reason = serde_json::Value::from(reason.unwrap_or_default());
    (is_well, format!(r#"{{"health":"{health}","reason":{reason}}}{end}"#))
}

async fn ill(session: &Session, query: &str) -> Option<String> {
    let serializable = values(query, "serializable").next() == Some("true");
    match status(session).await {
        Ok(status) => {
            let excluded = |name: &str| values(query, "exclude").any(|value| value == name);
            let raised = ["NOSPACE", "CORRUPT"].into_iter().find(|name| {
                let word = format!("alarm:{name} ");
                !excluded(name) && status.errors.iter().any(|error| error.ends_with(&word))
            });
            if let Some(alarm) = raised {
                return Some(format!("ALARM {alarm}"));
            }
            if !serializable && status.leader == 0 {
                return Some("RAFT NO LEADER".to_owned());
            }
        }
        Err(refused) if is_about_users(&refused) => {}
        Err(error) => return Some(format!("RANGE ERROR:{}", error.text)),
    }
    read(session, serializable).await.err().map(|error| format!("RANGE ERROR:{}", error.text))
}

async fn status(session: &Session) -> Result<pb::StatusResponse, Status> {
    let (service, caller) = (session.shared.service.as_ref(), own(session));
    ask::message(service, &caller, Method::Status, &pb::StatusRequest {}).await
}

/// The door asks for itself: pages know no users.
fn own(session: &Session) -> Caller {
    Caller { admitted: Some(Admitted::member()), token: None, ..session.caller.clone() }
}

/// Members behind a proxy do not know its door; but who asks for a user is there, and as in etcd that is well.
fn is_about_users(refused: &Status) -> bool {
    refused.code == Code::PermissionDenied || refused.text == "etcdserver: user name is empty"
}

/// One key, whether it is there or not.
async fn read(session: &Session, serializable: bool) -> Result<(), Status> {
    let (service, caller) = (session.shared.service.as_ref(), own(session));
    let read = async |serializable| -> Result<(), Status> {
        let key = bytes::Bytes::from_static(b"\0");
        let request =
            pb::RangeRequest { key, keys_only: true, limit: 1, serializable, ..Default::default() };
        let _: pb::RangeResponse = ask::message(service, &caller, Method::Range, &request).await?;
        Ok(())
    };
    match read(serializable).await {
        // A learner reads through this door what it has itself, and is not ill because of that.
        Err(refused) if refused.text.ends_with("rpc not supported for learner") => read(true).await,
        Err(refused) if is_about_users(&refused) => Ok(()),
        outcome => outcome,
    }
}

/// `/livez` or `/readyz`, whole or one check of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Probe {
    kind: &'static str,
    checks: &'static [Check],
    only: Option<Check>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Probe {
    pub(super) fn of(path: &str) -> Option<Self> {
        let (kind, rest) = match path.strip_prefix("/livez") {
            Some(rest) => ("livez", rest),
            None => ("readyz", path.strip_prefix("/readyz")?),
        };
        let checks = if kind == "livez" { LIVE } else { READY };
        if rest.is_empty() {
            return Some(Self { kind, checks, only: None });
        }
        let name = rest.strip_prefix('/')?;
        let only = checks.iter().copied().find(|check| check.name() == name)?;
        Some(Self { kind, checks, only: Some(only) })
    }

    /// Whether all is well, and the page.
    pub(super) async fn run(self, session: &Session, query: &str) -> (bool, String) {
        let excluded = |check: Check| values(query, "exclude").any(|value| value == check.name());
        let chosen: Vec<Check> = match self.only {
            Some(check) => vec![check],
            None => self.checks.iter().copied().filter(|check| !excluded(*check)).collect(),
        };
        let (mut is_well, mut details) = (true, String::new());
        for check in chosen {
            let outcome = check.run(session).await;
            session.shared.tally.checked(self.kind, check.name(), outcome.is_ok());
            match outcome {
                Ok(()) => details.push_str(&format!("[+]{} ok\n", check.name())),
                Err(why) => {
                    is_well = false;
                    details.push_str(&format!("[-]{} failed: {why}\n", check.name()));
                }
            }
        }
        if !is_well {
            return (false, details + "\n");
        }
        let is_verbose =
            query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
        (true, if is_verbose { details + "ok\n" } else { "ok\n".to_owned() })
    }
}

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, session: &Session) -> Result<(), String> {
        match self {
            Self::SerializableRead | Self::LinearizableRead => {
                let local = self == Self::SerializableRead;
                read(session, local).await.map_err(|error| error.text)
            }
            Self::DataCorruption => {
                let status = status(session).await.map_err(|error| error.text)?;
                let is_raised = status.errors.iter().any(|it| it.ends_with("alarm:CORRUPT "));
                if is_raised { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) }
            }
            Self::NonLearner => {
                let status = status(session).await.map_err(|error| error.text)?;
                if status.is_learner { Err("not supported for learner".to_owned()) } else { Ok(()) }
            }
        }
    }
}

/// What a query says of `name`, each time; names of alarms and checks need no escapes.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |part| {
        let (key, value) = part.split_once('=')?;
        (key == name && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_have_names_and_no_others() {
        let of = |path| Probe::of(path).map(|probe| (probe.kind, probe.only));
        assert_eq!(of("/livez"), Some(("livez", None)));
        assert_eq!(of("/readyz/non_learner"), Some(("readyz", Some(Check::NonLearner))));
        for path in ["/livez/linearizable_read", "/readyz/nope", "/readyzz", "/health", "/"] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn a_query_may_say_a_thing_twice() {
        let found: Vec<&str> =
            values("exclude=A&x&exclude=&exclude=B&excluded=C", "exclude").collect();
        assert_eq!(found, ["A", "B"]);
    }
}
