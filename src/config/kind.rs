//! The kinds of value: what is accepted, exactly and within its range, and what is
//! said of anything else.

use std::ops::RangeInclusive;
use std::time::Duration;

use ::config::{Value, ValueKind};

use super::listen::parse_listen;
use super::value::{MOST_LABEL, parse_duration};

/// Routes of the server beside the metrics and the page, and where its files are.
const TAKEN_ROUTES: [&str; 3] = ["/-/healthy", "/-/ready", "/api/v1/snapshot"];
const STATIC: &str = "/static/";
const SPAN: &str = r#"must be a length of time, for example "5s""#;

pub(super) enum Kind {
    /// true or false.
    Switch,
    /// Whole numbers in this range; the text says why, if it is not plain.
    Count(RangeInclusive<i64>, &'static str),
    Span(RangeInclusive<Duration>),
    /// Of a core, above 0.
    Fraction,
    /// Of all, 0 included.
    Part,
    /// An IP address with a port.
    Address,
    Words(&'static [&'static str]),
    Label,
    /// An absolute path.
    Folder,
    /// An absolute path, or nothing.
    File,
    /// A path of a URL that is not taken.
    Route,
    /// Of names, with `*` and `?`.
    Pattern,
    List(&'static List),
}

/// Values of one kind, none twice.
pub(super) struct List {
    pub(super) of: Kind,
    pub(super) sizes: RangeInclusive<usize>,
    pub(super) what: &'static str,
    /// What to say of a value that is no list; none if it may stand for a list of one.
    pub(super) list_of: Option<&'static str>,
}

/// A value that was refused, the whole or an element of a list, and why.
type Refusal<'v> = (&'v Value, String);

impl Kind {
    /// The value that the text of a variable or a flag stands for. Text that is not of
    /// this kind stays text, for `check` to refuse.
    pub(super) fn read(&self, text: &str, origin: Option<&String>) -> Value {
        let value = match self {
            Self::Switch => text.parse().ok().map(ValueKind::Boolean),
            Self::Count(..) => text.parse().ok().map(ValueKind::I64),
            Self::Fraction | Self::Part => text.parse().ok().map(ValueKind::Float),
            Self::List(list) if text.is_empty() && list.sizes.contains(&0) => {
                Some(ValueKind::Array(Vec::new()))
            }
            Self::List(list) => {
                let parts = text.split(',').map(str::trim);
                let values = parts.map(|part| list.of.read(part, origin));
                Some(ValueKind::Array(values.collect()))
            }
            _ => None,
        };
        Value::new(origin, value.unwrap_or_else(|| text.into()))
    }

    /// Checks `value`, and gives it in the one form that the typed configuration
    /// is made of.
    pub(super) fn check<'v>(&self, value: &'v Value) -> Result<ValueKind, Vec<Refusal<'v>>> {
        let checked = match (self, &value.kind) {
            (Self::List(list), ValueKind::Array(elements)) => return list.check(value, elements),
            (Self::List(list), kind) if list.list_of.is_none() => {
                list.of.take(kind).map(|only| vec![only].into())
            }
            (_, kind) => self.take(kind),
        };
        checked.map_err(|reason| vec![(value, reason)])
    }

    /// Checks a value that is no list.
    fn take(&self, value: &ValueKind) -> Result<ValueKind, String> {
        let is_taken = match (self, value) {
            (Self::Switch, ValueKind::Boolean(_)) => true,
            (Self::Count(range, _), ValueKind::I64(number)) => range.contains(number),
            (Self::Fraction, ValueKind::Float(number)) => *number > 0.0 && *number <= 1.0,
            (Self::Part, ValueKind::Float(number)) => (0.0..=1.0).contains(number),
            (Self::Span(range), _) => return span(value, range),
            (Self::Address, ValueKind::String(text)) => {
                return Ok(parse_listen(text)?.to_string().into());
            }
            (Self::Words(names), ValueKind::String(text)) => names.contains(&text.as_str()),
            (Self::Label, ValueKind::String(text)) => {
                (1..=MOST_LABEL).contains(&text.chars().count()) && !text.contains(char::is_control)
            }
            (Self::Folder, ValueKind::String(text)) => is_absolute(text),
            (Self::File, ValueKind::String(text)) => text.is_empty() || is_absolute(text),
            (Self::Route, ValueKind::String(text)) => is_route(text)?,
            (Self::Pattern, ValueKind::String(text)) => match glob::Pattern::new(text) {
                Ok(_) => true,
                Err(error) => return Err(format!("is no pattern: {}", error.msg)),
            },
            _ => false,
        };
        match is_taken {
            true => Ok(value.clone()),
            false => Err(self.demand(value)),
        }
    }

    /// What `value`, which is refused, should have been.
    fn demand(&self, value: &ValueKind) -> String {
        const CORE: &str = "above 0 and at most 1, where 1 is a whole core";
        match self {
            Self::Switch => "must be true or false".to_owned(),
            Self::Count(range, why) => {
                let allowed = format!("between {} and {}{why}", range.start(), range.end());
                match value {
                    ValueKind::I64(_) => format!("must be {allowed}"),
                    ValueKind::String(text) if text.parse::<i64>().is_ok() => {
                        format!("must be a whole number without quotes, {allowed}")
                    }
                    _ => format!("must be a whole number {allowed}"),
                }
            }
            Self::Fraction => match value {
                ValueKind::Float(_) => format!("must be {CORE}"),
                ValueKind::I64(1) => format!("must have a decimal point, write 1.0; {CORE}"),
                _ => format!("must be a number such as 0.05, {CORE}"),
            },
            Self::Words(names) => format!("must be one of {}", names.join(", ")),
            Self::Label => format!("must be text of 1 to {MOST_LABEL} printable characters"),
            Self::Span(_) => SPAN.to_owned(),
            Self::Part => {
                "must be a number with a decimal point from 0.0 to 1.0, such as 0.005".to_owned()
            }
            Self::Folder => r#"must be an absolute path, for example "/proc""#.to_owned(),
            Self::File => {
                r#"must be an absolute path, for example "/etc/web-config.yml", or "" for none"#
                    .to_owned()
            }
            Self::Route => {
                r#"must be a path that begins with /, of letters, digits and /-._~, for example "/metrics""#
                    .to_owned()
            }
            Self::Pattern => r#"must be text, for example "cni-*""#.to_owned(),
            Self::Address => {
                r#"must be an address or a list of them, for example "[::]:10061""#.to_owned()
            }
            Self::List(list) => {
                format!("must be a list of {}", list.list_of.unwrap_or(list.what))
            }
        }
    }
}

impl List {
    /// Every element that does not fit is refused for itself.
    fn check<'v>(
        &self,
        whole: &'v Value,
        elements: &'v [Value],
    ) -> Result<ValueKind, Vec<Refusal<'v>>> {
        let (least, most) = (self.sizes.start(), self.sizes.end());
        if !self.sizes.contains(&elements.len()) {
            let reason = format!("must have {least} to {most} {}", self.what);
            return Err(vec![(whole, reason)]);
        }
        let (mut sound, mut refused) = (Vec::with_capacity(elements.len()), Vec::new());
        for value in elements {
            match self.of.take(&value.kind) {
                Ok(twin) if sound.contains(&twin) => {
                    refused.push((value, "is listed twice".to_owned()));
                }
                Ok(fresh) => sound.push(fresh),
                Err(reason) => refused.push((value, reason)),
            }
        }
        match refused.is_empty() {
            true => Ok(sound.into()),
            false => Err(refused),
        }
    }
}

/// A length of time, in the one way to write it.
fn span(value: &ValueKind, range: &RangeInclusive<Duration>) -> Result<ValueKind, String> {
    let human = |span: &Duration| humantime::format_duration(*span).to_string();
    let (least, most) = (human(range.start()), human(range.end()));
    let parsed = match value {
        ValueKind::String(text) => parse_duration(text),
        ValueKind::I64(_) | ValueKind::Float(_) => parse_duration(&value.to_string()),
        _ => Err(SPAN.to_owned()),
    };
    let span = parsed.map_err(|reason| format!("{reason}; allowed is {least} to {most}"))?;
    match range.contains(&span) {
        true => Ok(human(&span).into()),
        false => Err(format!("must be between {least} and {most}")),
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

/// Whether it needs no escape in a URL and means nothing to a router.
fn is_route(text: &str) -> Result<bool, String> {
    if TAKEN_ROUTES.contains(&text) || text.starts_with(STATIC) {
        return Err("is taken by something else; choose another path".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    Ok(text.starts_with('/') && text.chars().all(is_plain) && !text.contains("//"))
}
