//! The kinds of value: where each lives in the typed configuration, how a
//! variable's text stands for it, and how it is shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::config::{Value, ValueKind};

use super::values::{
    Refusal, count, folder, fraction, human, label, listen, ports, quote, span, word,
};
use super::{Config, LogFormat, LogLevel};

/// Where a value lives in the typed configuration.
type Slot<T> = fn(&mut Config) -> &mut T;

#[rustfmt::skip]
pub(super) enum Kind {
    Listen { slot: Slot<Vec<SocketAddr>> },
    Count { slot: Slot<usize>, least: usize, most: usize, why: &'static str },
    Span { slot: Slot<Duration>, least: Duration, most: Duration },
    Fraction { slot: Slot<f64> },
    Ports { slot: Slot<Vec<u16>> },
    Folder { slot: Slot<PathBuf> },
    Label { slot: Slot<String> },
    Level { slot: Slot<LogLevel> },
    Format { slot: Slot<LogFormat> },
}

impl Kind {
    /// Checks `value` and puts it in its place.
    pub(super) fn set<'v>(
        &self,
        config: &mut Config,
        value: &'v Value,
    ) -> Result<(), Vec<Refusal<'v>>> {
        let whole = |reason| vec![Refusal { value, reason }];
        match self {
            Self::Listen { slot } => *slot(config) = listen(value)?,
            Self::Ports { slot } => *slot(config) = ports(value)?,
            Self::Count {
                slot,
                least,
                most,
                why,
            } => {
                *slot(config) = count(&value.kind, *least, *most, why).map_err(whole)?;
            }
            Self::Span { slot, least, most } => {
                *slot(config) = span(&value.kind, *least, *most).map_err(whole)?;
            }
            Self::Fraction { slot } => *slot(config) = fraction(&value.kind).map_err(whole)?,
            Self::Folder { slot } => *slot(config) = folder(&value.kind).map_err(whole)?,
            Self::Label { slot } => *slot(config) = label(&value.kind).map_err(whole)?,
            Self::Level { slot } => {
                *slot(config) = word(&value.kind, &LogLevel::NAMES).map_err(whole)?;
            }
            Self::Format { slot } => {
                *slot(config) = word(&value.kind, &LogFormat::NAMES).map_err(whole)?;
            }
        }
        Ok(())
    }

    /// The value that a variable's text stands for. Text that is not of this
    /// kind stays text, for `set` to refuse.
    pub(super) fn read_text(&self, text: &str, origin: &String) -> Value {
        let value = |kind| Value::new(Some(origin), kind);
        let number = |text: &str| match text.parse() {
            Ok(number) => ValueKind::I64(number),
            Err(_) => ValueKind::String(text.to_owned()),
        };
        let list = |element: &dyn Fn(&str) -> ValueKind| {
            let parts = text.split(',').map(str::trim);
            ValueKind::Array(parts.map(|part| value(element(part))).collect())
        };
        value(match self {
            Self::Count { .. } => number(text),
            Self::Fraction { .. } => match text.parse() {
                Ok(number) => ValueKind::Float(number),
                Err(_) => ValueKind::String(text.to_owned()),
            },
            Self::Ports { .. } if text.is_empty() => ValueKind::Array(Vec::new()),
            Self::Ports { .. } => list(&number),
            Self::Listen { .. } => list(&|part| ValueKind::String(part.to_owned())),
            _ => ValueKind::String(text.to_owned()),
        })
    }

    /// The value in force, as TOML.
    pub(super) fn show(&self, config: &Config) -> String {
        // The slots lend mutably, which a copy can.
        let config = &mut config.clone();
        match self {
            Self::Listen { slot } => {
                let quoted: Vec<_> = slot(config)
                    .iter()
                    .map(|address| quote(&address.to_string()))
                    .collect();
                format!("[{}]", quoted.join(", "))
            }
            Self::Ports { slot } => format!("{:?}", slot(config)),
            Self::Count { slot, .. } => slot(config).to_string(),
            Self::Span { slot, .. } => quote(&human(*slot(config))),
            Self::Fraction { slot } => format!("{:?}", slot(config)),
            Self::Folder { slot } => quote(&slot(config).to_string_lossy()),
            Self::Label { slot } => quote(slot(config)),
            Self::Level { slot } => quote(slot(config).as_str()),
            Self::Format { slot } => quote(slot(config).as_str()),
        }
    }
}
