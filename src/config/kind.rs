//! The kinds of value: what is accepted, exactly and within its range, and what is
//! said of anything else.

use std::ops::RangeInclusive;
use std::time::Duration;

use ::config::{Value, ValueKind};

use super::listen::parse_listen;
use super::log::{LogFormat, LogLevel};
use super::value::{MOST_LABEL, Refusal, parse_duration};

/// Sockets to bind; beyond this it is a mistake rather than a wish.
const MOST_LISTEN: usize = 16;
const MOST_LISTED: usize = 64;

/// Routes of the server beside the metrics and the page, and where its files are.
const STATIC: &str = "/static/";
const TAKEN_ROUTES: [&str; 3] = ["/-/healthy", "/-/ready", "/api/v1/snapshot"];

pub(super) enum Kind {
    Listen,
    /// Whole numbers in this range; the text says why, if it is not plain.
    Count(RangeInclusive<i64>, &'static str),
    Span(RangeInclusive<Duration>),
    /// Of a core, above 0.
    Fraction,
    /// Of all, 0 included.
    Part,
    /// true or false.
    Switch,
    Ports,
    /// An absolute path, or nothing.
    File,
    /// A path of a URL that is not taken.
    Route,
    Folder,
    Folders,
    /// Of names, with `*` and `?`.
    Patterns,
    Label,
    Words(&'static [&'static str]),
}

impl Kind {
    pub(super) const LEVEL: Self = Self::Words(&LogLevel::NAMES);
    pub(super) const FORMAT: Self = Self::Words(&LogFormat::NAMES);

    /// Checks `value`, and gives it in the one form that the typed configuration
    /// is made of.
    pub(super) fn check<'v>(&self, value: &'v Value) -> Result<ValueKind, Vec<Refusal<'v>>> {
        let one = |checked: Result<ValueKind, String>| {
            checked.map_err(|reason| vec![Refusal { value, reason }])
        };
        match (self, &value.kind) {
            (Self::Listen, ValueKind::Array(elements)) => {
                let sizes = 1..=MOST_LISTEN;
                distinct(value, elements, sizes, "addresses", listen)
            }
            (Self::Listen, kind) => one(listen(kind).map(|address| vec![address].into())),
            (Self::Ports, ValueKind::Array(elements)) => {
                let most = usize::from(u16::MAX);
                let port = |kind: &ValueKind| count(kind, &(1..=most as i64), "");
                distinct(value, elements, 0..=most, "ports", port)
            }
            (Self::Ports, _) => one(Err(
                "must be a list of ports, for example [22, 443]".to_owned()
            )),
            (Self::Folders, ValueKind::Array(elements)) => {
                distinct(value, elements, 0..=MOST_LISTED, "paths", folder)
            }
            (Self::Folders, _) => one(Err(
                r#"must be a list of absolute paths, for example ["/run/netns"]"#.to_owned(),
            )),
            (Self::Patterns, ValueKind::Array(elements)) => {
                distinct(value, elements, 0..=MOST_LISTED, "patterns", pattern)
            }
            (Self::Patterns, _) => one(Err(
                r#"must be a list of patterns, for example ["cni-*"]"#.to_owned()
            )),
            (Self::Count(range, why), kind) => one(count(kind, range, why)),
            (Self::Span(range), kind) => one(span(kind, range)),
            (Self::Fraction, kind) => one(fraction(kind)),
            (Self::Part, kind) => one(part(kind)),
            (Self::Switch, ValueKind::Boolean(on)) => Ok((*on).into()),
            (Self::Switch, _) => one(Err("must be true or false".to_owned())),
            (Self::File, kind) => one(file(kind)),
            (Self::Route, kind) => one(route(kind)),
            (Self::Folder, kind) => one(folder(kind)),
            (Self::Label, kind) => one(label(kind)),
            (Self::Words(names), kind) => one(word(kind, names)),
        }
    }

    /// The value that a variable's text stands for. Text that is not of this kind
    /// stays text, for `check` to refuse.
    pub(super) fn read_text(&self, text: &str, origin: &String) -> Value {
        let number = |text: &str| match text.parse() {
            Ok(number) => ValueKind::I64(number),
            Err(_) => ValueKind::String(text.to_owned()),
        };
        let list = |element: &dyn Fn(&str) -> ValueKind| {
            let parts = text.split(',').map(str::trim);
            let values = parts.map(|part| Value::new(Some(origin), element(part)));
            ValueKind::Array(values.collect())
        };
        let kind = match self {
            Self::Count(..) => number(text),
            Self::Fraction | Self::Part => {
                text.parse().map_or_else(|_| text.into(), ValueKind::Float)
            }
            Self::Switch => text
                .parse()
                .map_or_else(|_| text.into(), ValueKind::Boolean),
            Self::Ports | Self::Folders | Self::Patterns if text.is_empty() => {
                ValueKind::Array(Vec::new())
            }
            Self::Ports => list(&number),
            Self::Listen | Self::Folders | Self::Patterns => list(&|part| part.into()),
            _ => text.into(),
        };
        Value::new(Some(origin), kind)
    }
}

/// A list without repetitions, of a size within `sizes`; every element that does not
/// fit is refused for itself.
fn distinct<'v>(
    whole: &'v Value,
    elements: &'v [Value],
    sizes: RangeInclusive<usize>,
    what: &str,
    check: impl Fn(&ValueKind) -> Result<ValueKind, String>,
) -> Result<ValueKind, Vec<Refusal<'v>>> {
    if !sizes.contains(&elements.len()) {
        let reason = format!("must have {} to {} {what}", sizes.start(), sizes.end());
        return Err(vec![Refusal {
            value: whole,
            reason,
        }]);
    }
    let (mut sound, mut refused) = (Vec::with_capacity(elements.len()), Vec::new());
    for value in elements {
        let reason = match check(&value.kind) {
            Ok(twin) if sound.contains(&twin) => "is listed twice".to_owned(),
            Ok(fresh) => {
                sound.push(fresh);
                continue;
            }
            Err(reason) => reason,
        };
        refused.push(Refusal { value, reason });
    }
    match refused.is_empty() {
        true => Ok(sound.into()),
        false => Err(refused),
    }
}

fn listen(value: &ValueKind) -> Result<ValueKind, String> {
    match value {
        ValueKind::String(text) => Ok(parse_listen(text)?.to_string().into()),
        _ => Err(r#"must be an address or a list of them, for example "[::]:10061""#.to_owned()),
    }
}

fn count(value: &ValueKind, range: &RangeInclusive<i64>, why: &str) -> Result<ValueKind, String> {
    let allowed = format!("between {} and {}{why}", range.start(), range.end());
    match value {
        ValueKind::I64(number) if range.contains(number) => Ok((*number).into()),
        ValueKind::I64(_) => Err(format!("must be {allowed}")),
        ValueKind::String(text) if text.parse::<i64>().is_ok() => {
            Err(format!("must be a whole number without quotes, {allowed}"))
        }
        _ => Err(format!("must be a whole number {allowed}")),
    }
}

fn span(value: &ValueKind, range: &RangeInclusive<Duration>) -> Result<ValueKind, String> {
    let human = |span: &Duration| humantime::format_duration(*span).to_string();
    let (least, most) = (human(range.start()), human(range.end()));
    let parsed = match value {
        ValueKind::String(text) => parse_duration(text),
        ValueKind::I64(_) | ValueKind::Float(_) => parse_duration(&value.to_string()),
        _ => Err(r#"must be a length of time, for example "5s""#.to_owned()),
    };
    let span = parsed.map_err(|reason| format!("{reason}; allowed is {least} to {most}"))?;
    match range.contains(&span) {
        true => Ok(human(&span).into()),
        false => Err(format!("must be between {least} and {most}")),
    }
}

fn fraction(value: &ValueKind) -> Result<ValueKind, String> {
    let range = "above 0 and at most 1, where 1 is a whole core";
    match value {
        ValueKind::Float(number) if *number > 0.0 && *number <= 1.0 => Ok((*number).into()),
        ValueKind::Float(_) => Err(format!("must be {range}")),
        ValueKind::I64(1) => Err(format!("must have a decimal point, write 1.0; {range}")),
        _ => Err(format!("must be a number such as 0.05, {range}")),
    }
}

fn part(value: &ValueKind) -> Result<ValueKind, String> {
    match value {
        ValueKind::Float(number) if (0.0..=1.0).contains(number) => Ok((*number).into()),
        _ => Err("must be a number with a decimal point from 0.0 to 1.0, such as 0.005".to_owned()),
    }
}

fn folder(value: &ValueKind) -> Result<ValueKind, String> {
    match value {
        ValueKind::String(text) if text.starts_with('/') && !text.contains('\0') => {
            Ok(value.clone())
        }
        _ => Err(r#"must be an absolute path, for example "/proc""#.to_owned()),
    }
}

fn file(value: &ValueKind) -> Result<ValueKind, String> {
    match value {
        ValueKind::String(text) if text.is_empty() => Ok(value.clone()),
        _ => folder(value).map_err(|_| {
            r#"must be an absolute path, for example "/etc/web-config.yml", or "" for none"#
                .to_owned()
        }),
    }
}

fn route(value: &ValueKind) -> Result<ValueKind, String> {
    // What needs no escape in a URL and means nothing to a router.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    match value {
        ValueKind::String(text)
            if TAKEN_ROUTES.contains(&text.as_str()) || text.starts_with(STATIC) =>
        {
            Err("is taken by something else; choose another path".to_owned())
        }
        ValueKind::String(text)
            if text.starts_with('/') && text.chars().all(is_plain) && !text.contains("//") =>
        {
            Ok(value.clone())
        }
        _ => Err(
            r#"must be a path that begins with /, of letters, digits and /-._~, for example "/metrics""#.to_owned(),
        ),
    }
}

fn pattern(value: &ValueKind) -> Result<ValueKind, String> {
    match value {
        ValueKind::String(text) => match glob::Pattern::new(text) {
            Ok(_) => Ok(value.clone()),
            Err(error) => Err(format!("is no pattern: {}", error.msg)),
        },
        _ => Err(r#"must be text, for example "cni-*""#.to_owned()),
    }
}

fn label(value: &ValueKind) -> Result<ValueKind, String> {
    let is_sound = |text: &str| {
        (1..=MOST_LABEL).contains(&text.chars().count()) && !text.contains(char::is_control)
    };
    match value {
        ValueKind::String(text) if is_sound(text) => Ok(value.clone()),
        _ => Err(format!(
            "must be text of 1 to {MOST_LABEL} printable characters"
        )),
    }
}

fn word(value: &ValueKind, names: &[&str]) -> Result<ValueKind, String> {
    match value {
        ValueKind::String(text) if names.contains(&text.as_str()) => Ok(value.clone()),
        _ => Err(format!("must be one of {}", names.join(", "))),
    }
}
