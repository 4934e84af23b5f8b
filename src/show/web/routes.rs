//! What is at which path.

use std::sync::Arc;

use axum::extract::{MatchedPath, Path, RawQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::encoding::accepts_gzip;
use super::web_config::gate;
use super::{App, assets, page};
use crate::exposition;
use crate::snapshot::Published;

/// Prometheus text exposition format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every route answers GET and HEAD at once: none waits for a poll.
pub fn router(app: App) -> Router {
    let mut router = Router::new()
        .route(&app.telemetry_path, get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/static/{file}", get(file))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method);
    // As in other exporters, metrics at / leave no room for the page.
    if &*app.telemetry_path != "/" {
        router = router.route("/", get(landing));
    }
    if let Some(gate) = &app.gate {
        router = router.layer(from_fn_with_state(Arc::clone(gate), gate::guard));
    }
    router
        .layer(from_fn_with_state(app.clone(), account))
        .with_state(app)
}

/// Counts the request under its route, so that clients cannot make series.
async fn account(
    State(app): State<App>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    app.own.count_request(path, response.status().as_u16());
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let page = match app.latest.fresh() {
        Some(published) => published.page.clone(),
        None => exposition::render_own(&app.own.families()),
    };
    let kind = [(CONTENT_TYPE, EXPOSITION), (VARY, "Accept-Encoding")];
    if accepts_gzip(&headers) {
        (kind, [(CONTENT_ENCODING, "gzip")], page.gzip).into_response()
    } else {
        (kind, page.text).into_response()
    }
}

async fn healthy(State(app): State<App>) -> Response {
    match app.progress.stuck_for() {
        None => "healthy\n".into_response(),
        Some(time) => unavailable(format!(
            "not healthy: the collector thread has been stuck for {} s\n",
            time.as_secs()
        )),
    }
}

async fn ready(State(app): State<App>) -> Response {
    match published(&app) {
        Ok(_) => "ready\n".into_response(),
        Err(reason) => unavailable(format!("not ready: {reason}\n")),
    }
}

async fn snapshot(State(app): State<App>) -> Response {
    match published(&app) {
        Ok(published) => Json(&published.snapshot).into_response(),
        Err(reason) => unavailable(Json(json!({ "error": reason }))),
    }
}

async fn landing(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let published = published(&app);
    let (snapshot, why_not) = match &published {
        Ok(published) => {
            // The plots end with what the page says, whoever came first.
            app.history.record_at(published.at, published);
            (Some(&published.snapshot), "")
        }
        Err(reason) => (None, *reason),
    };
    let netns = query.and_then(|query| asked_for(&query));
    let content = page::Content {
        version: app.version,
        telemetry_path: &app.telemetry_path,
        revision: app.revision,
        snapshot,
        history: &app.history,
        why_not,
        netns: netns.as_deref(),
        now: std::time::SystemTime::now(),
    };
    let status = match content.is_found() {
        true => StatusCode::OK,
        false => StatusCode::NOT_FOUND,
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page::SECURITY_POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, content.render()).into_response()
}

/// The network namespace in `/?netns=NAME`; an empty name is none.
fn asked_for(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, name) = pairs.find(|(key, _)| key == "netns")?;
    (!name.is_empty()).then(|| name.into_owned())
}

fn unavailable(body: impl IntoResponse) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match assets::file(&name, &headers) {
        Some(file) => file,
        None => not_found().await.into_response(),
    }
}

async fn not_found() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "not found; / lists what there is\n")
}

async fn wrong_method() -> impl IntoResponse {
    let body = "only GET and HEAD are answered here\n";
    (StatusCode::METHOD_NOT_ALLOWED, body)
}

/// The last snapshot, or why there is nothing to show.
fn published(app: &App) -> Result<Arc<Published>, &'static str> {
    let reason = match app.latest.has_started() {
        true => "the last snapshot is too old",
        false => "no poll has finished yet",
    };
    app.latest.fresh().ok_or(reason)
}
