//! The headers that the web configuration may add to every answer.

use axum::http::{HeaderName, HeaderValue};

/// The toolkit permits these alone, spelled like this, and for some a few values.
const PERMITTED: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// Checks the headers of a file; an empty value adds none.
pub fn headers<'h>(said: impl Iterator<Item = (&'h str, &'h str)>) -> Result<Headers, String> {
    let mut headers = Vec::new();
    for (name, value) in said {
        let key = format!("http_server_config.headers.{name}");
        let Some((_, values)) = PERMITTED.iter().find(|(known, _)| *known == name) else {
            let known = PERMITTED.map(|(known, _)| known).join(", ");
            return Err(format!(
                "{key}: this header cannot be configured; allowed are {known}"
            ));
        };
        if !values.is_empty() && !values.contains(&value) {
            let allowed = values.join(" or ");
            return Err(format!(
                "{key}: {value:?} is not allowed here; write {allowed}"
            ));
        }
        if value.is_empty() {
            continue;
        }
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            return Err(format!(
                "{key}: the value has characters that no header may have"
            ));
        };
        headers.push((name, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn only_the_permitted_headers_and_values_are_taken() {
        let one = |name, value| headers([(name, value)].into_iter());
        let policy = one("Content-Security-Policy", "default-src 'none'").unwrap();
        assert_eq!(policy[0].0, header::CONTENT_SECURITY_POLICY);
        assert_eq!(policy[0].1, "default-src 'none'");
        assert_eq!(one("X-Frame-Options", "deny").unwrap().len(), 1);
        assert_eq!(one("X-XSS-Protection", "").unwrap(), []);
        let refused = [
            (
                "Server",
                "x",
                "cannot be configured; allowed are Content-Security-Policy",
            ),
            ("x-frame-options", "deny", "cannot be configured"),
            ("X-Frame-Options", "DENY", "write deny or sameorigin"),
            ("X-Content-Type-Options", "", "write nosniff"),
            (
                "X-XSS-Protection",
                "a\nb",
                "characters that no header may have",
            ),
        ];
        for (name, value, reason) in refused {
            let said = one(name, value).unwrap_err();
            assert!(said.contains(name) && said.contains(reason), "{said}");
        }
    }
}
