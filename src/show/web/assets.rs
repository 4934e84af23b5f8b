//! The files beside the page: its scripts, its style and its icon, as they were built in.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::html::digest;

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [(&str, &str, &str); 5] = [
    ("page.js", SCRIPT, include_str!("static/page.js")),
    ("change.js", SCRIPT, include_str!("static/change.js")),
    ("sort.js", SCRIPT, include_str!("static/sort.js")),
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("static/page.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("static/icon.svg")),
];

/// The one of this name. A browser keeps it, and asks whether it is still the same.
pub fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let (_, kind, text) = FILES.iter().find(|(known, ..)| *known == name)?;
    let tag = format!("\"{}\"", digest(text));
    let keep = [(CACHE_CONTROL, "no-cache"), (ETAG, &*tag)];
    let known = headers.get(IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Some((StatusCode::NOT_MODIFIED, keep).into_response());
    }
    Some((keep, [(CONTENT_TYPE, *kind)], *text).into_response())
}
