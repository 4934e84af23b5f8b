//! Shows a snapshot, and knows nothing else: over HTTP, and as text.

mod namespaces;
mod table;
pub mod text;
pub mod web;
