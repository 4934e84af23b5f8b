//! Content negotiation of one coding, gzip (RFC 9110, sections 12.4.2, 12.5.3).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

/// Whether the client takes gzip, and does not prefer the plain text, which is acceptable unless
/// refused, and the second choice unless the client says otherwise. What cannot be understood
/// is not taken for consent.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let items = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    // Weights from 0 to 1 of those codings that the client names.
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in items {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.next().map_or(Some(1.0), weight).unwrap_or(0.0);
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// `q=0.5`; `None` for anything else.
fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let digits = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight: f32 = value.parse().ok().filter(|_| digits)?;
    (name.eq_ignore_ascii_case("q") && weight <= 1.0).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let cases = [
            ("", false),
            ("gzip", true),
            ("GZip", true),
            ("x-gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip ; q=0.001", true),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("*;q=0, gzip", true),
            ("identity;q=1, gzip;q=0.5", false),
            ("identity;q=0.5, gzip;q=1", true),
            ("identity", false),
            ("br, deflate", false),
            ("gzip;q=often", false),
            ("gzip;q=2", false),
            ("gzip;q=-1", false),
            ("gzip;q=inf", false),
            ("gzip;level=9", false),
            (",,;,gzip", true),
            ("gzipped", false),
        ];
        for (value, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), expected, "{value:?}");
        }
    }

    #[test]
    fn several_headers_count_as_one_and_none_means_plain() {
        assert!(!accepts_gzip(&HeaderMap::new()));
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, "deflate".parse().unwrap());
        headers.append(ACCEPT_ENCODING, "gzip".parse().unwrap());
        assert!(accepts_gzip(&headers));
    }
}
