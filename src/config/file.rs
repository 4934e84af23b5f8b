//! The TOML file: read whole, its values taken with the line they stand on.
//!
//! The `config` crate's own reader forgets lines and turns dates into text, so
//! values are taken from `toml_edit` and handed to it as a source.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use ::config::{Map, Value, ValueKind};
use toml_edit::{Document, Item, TableLike};

use super::keys;
use super::layer::Layer;
use super::value::{one_line, shown};

/// A configuration has a few hundred lines at most; this stops a device file
/// or a log given by mistake.
const MOST_BYTES: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Layer {
    let mut layer = Layer::default();
    let name = one_line(&path.to_string_lossy());
    let text = match text(path) {
        Ok(text) => text,
        Err(reason) => {
            layer.complain(format!("{name}: {reason}"));
            return layer;
        }
    };
    let lines = Lines::new(name, &text);
    match Document::parse(text.as_str()) {
        Ok(document) => take_sections(document.as_table(), &lines, &mut layer),
        Err(error) => {
            let position = match error.span() {
                Some(span) => lines.position(span.start),
                None => lines.name.clone(),
            };
            let message = one_line(error.message().trim_end_matches(", expected nothing"));
            layer.complain(format!("{position}: {message}"));
        }
    }
    layer
}

fn text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "cannot be read: no such file".to_owned(),
            ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
            ErrorKind::IsADirectory => "is a directory; a TOML file is needed".to_owned(),
            _ => format!("cannot be read: {error}"),
        })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("is larger than {MOST_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8 text")
    })
}

/// Turns byte offsets into what an editor shows.
struct Lines<'t> {
    name: String,
    text: &'t str,
    /// Where each line but the first begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(name: String, text: &'t str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { name, text, starts }
    }

    /// `FILE:LINE`.
    fn line(&self, span: Option<std::ops::Range<usize>>) -> String {
        match span {
            Some(span) => {
                let line = 1 + self.starts.partition_point(|&start| start <= span.start);
                format!("{}:{line}", self.name)
            }
            None => self.name.clone(),
        }
    }

    /// `FILE:LINE:COLUMN`, columns counted in characters.
    fn position(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let column = 1 + line.chars().count();
        format!("{}:{column}", self.line(Some(offset..offset)))
    }
}

fn take_sections(root: &dyn TableLike, lines: &Lines, layer: &mut Layer) {
    for (section, item) in root.iter() {
        let (origin, spelled) = key_of(root, section, lines);
        let value = item_value(item, &origin, lines);
        let known = keys::sections().contains(&section);
        let problem = match item.as_table_like() {
            Some(table) if known => {
                take_keys(section, table, lines, layer);
                continue;
            }
            _ if known => format!("{section}{}: is a section, write [{section}]", said(&value)),
            Some(_) => format!("[{spelled}]: {}", keys::unknown_section(section)),
            None => format!("{spelled}{}: {}", said(&value), keys::unknown_top(section)),
        };
        layer.complain(format!("{origin}: {problem}"));
    }
}

fn take_keys(section: &str, table: &dyn TableLike, lines: &Lines, layer: &mut Layer) {
    for (name, item) in table.iter() {
        let (origin, spelled) = key_of(table, name, lines);
        let value = item_value(item, &origin, lines);
        if let Some(key) = keys::find(section, name) {
            layer.say(key, &value);
            continue;
        }
        let (said, reason) = (said(&value), keys::unknown(section, name));
        layer.complain(format!("{origin}: {section}.{spelled}{said}: {reason}"));
    }
}

/// Where a key stands, and how it is spelled there: quoted, if it was.
fn key_of(table: &dyn TableLike, name: &str, lines: &Lines) -> (String, String) {
    let key = table.get_key_value(name).map(|(key, _)| key);
    let spelled = key.map_or_else(|| name.into(), |key| key.display_repr());
    let origin = lines.line(key.and_then(toml_edit::Key::span));
    (origin, one_line(&spelled))
}

/// ` = VALUE`, for what has one.
fn said(value: &Value) -> String {
    match &value.kind {
        ValueKind::Table(_) => String::new(),
        kind => format!(" = {}", shown(kind)),
    }
}

fn item_value(item: &Item, origin: &String, lines: &Lines) -> Value {
    match item {
        Item::Value(value) => toml_value(value, origin, lines),
        // No key of ours is a table, so what is inside does not matter.
        _ => Value::new(Some(origin), ValueKind::Table(Map::new())),
    }
}

fn toml_value(value: &toml_edit::Value, origin: &String, lines: &Lines) -> Value {
    let kind = match value {
        toml_edit::Value::String(text) => ValueKind::String(text.value().clone()),
        toml_edit::Value::Integer(number) => ValueKind::I64(*number.value()),
        toml_edit::Value::Float(number) => ValueKind::Float(*number.value()),
        toml_edit::Value::Boolean(truth) => ValueKind::Boolean(*truth.value()),
        toml_edit::Value::Array(array) => {
            let element =
                |value: &toml_edit::Value| toml_value(value, &lines.line(value.span()), lines);
            ValueKind::Array(array.iter().map(element).collect())
        }
        toml_edit::Value::InlineTable(_) => ValueKind::Table(Map::new()),
        // The `config` crate knows no dates; nothing else here is nil.
        toml_edit::Value::Datetime(_) => ValueKind::Nil,
    };
    Value::new(Some(origin), kind)
}
