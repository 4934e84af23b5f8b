//! Shows a snapshot, and knows nothing else: routes and the page over it, and a
//! server whose connections cannot be held against it.

mod bind;
pub mod client;
mod connections;
mod encoding;
pub mod host;
mod html;
mod page;
pub mod routes;
pub mod server;
mod tls;
pub mod web_config;

use std::sync::Arc;

use crate::progress::Progress;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::Latest;
use web_config::gate::Gate;

/// What the routes show.
#[derive(Clone)]
pub struct App {
    pub latest: Latest,
    pub own: Arc<SelfMetrics>,
    pub progress: Progress,
    pub version: &'static str,
    pub revision: &'static str,
    /// Where the metrics are, `/metrics` as a rule.
    pub telemetry_path: Arc<str>,
    /// What stands before every route; nothing where there is no web configuration.
    pub gate: Option<Arc<Gate>>,
}
