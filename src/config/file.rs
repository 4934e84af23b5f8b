//! The TOML file: read whole, its values taken with the line they stand on.
//!
//! The `config` crate's own reader forgets lines and turns dates into text, so
//! values are taken from the `toml` crate's tree, which has them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use ::config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;
use super::said::Said;
use super::unknown;
use super::value::{one_line, shown};

/// A configuration has a few hundred lines at most; this stops a device file
/// or a log given by mistake.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the file at `path` says.
pub(super) fn read(path: &Path, said: &mut Said) {
    let name = one_line(&path.to_string_lossy());
    let text = match text(path) {
        Ok(text) => text,
        Err(reason) => return said.problems.push(format!("{name}: {reason}")),
    };
    let lines = Lines::new(name, &text);
    match DeTable::parse(&text) {
        Ok(root) => lines.take_sections(root.get_ref(), said),
        Err(error) => {
            let position = match error.span() {
                Some(span) => lines.position(span.start),
                None => lines.name.clone(),
            };
            let message = one_line(error.message().trim_end_matches(", expected nothing"));
            said.problems.push(format!("{position}: {message}"));
        }
    }
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

/// The text of a file, and where in it things stand.
struct Lines<'t> {
    name: String,
    text: &'t str,
    /// Where each line but the first begins.
    starts: Vec<usize>,
}

type Key<'t> = Spanned<Cow<'t, str>>;

impl<'t> Lines<'t> {
    fn new(name: String, text: &'t str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { name, text, starts }
    }

    /// `FILE:LINE`.
    fn line(&self, offset: usize) -> String {
        let line = 1 + self.starts.partition_point(|&start| start <= offset);
        format!("{}:{line}", self.name)
    }

    /// `FILE:LINE:COLUMN`, columns counted in characters.
    fn position(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        format!("{}:{}", self.line(offset), 1 + line.chars().count())
    }

    /// A key as it is spelled: quoted, if it was.
    fn spelled(&self, key: &Key) -> String {
        one_line(self.text.get(key.span()).unwrap_or(key.get_ref()))
    }

    fn take_sections(&self, root: &DeTable, said: &mut Said) {
        for (key, item) in in_order(root) {
            let section = key.get_ref();
            let is_known = keys::sections().contains(&section.as_ref());
            let (origin, spelled) = (self.line(key.span().start), self.spelled(key));
            let value = self.value(item, &origin);
            let problem = match item.get_ref() {
                DeValue::Table(table) if is_known => {
                    self.take_keys(section, table, said);
                    continue;
                }
                _ if is_known => format!(
                    "{section}{}: is a section, write [{section}]",
                    equals(&value)
                ),
                DeValue::Table(_) => format!("[{spelled}]: {}", unknown::section(section)),
                _ => format!("{spelled}{}: {}", equals(&value), unknown::top(section)),
            };
            said.problems.push(format!("{origin}: {problem}"));
        }
    }

    fn take_keys(&self, section: &str, table: &DeTable, said: &mut Said) {
        for (name, item) in in_order(table) {
            let origin = self.line(name.span().start);
            let value = self.value(item, &origin);
            if let Some(key) = keys::find(&format!("{section}.{}", name.get_ref())) {
                said.value(key, &value);
                continue;
            }
            let (spelled, reason) = (self.spelled(name), unknown::key(section, name.get_ref()));
            let equals = equals(&value);
            said.problems
                .push(format!("{origin}: {section}.{spelled}{equals}: {reason}"));
        }
    }

    /// With the line of each element of a list; what is in a table does not matter, for
    /// no key of ours is one.
    fn value(&self, value: &Spanned<DeValue>, origin: &String) -> Value {
        let kind = match value.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => ValueKind::I64(number),
                    Err(_) => number.to_string().into(),
                }
            }
            DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            DeValue::Array(array) => {
                let element =
                    |value: &Spanned<DeValue>| self.value(value, &self.line(value.span().start));
                ValueKind::Array(array.iter().map(element).collect())
            }
            DeValue::Table(_) => ValueKind::Table(Map::new()),
            // The `config` crate knows no dates; nothing else here is nil.
            DeValue::Datetime(_) => ValueKind::Nil,
        };
        Value::new(Some(origin), kind)
    }
}

/// What a table has, from the top of the file to its end.
fn in_order<'r, 't>(table: &'r DeTable<'t>) -> Vec<(&'r Key<'t>, &'r Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// ` = VALUE`, for what has one: neither a table nor a list of them.
fn equals(value: &Value) -> String {
    match &value.kind {
        ValueKind::Table(_) => String::new(),
        ValueKind::Array(elements) if elements.iter().any(|one| equals(one).is_empty()) => {
            String::new()
        }
        kind => format!(" = {}", shown(kind)),
    }
}
