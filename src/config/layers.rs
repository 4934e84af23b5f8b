//! Layers over the defaults: each is checked on its own, the `config` crate
//! merges them, and what it merged becomes the typed configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use ::config::{Map, Source, Value, ValueKind};

use super::keys::{self, KEYS, Key};
use super::{Config, ConfigError, Loaded, Overrides, env, file, rules, values};

/// What one layer says, in its order: values, each of which carries where it
/// was said, and lines about what is no value of ours.
pub(super) type Layer = Vec<Result<(&'static Key, Value), String>>;

pub(super) fn load(
    file: Option<&Path>,
    variables: Vec<(OsString, OsString)>,
    overrides: &Overrides,
) -> Result<Loaded, ConfigError> {
    let mut layers = [Layer::new(), Layer::new(), flags(overrides)];
    if let Some(path) = file {
        file::read(path, &mut layers[0]);
    }
    env::read(variables, &mut layers[1]);

    let mut problems = Vec::new();
    let mut refused = Vec::new();
    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(checked(layer, &mut problems, &mut refused));
    }
    match builder.build() {
        Ok(merged) => {
            let loaded = typed(&merged.cache, &mut problems);
            problems.extend(rules::broken(&loaded, &refused));
            if problems.is_empty() {
                return Ok(loaded);
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    Err(ConfigError { problems })
}

/// The values of a layer that are sound; the others become problems.
fn checked(layer: Layer, problems: &mut Vec<String>, refused: &mut Vec<&'static str>) -> Sound {
    let mut sound = Map::new();
    for entry in layer {
        let (key, value) = match entry {
            Ok(leaf) => leaf,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        match key.kind.set(&mut Config::default(), &value) {
            Ok(()) => {
                sound.insert(key.path.to_owned(), value);
            }
            Err(refusals) => {
                problems.extend(refusals.iter().map(|refusal| describe(key, refusal)));
                refused.push(key.path);
            }
        }
    }
    Sound(sound)
}

/// The merged tree, taken apart key by key.
fn typed(tree: &Value, problems: &mut Vec<String>) -> Loaded {
    let mut config = Config::default();
    let mut origins = BTreeMap::new();
    for key in KEYS {
        let Some(value) = branch(tree, key.section).and_then(|section| branch(section, key.name))
        else {
            continue;
        };
        match key.kind.set(&mut config, value) {
            Ok(()) => {
                origins.insert(key.path, value.origin().unwrap_or_default().to_owned());
            }
            Err(refusals) => problems.extend(refusals.iter().map(|refusal| describe(key, refusal))),
        }
    }
    Loaded { config, origins }
}

fn branch<'v>(tree: &'v Value, name: &str) -> Option<&'v Value> {
    match &tree.kind {
        ValueKind::Table(table) => table.get(name),
        _ => None,
    }
}

fn describe(key: &Key, refusal: &values::Refusal) -> String {
    let origin = refusal.value.origin().unwrap_or_default();
    let value = values::shown(&refusal.value.kind);
    format!("{origin}: {} = {value}: {}", key.path, refusal.reason)
}

fn flags(overrides: &Overrides) -> Layer {
    let mut layer = Layer::new();
    let mut say = |section, name, flag: &str, text: Option<String>| {
        if let (Some(key), Some(text)) = (keys::find(section, name), text) {
            layer.push(Ok((key, key.kind.read_text(&text, &flag.to_owned()))));
        }
    };
    let listen: Vec<_> = overrides.listen.iter().map(ToString::to_string).collect();
    let interval = overrides
        .poll_interval
        .map(|span| humantime::format_duration(span).to_string());
    let level = overrides.log_level.map(|level| level.as_str().to_owned());
    let format = overrides
        .log_format
        .map(|format| format.as_str().to_owned());
    say(
        "web",
        "listen",
        "--listen",
        (!listen.is_empty()).then(|| listen.join(",")),
    );
    say("poll", "interval", "--poll-interval", interval);
    say("log", "level", "--log-level", level);
    say("log", "format", "--log-format", format);
    layer
}

/// Text from outside, fit for one line of a terminal or a comment.
pub(super) fn one_line(text: &str) -> String {
    text.trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// The sound values of one layer, by `section.key`, as the `config` crate
/// wants them.
#[derive(Clone, Debug)]
struct Sound(Map<String, Value>);

impl Source for Sound {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.clone())
    }
}
