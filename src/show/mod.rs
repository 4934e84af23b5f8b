//! Shows a snapshot, and knows nothing else: over HTTP, and as text.

mod namespaces;
pub mod text;
pub mod web;
