//! A form -> what is asked of the tree.

use bytes::Bytes;
use hyper::Method;

use super::form::Form;
use crate::proto::quorate::log::V2Request;
use crate::proto::quorate::log::v2_request::Method as Verb;
use crate::state::v2::{Error, clean};

/// Longest TTL, seconds: what Go's durations hold.
const TTL_S_MAX: u64 = i64::MAX as u64 / 1_000_000_000;

/// What a client wants of `/v2/keys`.
#[derive(Debug)]
pub(super) enum Wanted {
    Read { path: Vec<u8>, recursive: bool, quorum: bool },
    Watch { path: Vec<u8>, recursive: bool, since: u64, stream: bool },
    Write { request: V2Request, without_values: bool },
}

impl Wanted {
    /// Of more than the key itself.
    pub(super) fn is_recursive(&self) -> bool {
        match self {
            Self::Read { recursive, .. } | Self::Watch { recursive, .. } => *recursive,
            Self::Write { request, .. } => request.recursive,
        }
    }
}

/// `key` is what stands behind `/v2/keys`.
pub(super) fn wanted(method: &Method, key: &[u8], form: &Form) -> Result<Wanted, Error> {
    let path = clean(key);
    let prev_index = index(form, "prevIndex")?;
    let since = index(form, "waitIndex")?;
    let recursive = flag(form, "recursive")?;
    // A listing always is.
    flag(form, "sorted")?;
    let wait = flag(form, "wait")?;
    let dir = flag(form, "dir")?;
    let quorum = flag(form, "quorum")?;
    let stream = flag(form, "stream")?;
    if wait && method != Method::GET {
        return Err(wrong(Error::INVALID_FIELD, r#""wait" can only be used with GET requests"#));
    }
    if form.value("prevValue") == Some(b"") {
        return Err(wrong(Error::PREV_VALUE_REQUIRED, r#""prevValue" cannot be empty"#));
    }
    let without_values = flag(form, "noValueOnSuccess")?;
    let ttl_s = ttl(form)?;
    let exists = nullable(form, "prevExist")?;
    let refresh = nullable(form, "refresh")?.unwrap_or_default();
    if refresh && !form.text("value").is_empty() {
        return Err(wrong(Error::REFRESH_VALUE, "A value was provided on a refresh"));
    }
    if refresh && ttl_s.is_none() {
        return Err(wrong(Error::REFRESH_TTL_REQUIRED, "No TTL value set"));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        // Only GET goes through the log, and what does so waits for nothing.
        let quorum = quorum && method == Method::GET;
        return Ok(match wait && !quorum {
            true => Wanted::Watch { path, recursive, since, stream },
            false => Wanted::Read { path, recursive, quorum },
        });
    }
    let copy = |name| Bytes::copy_from_slice(form.text(name));
    let prev_value = copy("prevValue");
    let compares = prev_index != 0 || !prev_value.is_empty();
    let verb = verb(method, exists, compares);
    let request = V2Request {
        method: verb.into(),
        path: path.into(),
        value: copy("value"),
        dir,
        recursive,
        prev_value,
        prev_index,
        refresh,
        ttl_s,
    };
    Ok(Wanted::Write { request, without_values })
}

fn verb(method: &Method, exists: Option<bool>, compares: bool) -> Verb {
    match (method, exists) {
        (&Method::POST, _) => Verb::CreateInOrder,
        (&Method::DELETE, _) if compares => Verb::CompareAndDelete,
        (&Method::DELETE, _) => Verb::Delete,
        (_, Some(false)) => Verb::Create,
        _ if compares => Verb::CompareAndSwap,
        (_, Some(true)) => Verb::Update,
        _ => Verb::Set,
    }
}

fn wrong(code: u16, cause: impl Into<Bytes>) -> Error {
    Error::new(code, cause, 0)
}

fn index(form: &Form, name: &str) -> Result<u64, Error> {
    let told = || wrong(Error::INDEX_NAN, format!("invalid value for \"{name}\""));
    form.number(name).map_err(|()| told())
}

fn flag(form: &Form, name: &str) -> Result<bool, Error> {
    let told = || wrong(Error::INVALID_FIELD, format!("invalid value for \"{name}\""));
    form.flag(name).map_err(|()| told())
}

/// Of two parameters etcd forgets the quotes.
fn nullable(form: &Form, name: &str) -> Result<Option<bool>, Error> {
    if form.value(name).is_none() {
        return Ok(None);
    }
    let told = || wrong(Error::INVALID_FIELD, format!("invalid value for {name}"));
    form.flag(name).map(Some).map_err(|()| told())
}

/// Empty is none.
fn ttl(form: &Form) -> Result<Option<i64>, Error> {
    if form.text("ttl").is_empty() {
        return Ok(None);
    }
    let told = || wrong(Error::TTL_NAN, "invalid value for \"ttl\"");
    let ttl = form.number("ttl").map_err(|()| told())?;
    Ok(Some(i64::try_from(ttl.min(TTL_S_MAX)).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, query: &str) -> Result<Wanted, Error> {
        wanted(&method, b"/a/", &Form::parse(query.as_bytes(), b"").unwrap())
    }

    fn verb_of(method: Method, query: &str) -> Verb {
        match ask(method, query).unwrap() {
            Wanted::Write { request, .. } => request.method(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_verb_follows_from_method_and_conditions() {
        for (method, query, verb) in [
            (Method::PUT, "", Verb::Set),
            (Method::PUT, "prevExist=false&prevValue=a", Verb::Create),
            (Method::PUT, "prevExist=true", Verb::Update),
            (Method::PUT, "prevExist=true&prevIndex=1", Verb::CompareAndSwap),
            (Method::PUT, "prevIndex=0", Verb::Set),
            (Method::PUT, "prevValue=a", Verb::CompareAndSwap),
            (Method::POST, "prevValue=a", Verb::CreateInOrder),
            (Method::DELETE, "prevIndex=3", Verb::CompareAndDelete),
            (Method::DELETE, "prevExist=true", Verb::Delete),
        ] {
            assert_eq!(verb_of(method, query), verb, "{query}");
        }
    }

    #[test]
    fn who_wants_a_quorum_does_not_wait() {
        let wanted = ask(Method::GET, "wait=true&quorum=true&waitIndex=3").unwrap();
        assert!(matches!(wanted, Wanted::Read { quorum: true, .. }), "{wanted:?}");
        let wanted = ask(Method::GET, "wait=true&quorum=false&waitIndex=3").unwrap();
        assert!(matches!(wanted, Wanted::Watch { since: 3, .. }), "{wanted:?}");
    }

    #[test]
    fn what_is_wrong_has_etcds_number() {
        for (query, code) in [
            ("prevIndex=x", Error::INDEX_NAN),
            ("waitIndex=-1", Error::INDEX_NAN),
            ("sorted=maybe", Error::INVALID_FIELD),
            ("wait=true", Error::INVALID_FIELD),
            ("prevValue=", Error::PREV_VALUE_REQUIRED),
            ("ttl=1s", Error::TTL_NAN),
            ("refresh=true&value=a&ttl=1", Error::REFRESH_VALUE),
            ("refresh=true", Error::REFRESH_TTL_REQUIRED),
        ] {
            assert_eq!(ask(Method::PUT, query).unwrap_err().code, code, "{query}");
        }
    }
}
