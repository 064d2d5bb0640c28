//! Numbers, switches and quotes as Go's programs read and write them, with Go's texts of mistakes; pure.

/// `strconv.ParseInt(text, 10, 64)`.
pub(super) fn parse_int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| not_parsed("ParseInt", text, &error))
}

/// `strconv.ParseInt(text, 16, 64)`: a lease as people pass it around. `0x` in front is understood, too.
pub(super) fn parse_hex_int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    i64::from_str_radix(digits, 16).map_err(|error| not_parsed("ParseInt", text, &error))
}

/// `strconv.ParseUint(text, 16, 64)`: a member as people pass it around. `0x` in front is understood, too.
pub(super) fn parse_hex_uint(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(_) if digits.starts_with('+') => Err(invalid_syntax("ParseUint", text)),
        parsed => parsed.map_err(|error| not_parsed("ParseUint", text, &error)),
    }
}

/// `strconv.ParseBool(text)`.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid_syntax("ParseBool", text)),
    }
}

fn invalid_syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(text.as_bytes()))
}

fn not_parsed(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    if matches!(error.kind(), PosOverflow | NegOverflow) {
        return format!(
            "strconv.{function}: parsing {}: value out of range",
            quote(text.as_bytes())
        );
    }
    invalid_syntax(function, text)
}

/// Go's `%q`.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x07' => out.push_str("\\a"),
                '\x08' => out.push_str("\\b"),
                '\x0b' => out.push_str("\\v"),
                '\x0c' => out.push_str("\\f"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_go_does() {
        assert_eq!(quote(b"a\"b\\c\n\x01\xff\xc3\xa9"), r#""a\"b\\c\n\x01\xffé""#);
    }

    #[test]
    fn numbers_are_read_and_refused_as_go_does() {
        assert_eq!(parse_int("-12"), Ok(-12));
        assert_eq!(
            parse_int("x"),
            Err("strconv.ParseInt: parsing \"x\": invalid syntax".to_owned())
        );
        assert_eq!(
            parse_int("9223372036854775808"),
            Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range".to_owned())
        );
        assert_eq!(parse_hex_int("0x1f"), Ok(31));
        assert_eq!(parse_hex_uint("8e9e05c52164694d"), Ok(0x8e9e_05c5_2164_694d));
        assert!(parse_hex_uint("12 34").unwrap_err().contains("ParseUint: parsing \"12 34\""));
        assert!(parse_hex_uint("+1").is_err() && parse_hex_uint("").is_err());
        assert_eq!((parse_bool("T"), parse_bool("0")), (Ok(true), Ok(false)));
        assert!(parse_bool("yes").unwrap_err().contains("ParseBool"));
    }
}
