//! The HTTP side from outside: a real server on 127.0.0.1, and raw streams for
//! clients, the well-behaved and the others.

mod support;

#[path = "web_config/authority.rs"]
#[allow(
    dead_code,
    reason = "it belongs to the tests of the web configuration; these use a part of it"
)]
mod authority;

mod web {
    pub mod bind;
    pub mod client;
    pub mod hostile;
    pub mod page;
    pub mod routes;
    pub mod snapshots;
    pub mod tls;
}
