//! The HTTP side from outside: a real server on 127.0.0.1, and raw streams for
//! clients, the well-behaved and the others.

mod web {
    pub mod bind;
    pub mod client;
    pub mod hostile;
    pub mod page;
    pub mod routes;
    pub mod snapshots;
}
