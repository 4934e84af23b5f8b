//! The files beside the page: its scripts, its style and its icon, as they were built in.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::html::digest;
use super::routes::not_found;

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

/// A browser keeps them, and asks whether they are still the same.
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return not_found().await.into_response();
    };
    let tag = format!("\"{}\"", digest(text));
    let keep = [(CACHE_CONTROL, "no-cache"), (ETAG, &*tag)];
    let known = headers.get(IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, keep).into_response();
    }
    (keep, [(CONTENT_TYPE, *kind)], *text).into_response()
}
