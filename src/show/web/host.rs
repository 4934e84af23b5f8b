//! Keeps web pages off an exporter that serves this machine alone. A page of anybody's may
//! have its own name resolve to 127.0.0.1 (DNS rebinding): the browser then takes the exporter
//! for that page's server and lets it read the answers. What gives it away is the name in the
//! `Host` header.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Whether only this machine can connect to all of these.
pub fn is_local(addresses: &[SocketAddr]) -> bool {
    let is_local = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    addresses.iter().all(is_local)
}

/// Answers requests to an address or to localhost.
pub async fn guard(request: Request, next: Next) -> Response {
    if is_ours(request.headers()) {
        return next.run(request).await;
    }
    let reason = "this exporter listens on the loopback alone and answers to localhost and addresses, not to the name in your Host header\n";
    (StatusCode::FORBIDDEN, reason).into_response()
}

/// Programs that speak HTTP/1.0 may send none: no browser does.
fn is_ours(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        // An IPv6 address has colons of its own, and brackets around them.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(host: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        is_ours(&headers)
    }

    #[test]
    fn addresses_and_localhost_are_answered_and_names_are_not() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:10061",
            "[::1]:10061",
            "[::1]",
            "localhost:1",
            "LocalHost",
            "a.localhost",
        ] {
            assert!(answers(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:10061",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":80",
        ] {
            assert!(!answers(host), "{host}");
        }
        assert!(is_ours(&HeaderMap::new()));
    }

    #[test]
    fn only_the_loopback_is_this_machine_alone() {
        let local = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            is_local(&addresses)
        };
        assert!(local(&["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"]));
        assert!(!local(&["127.0.0.1:1", "10.0.0.1:1"]) && !local(&["[::]:1"]));
    }
}
