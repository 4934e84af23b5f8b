//! Shows a snapshot and the last ten minutes, and knows nothing else: routes and the page
//! over them, and a server whose connections cannot be held against it.

mod assets;
mod bind;
pub mod client;
mod connections;
mod encoding;
mod figures;
pub mod host;
mod html;
mod page;
mod plot;
mod plots;
pub mod routes;
pub mod server;
mod table;
mod tls;
mod trouble;
pub mod web_config;

use std::sync::Arc;

use crate::history::History;
use crate::progress::Progress;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::Latest;
use web_config::gate::Gate;

/// What the routes show.
#[derive(Clone)]
pub struct App {
    pub latest: Latest,
    /// Takes what is published: [`App::remember`].
    pub history: Arc<History>,
    pub own: Arc<SelfMetrics>,
    pub progress: Progress,
    pub version: &'static str,
    pub revision: &'static str,
    /// Where the metrics are, `/metrics` as a rule.
    pub telemetry_path: Arc<str>,
    /// What stands before every route; nothing where there is no web configuration.
    pub gate: Option<Arc<Gate>>,
}

impl App {
    /// Keeps the history as long as anything is published. Never returns.
    pub async fn remember(mut self) {
        while self.latest.changed().await {
            if let Some(published) = self.latest.fresh() {
                self.history.record_at(published.at, &published);
            }
        }
        std::future::pending().await
    }
}
