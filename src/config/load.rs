//! The layers, one over the other: built-in defaults, file, environment, flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use ::config::{Value, ValueKind};

use super::keys::KEYS;
use super::layer::Layer;
use super::loaded::Loaded;
use super::{ConfigError, Overrides, env, file, rules};

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
        let variables = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let layers = [
            file.map(file::read).unwrap_or_default(),
            env::read(variables.collect()),
            flags(overrides),
        ];
        Self::merge(layers).map_err(|problems| ConfigError { problems })
    }

    fn merge(layers: [Layer; 3]) -> Result<Self, Vec<String>> {
        let (mut problems, mut refused) = (Vec::new(), Vec::new());
        let mut origins = BTreeMap::new();
        let mut builder = ::config::Config::builder();
        let fault = |error: ::config::ConfigError| vec![error.to_string()];
        for mut layer in layers {
            problems.append(&mut layer.problems);
            refused.append(&mut layer.refused);
            let said = layer.sound.iter();
            origins.extend(
                said.map(|(key, value)| {
                    (key.clone(), value.origin().unwrap_or_default().to_owned())
                }),
            );
            builder = builder.add_source(layer);
        }
        let merged = builder.build().map_err(fault)?;
        let config = merged.try_deserialize().map_err(fault)?;
        let loaded = Self { config, origins };
        problems.extend(rules::broken(&loaded, &refused));
        match problems.is_empty() {
            true => Ok(loaded),
            false => Err(problems),
        }
    }
}

fn flags(overrides: &Overrides) -> Layer {
    let mut layer = Layer::default();
    let mut say = |path: &str, flag: &str, value: Option<ValueKind>| {
        let key = KEYS.iter().find(|key| key.path == path);
        if let (Some(key), Some(value)) = (key, value) {
            layer.say(key, &Value::new(Some(&flag.to_owned()), value));
        }
    };
    let flag = "--listen".to_owned();
    let listen = overrides.listen.iter();
    let listen = listen.map(|address| Value::new(Some(&flag), address.to_string()));
    let listen: Vec<_> = listen.collect();
    let interval = overrides.poll_interval;
    let interval = interval.map(|span| humantime::format_duration(span).to_string().into());
    say(
        "web.listen",
        &flag,
        (!listen.is_empty()).then_some(ValueKind::Array(listen)),
    );
    let on = overrides.systemd_socket.then_some(true.into());
    say("web.systemd_socket", "--systemd-socket", on);
    // A flag's path is relative to where the command was given.
    let file = overrides.web_config_file.as_ref();
    let file = file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let file = file.map(|path| path.to_string_lossy().into_owned().into());
    say("web.config_file", "--web-config-file", file);
    let route = overrides.telemetry_path.clone().map(Into::into);
    say("web.telemetry_path", "--telemetry-path", route);
    say("poll.interval", "--poll-interval", interval);
    say(
        "log.level",
        "--log-level",
        overrides.log_level.map(|level| level.as_str().into()),
    );
    say(
        "log.format",
        "--log-format",
        overrides.log_format.map(|format| format.as_str().into()),
    );
    layer
}
