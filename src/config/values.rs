//! Single values: what is accepted, exactly and within its range, and what is
//! said of anything else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::config::{Value, ValueKind};

use super::listen::parse_listen;
use super::log::one_of;

/// Why a value was refused, and which: the whole, or an element of a list.
pub(super) struct Refusal<'v> {
    pub(super) value: &'v Value,
    pub(super) reason: String,
}

/// Sockets to bind; beyond this it is a mistake rather than a wish.
const MOST_LISTEN: usize = 16;
/// A label's value that still reads in a graph's legend.
const MOST_LABEL: usize = 64;

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

/// A refused value as it would stand in a file, on one line.
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

pub(super) fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|letter| match letter {
            '"' | '\\' => format!("\\{letter}"),
            letter if letter.is_control() => format!("\\u{:04X}", u32::from(letter)),
            letter => letter.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

pub(super) fn human(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

pub(super) fn listen(value: &Value) -> Result<Vec<SocketAddr>, Vec<Refusal<'_>>> {
    let elements = match &value.kind {
        ValueKind::Array(elements) => elements.as_slice(),
        _ => std::slice::from_ref(value),
    };
    distinct(
        value,
        elements,
        1..=MOST_LISTEN,
        "addresses",
        |kind| match kind {
            ValueKind::String(text) => parse_listen(text),
            _ => {
                Err(r#"must be an address or a list of them, for example "[::]:10061""#.to_owned())
            }
        },
    )
}

pub(super) fn ports(value: &Value) -> Result<Vec<u16>, Vec<Refusal<'_>>> {
    let ValueKind::Array(elements) = &value.kind else {
        let reason = "must be a list of ports, for example [22, 443]".to_owned();
        return Err(vec![Refusal { value, reason }]);
    };
    distinct(
        value,
        elements,
        0..=usize::from(u16::MAX),
        "ports",
        |kind| {
            let port = count(kind, 1, usize::from(u16::MAX), "")?;
            u16::try_from(port).map_err(|error| error.to_string())
        },
    )
}

/// A list without repetitions, of a size within `sizes`; every element that
/// does not fit is refused for itself.
fn distinct<'v, T: PartialEq>(
    whole: &'v Value,
    elements: &'v [Value],
    sizes: std::ops::RangeInclusive<usize>,
    what: &str,
    parse: impl Fn(&ValueKind) -> Result<T, String>,
) -> Result<Vec<T>, Vec<Refusal<'v>>> {
    if !sizes.contains(&elements.len()) {
        let reason = format!("must have {} to {} {what}", sizes.start(), sizes.end());
        return Err(vec![Refusal {
            value: whole,
            reason,
        }]);
    }
    let mut sound = Vec::with_capacity(elements.len());
    let mut refused = Vec::new();
    for value in elements {
        let reason = match parse(&value.kind) {
            Ok(twin) if sound.contains(&twin) => "is listed twice".to_owned(),
            Ok(fresh) => {
                sound.push(fresh);
                continue;
            }
            Err(reason) => reason,
        };
        refused.push(Refusal { value, reason });
    }
    if refused.is_empty() {
        Ok(sound)
    } else {
        Err(refused)
    }
}

pub(super) fn count(
    value: &ValueKind,
    least: usize,
    most: usize,
    why: &str,
) -> Result<usize, String> {
    let range = format!("between {least} and {most}{why}");
    let ValueKind::I64(number) = value else {
        let quotes = match value {
            ValueKind::String(text) if text.parse::<i64>().is_ok() => " without quotes,",
            _ => "",
        };
        return Err(format!("must be a whole number{quotes} {range}"));
    };
    usize::try_from(*number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be {range}"))
}

pub(super) fn span(value: &ValueKind, least: Duration, most: Duration) -> Result<Duration, String> {
    let (least_shown, most_shown) = (human(least), human(most));
    let parsed = match value {
        ValueKind::String(text) => parse_duration(text),
        ValueKind::I64(number) => parse_duration(&number.to_string()),
        ValueKind::Float(number) => parse_duration(&number.to_string()),
        _ => Err(r#"must be a length of time, for example "5s""#.to_owned()),
    };
    let span =
        parsed.map_err(|reason| format!("{reason}; allowed is {least_shown} to {most_shown}"))?;
    if !(least..=most).contains(&span) {
        return Err(format!("must be between {least_shown} and {most_shown}"));
    }
    Ok(span)
}

pub(super) fn fraction(value: &ValueKind) -> Result<f64, String> {
    let range = "above 0 and at most 1, where 1 is a whole core";
    match value {
        ValueKind::Float(number) if *number > 0.0 && *number <= 1.0 => Ok(*number),
        ValueKind::Float(_) => Err(format!("must be {range}")),
        ValueKind::I64(1) => Err(format!("must have a decimal point, write 1.0; {range}")),
        _ => Err(format!("must be a number such as 0.05, {range}")),
    }
}

pub(super) fn folder(value: &ValueKind) -> Result<PathBuf, String> {
    match value {
        ValueKind::String(text) if text.starts_with('/') && !text.contains('\0') => {
            Ok(PathBuf::from(text))
        }
        _ => Err(r#"must be an absolute path, for example "/proc""#.to_owned()),
    }
}

pub(super) fn label(value: &ValueKind) -> Result<String, String> {
    match value {
        ValueKind::String(text)
            if (1..=MOST_LABEL).contains(&text.chars().count())
                && !text.chars().any(char::is_control) =>
        {
            Ok(text.clone())
        }
        _ => Err(format!(
            "must be text of 1 to {MOST_LABEL} printable characters"
        )),
    }
}

pub(super) fn word<T: std::str::FromStr<Err = String>>(
    value: &ValueKind,
    names: &[&str],
) -> Result<T, String> {
    match value {
        ValueKind::String(text) => text.parse(),
        _ => Err(one_of(names)),
    }
}
