//! The TOML file: read whole, its values taken with the line they stand on.
//!
//! The `config` crate's own reader forgets lines and turns dates into text, so
//! values are taken from the `toml` crate's tree, which has them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::num::IntErrorKind;
use std::path::Path;

use ::config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::gathered::Gathered;
use super::keys;
use super::unknown;
use super::value::{one_line, quote, shown};

/// A configuration has a few hundred lines at most; this stops a device file
/// or a log given by mistake.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the file at `path` says.
pub(super) fn read(path: &Path, gathered: &mut Gathered) {
    let name = one_line(&path.to_string_lossy());
    let text = match text(path) {
        Ok(text) => text,
        Err(reason) => return gathered.problems.push(format!("{name}: {reason}")),
    };
    let lines = Lines::new(name, &text);
    match DeTable::parse(&text) {
        Ok(root) => lines.take_sections(root.get_ref(), gathered),
        Err(error) => {
            let position = match error.span() {
                Some(span) => lines.position(span.start),
                None => lines.name.clone(),
            };
            let message = one_line(error.message().trim_end_matches(", expected nothing"));
            gathered.problems.push(format!("{position}: {message}"));
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

    fn take_sections(&self, root: &DeTable, gathered: &mut Gathered) {
        for (key, item) in in_order(root) {
            let (section, origin) = (key.get_ref(), self.line(key.span().start));
            let is_known = keys::sections().contains(&section.as_ref());
            let problem = match (item.get_ref(), self.value(item, &origin)) {
                (DeValue::Table(table), _) if is_known => {
                    self.take_keys(section, table, gathered);
                    continue;
                }
                (DeValue::Table(_), _) => {
                    let reason = unknown::section(section);
                    format!("{origin}: [{}]: {reason}", spelled(section))
                }
                (_, Err(problem)) => problem,
                (_, Ok(value)) => {
                    let (section, equals) = (spelled(section), equals(&value));
                    let reason = match is_known {
                        true => format!("is a section, write [{section}]"),
                        false => unknown::top(key.get_ref()),
                    };
                    format!("{origin}: {section}{equals}: {reason}")
                }
            };
            gathered.problems.push(problem);
        }
    }

    fn take_keys(&self, section: &str, table: &DeTable, gathered: &mut Gathered) {
        for (name, item) in in_order(table) {
            let origin = self.line(name.span().start);
            let key = keys::find(&format!("{section}.{}", name.get_ref()));
            let problem = match (self.value(item, &origin), key) {
                (Ok(value), Some(key)) => {
                    gathered.value(key, &value);
                    continue;
                }
                (Ok(value), None) => {
                    let (name, reason) = (
                        spelled(name.get_ref()),
                        unknown::key(section, name.get_ref()),
                    );
                    format!("{origin}: {section}.{name}{}: {reason}", equals(&value))
                }
                (Err(problem), key) => {
                    gathered.refused.extend(key.map(|key| key.path));
                    problem
                }
            };
            gathered.problems.push(problem);
        }
    }

    /// With the line of each element of a list; what is in a table does not matter, for
    /// no key of ours is one. The parser leaves it to its user to find out that a number is none.
    fn value(&self, value: &Spanned<DeValue>, origin: &String) -> Result<Value, String> {
        let start = value.span().start;
        let refuse = |reason: &str| Err(format!("{}: {reason}", self.position(start)));
        let kind = match value.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => ValueKind::I64(number),
                    Err(error) if *error.kind() == IntErrorKind::Empty => {
                        return refuse("a number without digits");
                    }
                    Err(_) => return refuse("integer number overflowed"),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(float) if float.is_finite() || !number.as_str().contains(char::is_numeric) => {
                    ValueKind::Float(float)
                }
                _ => return refuse("floating-point number overflowed"),
            },
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            // `[[section.key]]`
            DeValue::Array(array)
                if array.iter().all(|one| one.get_ref().is_table())
                    && self
                        .text
                        .get(start..)
                        .is_some_and(|text| text.starts_with("[[")) =>
            {
                ValueKind::Table(Map::new())
            }
            DeValue::Array(array) => {
                let element =
                    |value: &Spanned<DeValue>| self.value(value, &self.line(value.span().start));
                let elements: Result<Vec<_>, _> = array.iter().map(element).collect();
                ValueKind::Array(elements?)
            }
            DeValue::Table(_) => ValueKind::Table(Map::new()),
            // The `config` crate knows no dates; nothing else here is nil.
            DeValue::Datetime(_) => ValueKind::Nil,
        };
        Ok(Value::new(Some(origin), kind))
    }
}

/// What a table has, from the top of the file to its end.
fn in_order<'r, 't>(table: &'r DeTable<'t>) -> Vec<(&'r Key<'t>, &'r Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A key as it may stand in a file: in quotes where it needs them.
fn spelled(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => quote(key),
    }
}

/// ` = VALUE`, for what has one.
fn equals(value: &Value) -> String {
    match &value.kind {
        ValueKind::Table(_) => String::new(),
        kind => format!(" = {}", shown(kind)),
    }
}
