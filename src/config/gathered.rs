//! What the layers say: for each key the last sound value, and a line for each fault.

use std::collections::BTreeMap;

use ::config::Value;

use super::keys::{KEYS, Key};
use super::value::shown;

/// By `section.key`, each with where it was gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values(pub(super) BTreeMap<&'static str, Value>);

impl Values {
    /// `FILE:LINE`, the variable or the flag; none of a built-in default.
    pub(super) fn origin(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.origin()
    }

    /// As TOML.
    pub(super) fn shown(&self, path: &str) -> String {
        shown(&self.0[path].kind)
    }
}

#[derive(Default)]
pub(super) struct Gathered {
    pub(super) values: Values,
    /// In the order in which they were met.
    pub(super) problems: Vec<String>,
    /// Keys with a value that was refused.
    pub(super) refused: Vec<&'static str>,
}

impl Gathered {
    /// The built-in values, which have no origin.
    pub(super) fn defaults() -> Self {
        let mut gathered = Self::default();
        for key in KEYS {
            gathered.text(key, key.default, None);
        }
        gathered
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
                let value = Value::new(origin.as_ref(), sound);
                self.values.0.insert(key.path, value);
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
