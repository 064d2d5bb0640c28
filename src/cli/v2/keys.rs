//! The verbs of keys and directories, each one request of `/v2/keys`.

use std::io::Read as _;
use std::time::Duration;

use hyper::Method;

use super::answer::Event;
use super::cluster::{Cluster, Error, within};
use super::failure::{ERROR, Failure, SERVER_ERROR};
use super::flags::Words;
use super::http::{Ask, form};
use super::settings::Settings;

/// What a form is sent as.
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn asking(method: Method, key: &str) -> Ask {
    let slash = if key.is_empty() || key.starts_with('/') { "" } else { "/" };
    Ask::new(method, format!("/v2/keys{slash}{key}"))
}

pub(super) async fn answered(cluster: &mut Cluster, ask: &Ask) -> Result<Event, Error> {
    let answer = cluster.ask(ask).await?;
    Event::read(&answer)?.ok_or_else(|| Error::Told("client: response body is empty".to_owned()))
}

async fn done(settings: &Settings, cluster: &mut Cluster, ask: &Ask) -> Result<Event, Failure> {
    let answered = within(settings.total_timeout(), answered(cluster, ask)).await;
    answered.map_err(|error| Failure::error(SERVER_ERROR, &error))
}

pub(super) fn key(words: &Words) -> Result<&str, Failure> {
    words.word(0).ok_or_else(|| Failure::bad_args("key required"))
}

/// The word, or all of stdin.
fn value(words: &Words) -> Result<String, Failure> {
    if let Some(value) = words.word(1) {
        return Ok(value.to_owned());
    }
    let mut read = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut read) {
        Ok(count) if count > 0 => Ok(String::from_utf8_lossy(&read).into_owned()),
        _ => Err(Failure::bad_args("value required")),
    }
}

pub(super) async fn get(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    let ask = reading(key(words)?, words, false);
    let event = done(settings, &mut cluster, &ask).await?;
    if event.node.dir {
        let text = format!("{}: is a directory\n", event.node.key);
        return Err(Failure { code: ERROR, text });
    }
    event.show(settings.format())
}

pub(super) async fn ls(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    let ask = reading(words.word(0).unwrap_or("/"), words, words.switch("recursive"));
    let event = done(settings, &mut cluster, &ask).await?;
    match settings.format() {
        "simple" => event.list(words.switch("p")),
        other => event.show(other),
    }
}

fn reading(key: &str, words: &Words, is_recursive: bool) -> Ask {
    let query = form([
        ("quorum", words.switch("quorum").to_string()),
        ("recursive", is_recursive.to_string()),
        ("sorted", words.switch("sort").to_string()),
    ]);
    Ask { query, ..asking(Method::GET, key) }
}

/// What a PUT asks beside its key.
#[derive(Default)]
struct Put<'a> {
    value: Option<String>,
    is_dir: bool,
    previous_value: &'a str,
    previous_index: i64,
    must_exist: Option<bool>,
    ttl: i64,
}

impl Put<'_> {
    fn ask(self, key: &str) -> Ask {
        let mut query = Vec::new();
        if self.is_dir {
            query.push(("dir", "true".to_owned()));
        }
        if let Some(must_exist) = self.must_exist {
            query.push(("prevExist", must_exist.to_string()));
        }
        if self.previous_index != 0 {
            query.push(("prevIndex", self.previous_index.cast_unsigned().to_string()));
        }
        if !self.previous_value.is_empty() {
            query.push(("prevValue", self.previous_value.to_owned()));
        }
        let body = form(with_ttl(self.ttl, self.value.map(|value| ("value", value))));
        // Told to a second member, it could fail at what it did at the first.
        let is_once = self.must_exist == Some(false);
        Ask { query: form(query), body: Some((FORM, body)), is_once, ..asking(Method::PUT, key) }
    }
}

/// A form's fields in the order of their names.
fn with_ttl(
    ttl: i64,
    field: Option<(&'static str, String)>,
) -> impl Iterator<Item = (&'static str, String)> {
    let ttl = Duration::from_secs(ttl.max(0).cast_unsigned()).as_secs();
    let ttl = (ttl > 0).then(|| ("ttl", ttl.to_string()));
    ttl.into_iter().chain(field)
}

/// Writes a file.
async fn put(settings: &Settings, words: &Words, put: Put<'_>) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    let key = key(words)?;
    let ask = Put { value: Some(value(words)?), ttl: words.number("ttl"), ..put }.ask(key);
    done(settings, &mut cluster, &ask).await?.show(settings.format())
}

pub(super) async fn set(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let previous_value = words.text("swap-with-value");
    let previous_index = words.number("swap-with-index");
    put(settings, words, Put { previous_value, previous_index, ..Put::default() }).await
}

pub(super) async fn update(settings: &Settings, words: &Words) -> Result<(), Failure> {
    put(settings, words, Put { must_exist: Some(true), ..Put::default() }).await
}

pub(super) async fn mk(settings: &Settings, words: &Words) -> Result<(), Failure> {
    if !words.switch("in-order") {
        return put(settings, words, Put { must_exist: Some(false), ..Put::default() }).await;
    }
    let mut cluster = settings.cluster().await?;
    let key = key(words)?;
    let body = form(with_ttl(words.number("ttl"), Some(("value", value(words)?))));
    let ask = Ask { body: Some((FORM, body)), ..asking(Method::POST, key) };
    done(settings, &mut cluster, &ask).await?.show(settings.format())
}

/// `mkdir`, `setdir` and `updatedir`.
pub(super) async fn directory(
    settings: &Settings,
    words: &Words,
    must_exist: Option<bool>,
) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    let put = Put { is_dir: true, must_exist, ttl: words.number("ttl"), ..Put::default() };
    let event = done(settings, &mut cluster, &put.ask(key(words)?)).await?;
    match settings.format() {
        "simple" => Ok(()),
        other => event.show(other),
    }
}

pub(super) async fn rm(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    let mut query = Vec::new();
    if words.switch("dir") {
        query.push(("dir", "true".to_owned()));
    }
    if words.number("with-index") != 0 {
        query.push(("prevIndex", words.number("with-index").cast_unsigned().to_string()));
    }
    if !words.text("with-value").is_empty() {
        query.push(("prevValue", words.text("with-value").to_owned()));
    }
    if words.switch("recursive") {
        query.push(("recursive", "true".to_owned()));
    }
    remove(settings, &mut cluster, key(words)?, form(query)).await
}

pub(super) async fn rmdir(settings: &Settings, words: &Words) -> Result<(), Failure> {
    let mut cluster = settings.cluster().await?;
    remove(settings, &mut cluster, key(words)?, "dir=true".to_owned()).await
}

async fn remove(
    settings: &Settings,
    cluster: &mut Cluster,
    key: &str,
    query: String,
) -> Result<(), Failure> {
    let ask = Ask { query, is_once: true, ..asking(Method::DELETE, key) };
    let event = done(settings, cluster, &ask).await?;
    match settings.format() {
        "simple" if event.node.dir => Ok(()),
        format => event.show(format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_what_etcdctl_sends() {
        let put = Put { previous_value: "a b", previous_index: 7, ..Put::default() };
        let ask = Put { value: Some("v&w".to_owned()), ttl: 5, ..put }.ask("k");
        assert_eq!(
            (ask.path.as_str(), ask.query.as_str()),
            ("/v2/keys/k", "prevIndex=7&prevValue=a+b")
        );
        assert_eq!(ask.body, Some((FORM, "ttl=5&value=v%26w".to_owned())));
        let ask =
            Put { is_dir: true, must_exist: Some(false), ttl: -1, ..Put::default() }.ask("/d");
        assert_eq!(
            (ask.query.as_str(), ask.body),
            ("dir=true&prevExist=false", Some((FORM, String::new())))
        );
        assert!(ask.is_once);
    }
}
