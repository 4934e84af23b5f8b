//! What one layer says: its sound values, as the `config` crate takes them, and a line
//! for each fault.

use ::config::{Map, Source, Value};

use super::keys::Key;
use super::value::shown;

#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// By `section.key`, each with where it was said.
    pub(super) sound: Map<String, Value>,
    /// In the order in which they were met.
    pub(super) problems: Vec<String>,
    /// Keys with a value that was refused.
    pub(super) refused: Vec<&'static str>,
}

impl Layer {
    /// Takes a value, if it is one for this key.
    pub(super) fn say(&mut self, key: &Key, value: &Value) {
        let origin = value.origin().map(ToOwned::to_owned);
        match key.kind.check(value) {
            Ok(sound) => {
                let value = Value::new(origin.as_ref(), sound);
                self.sound.insert(key.path.to_owned(), value);
            }
            Err(refusals) => {
                for refusal in refusals {
                    let origin = refusal.value.origin().unwrap_or_default();
                    let said = shown(&refusal.value.kind);
                    self.complain(format!(
                        "{origin}: {} = {said}: {}",
                        key.path, refusal.reason
                    ));
                }
                self.refused.push(key.path);
            }
        }
    }

    /// Tells of something that is no value of ours.
    pub(super) fn complain(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.sound.clone())
    }
}
