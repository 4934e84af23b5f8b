//! The diagnosis, read as the person on call reads it: real trouble, staged with
//! real sockets in namespaces of its own, and the text of the findings held by
//! snapshots (`INSTA_UPDATE=always` writes them anew; read the diff).

mod support;

#[path = "diagnosis/limits.rs"]
mod limits;
#[path = "diagnosis/ports.rs"]
mod ports;
#[path = "diagnosis/promises.rs"]
mod promises;
#[path = "diagnosis/read.rs"]
mod read;
#[path = "diagnosis/sockets.rs"]
mod sockets;
