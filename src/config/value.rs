//! Values as they are said and shown.

use std::time::Duration;

use ::config::ValueKind;

/// A label's value that still reads in a graph's legend; longer text is shown cut.
pub(super) const MOST_LABEL: usize = 64;

/// A length of time with its unit, such as `500ms`, `5s` or `1m 30s`.
///
/// # Errors
/// The reason, with an example.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(r#"needs a unit, for example "5s""#.to_owned());
    }
    humantime::parse_duration(text).map_err(|_| {
        r#"is not a length of time; write for example "500ms", "5s" or "1m30s""#.to_owned()
    })
}

/// A value as it would stand in a file, on one line.
pub(super) fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::Nil => "(date or time)".to_owned(),
        ValueKind::Table(_) => "(table)".to_owned(),
        ValueKind::String(text) if text.chars().count() > MOST_LABEL => {
            let start: String = text.chars().take(MOST_LABEL).collect();
            format!("{}...", quote(&start))
        }
        ValueKind::String(text) => quote(text),
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| shown(&value.kind)).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// As a basic string of TOML.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted += &format!("\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// Text from outside, fit for one line of a terminal or a comment.
pub(super) fn one_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}
