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

use std::sync::Arc;

use crate::progress::Progress;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::Latest;

/// What the routes show.
#[derive(Clone)]
pub struct App {
    pub latest: Latest,
    pub own: Arc<SelfMetrics>,
    pub progress: Progress,
    pub version: &'static str,
    pub revision: &'static str,
}
