//! Parameters of a query and of a form in the body, as Go's `ParseForm` reads them.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use tokio::time::timeout;

use super::media;
use crate::api::http::arriving::Arriving;
use crate::api::http::session::Session;
use crate::base::limits;
use crate::transport::Bound;

const FORM: &str = "application/x-www-form-urlencoded";

/// What escapes may add to a value, times its length.
const ESCAPE_FACTOR: usize = 3;

/// Names and values in their order, those of the body first.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(Vec<u8>, Vec<u8>)>);

impl Form {
    /// Of a request; the text of what is wrong with it otherwise.
    pub(super) fn parse(query: &[u8], body: &[u8]) -> Result<Self, String> {
        let mut form = Self::default();
        let of_body = form.add(body);
        let of_query = form.add(query);
        of_body.and(of_query).map(|()| form)
    }

    fn add(&mut self, text: &[u8]) -> Result<(), String> {
        let mut outcome = Ok(());
        for part in text.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
            if part.contains(&b';') {
                let wrong = "invalid semicolon separator in query".to_owned();
                outcome = outcome.and(Err(wrong));
                continue;
            }
            let at = part.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((part, &b""[..]), |at| (&part[..at], &part[at + 1..]));
            match (unescaped(name, true), unescaped(value, true)) {
                (Ok(name), Ok(value)) => self.0.push((name, value)),
                (Err(wrong), _) | (_, Err(wrong)) => outcome = outcome.and(Err(wrong)),
            }
        }
        outcome
    }

    /// The first value of that name; none if it is not there at all.
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(it, _)| it == name.as_bytes());
        found.next().map(|(_, value)| value.as_slice())
    }

    /// The same, empty where there is none.
    pub(super) fn text(&self, name: &str) -> &[u8] {
        self.value(name).unwrap_or_default()
    }

    /// As Go's `ParseBool`; false where there is none.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ()> {
        match self.value(name) {
            None | Some(b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False") => Ok(false),
            Some(b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True") => Ok(true),
            Some(_) => Err(()),
        }
    }

    /// As Go's `ParseUint`; 0 where there is none.
    pub(super) fn number(&self, name: &str) -> Result<u64, ()> {
        let Some(value) = self.value(name) else { return Ok(0) };
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(());
        }
        std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(())
    }
}

/// The form in the body of a request that may have one; what is wrong with it otherwise.
pub(super) async fn body(
    session: &Session,
    method: &Method,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Bytes, String> {
    if !matches!(*method, Method::PUT | Method::POST | Method::PATCH) {
        return Ok(Bytes::new());
    }
    if media::kind(headers.get(CONTENT_TYPE).map_or(b"", HeaderValue::as_bytes))? != FORM {
        return Ok(Bytes::new());
    }
    whole(session, headers, body).await
}

/// A whole body, of a bounded length and in a bounded time.
pub(super) async fn whole(
    session: &Session,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Bytes, String> {
    let bytes_max = session.shared.config.message_bytes_max * ESCAPE_FACTOR;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = length.unwrap_or(bytes_max).min(bytes_max);
    let slow = |_| "i/o timeout".to_owned();
    let mut arriving = Arriving::of(session);
    arriving.expect(bytes);
    let collected = tokio::select! {
        () = arriving.crowded_out() => return Err(Bound::Unfinished.text().to_owned()),
        collected = timeout(
            limits::HTTP_MESSAGE_DEADLINE,
            Limited::new(body, bytes_max).collect(),
        ) => collected,
    };
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err("http: POST too large".to_owned())
        }
        Ok(Err(_)) => Err("unexpected EOF".to_owned()),
        Err(elapsed) => Err(slow(elapsed)),
    }
}

/// Without `%` escapes; in a query `+` is a blank.
pub(super) fn unescaped(text: &[u8], is_query: bool) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digit = |at: usize| after.get(at).and_then(|it| char::from(*it).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let wrong = &after[..after.len().min(2)];
                    let wrong = String::from_utf8_lossy(wrong);
                    return Err(format!("invalid URL escape \"%{wrong}\""));
                };
                plain.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            b'+' if is_query => plain.push(b' '),
            byte => plain.push(byte),
        }
    }
    Ok(plain)
}

/// A path as Go writes it into a URL.
pub(super) fn escaped(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'='
            | b'@' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_speaks_first() {
        let form = Form::parse(b"value=q&dir=true", b"value=b+c%21&x").unwrap();
        assert_eq!((form.text("value"), form.value("x")), (&b"b c!"[..], Some(&b""[..])));
        assert_eq!((form.flag("dir"), form.flag("no")), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_cannot_be_read_is_told_as_go_tells_it() {
        let wrong = |query: &str| Form::parse(query.as_bytes(), b"").unwrap_err();
        assert_eq!(wrong("a=%zz"), "invalid URL escape \"%zz\"");
        assert_eq!(wrong("a=%1"), "invalid URL escape \"%1\"");
        assert_eq!(wrong("a;b"), "invalid semicolon separator in query");
    }

    #[test]
    fn numbers_and_flags_are_gos() {
        let form = Form::parse(b"a=12&b=-1&c=&d=yes&e=T&f=+1&g=18446744073709551616", b"").unwrap();
        assert_eq!((form.number("a"), form.number("none")), (Ok(12), Ok(0)));
        for wrong in ["b", "c", "f", "g"] {
            assert_eq!(form.number(wrong), Err(()), "{wrong}");
        }
        assert_eq!((form.flag("d"), form.flag("e"), form.flag("c")), (Err(()), Ok(true), Err(())));
    }

    #[test]
    fn paths_go_there_and_back() {
        let path = "/v2/keys/a b%?ü".as_bytes();
        assert_eq!(escaped(path), "/v2/keys/a%20b%25%3F%C3%BC");
        assert_eq!(unescaped(escaped(path).as_bytes(), false).unwrap(), path);
    }
}
