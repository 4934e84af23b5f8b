pub mod routes {
    use crate::self_metrics::SelfMetrics;
    use crate::snapshot::Latest;
    use std::sync::Arc;
    #[derive(Clone)]
    pub struct App {
        pub latest: Latest,
        pub own: Arc<SelfMetrics>,
        pub version: &'static str,
        pub revision: &'static str,
    }
    pub fn router(_a: App) -> axum::Router {
        axum::Router::new()
    }
}
pub mod server {
    pub struct Limits {
        pub max_connections: usize,
        pub header_timeout: std::time::Duration,
        pub request_timeout: std::time::Duration,
    }
    pub fn bind(
        _a: &[std::net::SocketAddr],
        _f: bool,
    ) -> anyhow::Result<Vec<tokio::net::TcpListener>> {
        Ok(vec![])
    }
    pub async fn serve(
        _l: Vec<tokio::net::TcpListener>,
        _r: axum::Router,
        _li: Limits,
        s: impl Future<Output = ()>,
    ) {
        s.await
    }
}
