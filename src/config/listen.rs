//! A listen address, and what is wrong with one that is not.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const EXAMPLES: &str = r#"write for example "[::]:10061", "0.0.0.0:9000" or ":10061""#;

/// An IP address with a port; `:10061` alone means `[::]:10061`.
///
/// # Errors
/// The reason, and examples of what is allowed. Host names are refused: what
/// they resolve to may change, and the daemon shall listen where it was told.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    Err(format!("{}; {EXAMPLES}", fault(text)))
}

/// Digits only: `str::parse` would take a sign as well.
fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn fault(text: &str) -> &'static str {
    let unbracketed = text.trim_start_matches('[').trim_end_matches(']');
    match unbracketed.parse() {
        Ok(IpAddr::V6(_)) if unbracketed == text => {
            return "an IPv6 address needs brackets and a port";
        }
        Ok(_) => return "the port is missing",
        Err(_) => {}
    }
    match text.rsplit_once(':') {
        _ if text.is_empty() => "no address is given",
        _ if text.contains("://") => "an address is wanted, not a URL",
        None => "must be an IP address with a port",
        Some((_, number)) if port(number).is_none() => "the port must be between 0 and 65535",
        Some((host, _))
            if host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':') =>
        {
            "host names are not looked up, an IP address is needed"
        }
        Some(_) => "must be an IP address with a port",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are_written() {
        let cases = [
            ("[::]:10061", "[::]:10061"),
            (":10061", "[::]:10061"),
            (":0", "[::]:0"),
            ("0.0.0.0:9000", "0.0.0.0:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("[fe80::1%2]:9000", "[fe80::1%2]:9000"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_listen(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_bad_address_is_explained() {
        let cases = [
            ("", "no address is given"),
            ("9000", "must be an IP address with a port"),
            ("127.0.0.1", "the port is missing"),
            ("[::1]", "the port is missing"),
            ("::1", "an IPv6 address needs brackets and a port"),
            ("::1:9000", "an IPv6 address needs brackets and a port"),
            ("127.0.0.1:", "the port must be between 0 and 65535"),
            ("127.0.0.1:65536", "the port must be between 0 and 65535"),
            (":+80", "the port must be between 0 and 65535"),
            ("300.0.0.1:80", "must be an IP address with a port"),
            (
                "localhost:9000",
                "host names are not looked up, an IP address is needed",
            ),
            ("http://127.0.0.1:9000", "an address is wanted, not a URL"),
        ];
        for (text, reason) in cases {
            assert_eq!(
                parse_listen(text).unwrap_err(),
                format!("{reason}; {EXAMPLES}"),
                "{text:?}"
            );
        }
    }
}
