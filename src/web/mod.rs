//! Shows a snapshot, and knows nothing else.
