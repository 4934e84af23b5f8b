//! Shows a snapshot, and knows nothing else: over HTTP, and as text.

pub mod text;
pub mod web;
