//! What the web configuration wants of each request: a token of the rate limit, a name and a
//! password; and the headers that it adds to each answer.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::WebConfig;
use super::passwords::{Credentials, Passwords, Verdict};
use super::rate::Bucket;
use super::reload::Settings;

/// RFC 7617 wants a realm; browsers show it.
const CHALLENGE: &str = "Basic realm=\"sockdiag-exporter\", charset=\"UTF-8\"";

/// Stands before every route, health and readiness included, as in the toolkit.
pub struct Gate {
    config: Arc<WebConfig>,
    passwords: Passwords,
    bucket: Bucket,
}

impl Gate {
    /// # Errors
    /// When the kernel has no random numbers.
    pub fn new(config: Arc<WebConfig>) -> anyhow::Result<Self> {
        let passwords = Passwords::new().map_err(|_| anyhow::anyhow!("no random numbers"))?;
        Ok(Self {
            config,
            passwords,
            bucket: Bucket::default(),
        })
    }

    async fn refusal(&self, settings: &Settings, headers: &HeaderMap) -> Option<Response> {
        if let Some(rate) = settings.rate
            && !self.bucket.allows(rate, Instant::now())
        {
            let body = "too many requests; rate_limit in the web configuration says how many\n";
            return Some((StatusCode::TOO_MANY_REQUESTS, body).into_response());
        }
        if settings.users.is_empty() {
            return None;
        }
        let verdict = match credentials(headers) {
            Some(said) => self.passwords.check(&settings.users, &said).await,
            None => Verdict::Wrong,
        };
        let (status, header, body) = match verdict {
            Verdict::Right => return None,
            Verdict::Wrong => (
                StatusCode::UNAUTHORIZED,
                (WWW_AUTHENTICATE, CHALLENGE),
                "Unauthorized\n",
            ),
            Verdict::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                (RETRY_AFTER, "5"),
                "too many passwords are being checked; come back\n",
            ),
        };
        Some((status, [header], body).into_response())
    }
}

/// Answers those who may ask.
pub async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let settings = gate.config.current();
    let mut response = match gate.refusal(&settings, request.headers()).await {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &settings.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// What `Authorization: Basic …` says (net/http, Request.BasicAuth).
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let said = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = said.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case("Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(Credentials {
        user: String::from_utf8(decoded[..colon].to_vec()).ok()?,
        password: decoded[colon + 1..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str) -> Option<(String, Vec<u8>)> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        credentials(&headers).map(|said| (said.user, said.password))
    }

    #[test]
    fn the_name_ends_at_the_first_colon() {
        let basic = |text: &str| said(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(basic("ann:a:b"), Some(("ann".to_owned(), b"a:b".to_vec())));
        assert_eq!(basic(":"), Some((String::new(), Vec::new())));
        assert_eq!(basic("ann"), None);
        assert_eq!(
            said("basic YW5uOng="),
            Some(("ann".to_owned(), b"x".to_vec()))
        );
    }

    #[test]
    fn what_is_no_basic_authentication_names_nobody() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Bearer YW5uOng=",
            "BasicYW5uOng=",
        ] {
            assert_eq!(said(value), None, "{value}");
        }
        assert_eq!(credentials(&HeaderMap::new()), None);
    }
}
