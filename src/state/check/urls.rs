//! The peer URLs of a member, by etcd's rules: scheme://host:port and nothing behind it.

use super::malformed::Malformed;

pub(super) fn check(urls: &[String]) -> Result<(), Malformed> {
    if urls.is_empty() || !urls.iter().all(|url| is_peer_url(url.trim())) {
        return Err(Malformed::MemberBadUrls);
    }
    Ok(())
}

fn is_peer_url(url: &str) -> bool {
    let Some((scheme, address)) = url.split_once("://") else {
        return false;
    };
    if !matches!(scheme, "http" | "https" | "unix" | "unixs") {
        return false;
    }
    let is_plain =
        !address.contains(['/', '?', '#', '@']) && !address.contains(char::is_whitespace);
    is_plain && address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// A name, an address, or an IPv6 address in brackets; empty is every address.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| !inner.contains(['[', ']'])),
        None => !host.contains([':', '[', ']']),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_scheme_host_and_port() {
        let check_one = |url: &str| check(&[url.to_owned()]);
        for url in ["http://localhost:2380", "https://10.0.0.1:2380", "https://[::1]:2380"] {
            assert_eq!(check_one(url), Ok(()), "{url}");
        }
        let wrong = [
            "",
            "localhost:2380",
            "ftp://a:1",
            "http://a",
            "http://a:1/",
            "http://a:1/x",
            "http://a:x",
            "http://a:70000",
            "http://::1:2380",
            "http://a b:1",
            "http://u@a:1",
            "http://a:",
        ];
        for url in wrong {
            assert_eq!(check_one(url), Err(Malformed::MemberBadUrls), "{url}");
        }
        assert_eq!(check(&[]), Err(Malformed::MemberBadUrls));
    }
}
