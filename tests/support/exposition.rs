//! Prometheus' text format, read strictly: what a server would mend in silence
//! is a panic here (prometheus.io/docs/instrumenting/exposition_formats).

use std::collections::{BTreeMap, HashMap};

/// Name and labels, the labels sorted by name.
pub type Series = (String, Vec<(String, String)>);

/// Every sample of one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    pub samples: BTreeMap<Series, f64>,
    /// Family name to `counter`, `gauge`, `histogram`, `summary`.
    pub types: HashMap<String, String>,
}

impl Exposition {
    /// # Panics
    /// On a duplicate series or TYPE, a sample without TYPE, a line it cannot read.
    pub fn parse(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').expect("TYPE name kind");
                let earlier = exposition.types.insert(name.into(), kind.into());
                assert!(earlier.is_none(), "a second TYPE: {line}");
            } else if !line.starts_with('#') {
                let (series, value) =
                    parse_sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                assert!(exposition.is_typed(&series.0), "no TYPE before: {line}");
                let earlier = exposition.samples.insert(series, value);
                assert!(earlier.is_none(), "a duplicate series: {line}");
            }
        }
        exposition
    }

    /// The value of exactly this series; the order of the labels is free.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The series of one name that carry at least these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a Series, f64)> {
        let carries = |series: &Series, (key, value): &(&str, &str)| {
            series.1.iter().any(|(k, v)| k == key && v == value)
        };
        self.samples
            .iter()
            .filter(move |(series, _)| series.0 == name)
            .filter(move |(series, _)| labels.iter().all(|label| carries(series, label)))
            .map(|(series, value)| (series, *value))
    }

    fn is_typed(&self, name: &str) -> bool {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        self.types.contains_key(name)
            || family
                .and_then(|family| self.types.get(family))
                .is_some_and(|kind| kind == "histogram" || kind == "summary")
    }
}

/// `name{key="value",…} 1.5`, with a timestamp refused: ours have none.
fn parse_sample(line: &str) -> Option<(Series, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = parse_value(after)?;
            labels.push((key.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    labels.sort();
    let unique = labels.windows(2).all(|pair| pair[0].0 != pair[1].0);
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    unique.then_some(((name.to_owned(), labels), value))
}

/// A label's value up to its closing quote, and what follows.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return None,
            },
            plain => value.push(plain),
        }
    }
    None
}
