//! A configuration that remembers who said what, and can show itself.

use std::collections::BTreeMap;

use ::config::ValueKind;

use super::Config;
use super::keys::KEYS;
use super::value::shown;

/// A configuration that remembers who said what.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// By key, for values that were set: `FILE:LINE`, a variable, or a flag.
    pub(super) origins: BTreeMap<String, String>,
}

impl Loaded {
    /// `FILE:LINE`, the variable or the flag that set `section.key`; none when
    /// it has its built-in default.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.origins.get(key).map(String::as_str)
    }

    /// The value of a key in force, as TOML.
    pub(super) fn shown(&self, path: &str) -> String {
        self.tree().shown(path)
    }

    fn tree(&self) -> Tree {
        Tree(::config::Config::try_from(&self.config).unwrap_or_default())
    }

    /// The configuration in force as a TOML file that means the same; a value
    /// that was set has its origin in a comment behind it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        let tree = self.tree();
        for key in KEYS {
            if key.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{}]\n", key.section);
                section = key.section;
            }
            text += &format!("{} = {}", key.name, tree.shown(key.path));
            if let Some(origin) = self.origin(key.path) {
                text += &format!(" # {origin}");
            }
            text += "\n";
        }
        text
    }
}

/// The values in force.
struct Tree(::config::Config);

impl Tree {
    fn shown(&self, path: &str) -> String {
        let value = self.0.get::<::config::Value>(path);
        // The crate drops empty lists.
        let empty = ValueKind::Array(Vec::new());
        shown(&value.map_or(empty, |value| value.kind))
    }
}
