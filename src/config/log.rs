//! The two words that choose what is logged.

use serde::Deserialize;

/// The least severe event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As written in the configuration, most severe first.
    pub const NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// As written in the configuration.
    pub const NAMES: [&str; 2] = ["text", "json"];

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
