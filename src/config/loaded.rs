//! The layers, one over the other: built-in defaults, file, environment, flags; and the
//! configuration that comes of them, which remembers who said what and can show itself.

use std::ffi::OsString;
use std::path::Path;

use super::gathered::{Gathered, Values};
use super::keys::KEYS;
use super::{Config, ConfigError, Overrides, env, file, rules};

/// A configuration that remembers who said what.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Of every key.
    values: Values,
}

impl Loaded {
    /// Like [`Config::load`].
    ///
    /// # Errors
    /// The same.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let env = env.into_iter();
        let variables = env.map(|(name, value)| (name.into(), value.into()));
        let mut gathered = Gathered::defaults();
        if let Some(path) = file {
            file::read(path, &mut gathered);
        }
        env::read(variables.collect(), &mut gathered);
        overrides.add_to(&mut gathered);

        let mut problems = gathered.problems;
        match typed(&gathered.values) {
            Ok(config) => {
                let values = gathered.values;
                problems.extend(rules::broken(&config, &values, &gathered.refused));
                if problems.is_empty() {
                    return Ok(Self { config, values });
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
        Err(ConfigError { problems })
    }

    /// `FILE:LINE`, the variable or the flag that set `section.key`; none when
    /// it has its built-in default.
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.values.origin(key)
    }

    /// The configuration in force as a TOML file that means the same; a value
    /// that was set has its origin in a comment behind it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (its, name) = key.parts();
            if its != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{its}]\n");
                section = its;
            }
            text += &format!("{name} = {}", self.values.shown(key.path));
            if let Some(origin) = self.origin(key.path) {
                text += &format!(" # {origin}");
            }
            text += "\n";
        }
        text
    }
}

fn typed(values: &Values) -> Result<Config, ::config::ConfigError> {
    let mut builder = ::config::Config::builder();
    for (path, value) in &values.0 {
        builder = builder.set_override(*path, value.clone())?;
    }
    builder.build()?.try_deserialize()
}
