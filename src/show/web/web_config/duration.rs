//! Lengths of time as Go writes them: `1s`, `1.5h`, `1h30m` (time.ParseDuration).

use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    // Longest names first, so that `ms` is not `m` and something left over.
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// None when it is no length of time of ours; a negative one is none.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, worth) = UNITS
            .iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))?;
        seconds += number * worth;
        rest = &rest[digits + unit.len()..];
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_is_taken() {
        let cases = [
            ("0", 0),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("300ms", 300),
            ("1h30m", 5_400_000),
            ("+2m", 120_000),
            ("1000us", 1),
            ("1000µs", 1),
            (".5s", 500),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                parse(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "1d",
            "1 s",
            "1s ",
            "..s",
            "1e3s",
            "9999999999999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
