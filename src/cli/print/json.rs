//! JSON with the fields in the order and with the omissions of Go's encoder; pure.

/// An object under construction. Fields that are zero or empty are left out; [`Object::raw`] leaves nothing out.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(Vec<(&'static str, String)>);

impl Object {
    /// A value that is JSON already; always present.
    pub(super) fn raw(mut self, name: &'static str, json: impl ToString) -> Self {
        self.0.push((name, json.to_string()));
        self
    }

    pub(super) fn number(self, name: &'static str, value: i64) -> Self {
        if value == 0 { self } else { self.raw(name, value) }
    }

    pub(super) fn unsigned(self, name: &'static str, value: u64) -> Self {
        if value == 0 { self } else { self.raw(name, value) }
    }

    pub(super) fn switch(self, name: &'static str, value: bool) -> Self {
        if value { self.raw(name, true) } else { self }
    }

    pub(super) fn text(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.raw(name, text(value)) }
    }

    pub(super) fn bytes(self, name: &'static str, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.raw(name, text(&base64(value))) }
    }

    pub(super) fn object(self, name: &'static str, value: &Self) -> Self {
        self.raw(name, value.encode())
    }

    pub(super) fn array(self, name: &'static str, items: impl IntoIterator<Item = String>) -> Self {
        let items: Vec<String> = items.into_iter().collect();
        if items.is_empty() { self } else { self.raw(name, array(items)) }
    }

    pub(super) fn encode(&self) -> String {
        let fields: Vec<String> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

pub(super) fn text(value: &str) -> String {
    escaped(serde_json::Value::from(value).to_string())
}

/// JSON as Go's encoder writes it, which escapes what could mean something to a browser; such signs stand in texts alone.
pub(in super::super) fn escaped(mut out: String) -> String {
    for (c, escape) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if out.contains(c) {
            out = out.replace(c, escape);
        }
    }
    out
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_padding() {
        for (bytes, letters) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), letters);
        }
    }

    #[test]
    fn empty_fields_are_left_out_and_order_is_kept() {
        let object =
            Object::default().number("z", 1).number("n", 0).text("a", "q\"").raw("always", 0);
        assert_eq!(object.encode(), r#"{"z":1,"a":"q\"","always":0}"#);
        assert_eq!(text("<a&b>"), r#""\u003ca\u0026b\u003e""#);
    }
}
