//! What the layers say: for each key the last sound value, and a line for each fault.

use std::collections::BTreeMap;

use ::config::Value;

use super::keys::{KEYS, Key};
use super::value::shown;

pub(super) struct Said {
    /// By `section.key`, each with where it was said.
    pub(super) values: BTreeMap<&'static str, Value>,
    /// In the order in which they were met.
    pub(super) problems: Vec<String>,
    /// Keys with a value that was refused.
    pub(super) refused: Vec<&'static str>,
}

impl Said {
    /// The built-in values, which have no origin.
    pub(super) fn defaults() -> Self {
        let mut said = Self {
            values: BTreeMap::new(),
            problems: Vec::new(),
            refused: Vec::new(),
        };
        for key in KEYS {
            said.text(key, key.default, None);
        }
        said
    }

    /// Takes what a variable or a flag says, if it is a value for this key.
    pub(super) fn text(&mut self, key: &Key, text: &str, origin: Option<&str>) {
        let origin = origin.map(ToOwned::to_owned);
        self.value(key, &key.kind.read(text, origin.as_ref()));
    }

    /// Takes a value, if it is one for this key.
    pub(super) fn value(&mut self, key: &Key, value: &Value) {
        match key.kind.check(value) {
            Ok(sound) => {
                let origin = value.origin().map(ToOwned::to_owned);
                self.values
                    .insert(key.path, Value::new(origin.as_ref(), sound));
            }
            Err(refusals) => {
                self.refused.push(key.path);
                self.problems.extend(refusals.iter().map(|(value, reason)| {
                    let origin = value.origin().unwrap_or_default();
                    format!("{origin}: {} = {}: {reason}", key.path, shown(&value.kind))
                }));
            }
        }
    }
}
