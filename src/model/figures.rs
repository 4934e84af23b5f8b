//! How figures are written for people: the same one reads the same in findings,
//! on the page and in a terminal.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `12,345`.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `66.6%`, cut off: nothing reads as full before it is.
pub fn percent(share: f64) -> String {
    // A millionth more, so that 0.07, which is stored as a little less, stays 7.0.
    format!("{:.1}%", (share * 1000.0 + 1e-6).floor() / 10.0)
}

/// Of something that happens so often in a second: `1.7`, `470`; cut off, so that
/// nobody is promised more than there is.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{:.1}", (per_second * 10.0).floor() / 10.0)
    } else {
        grouped(per_second as u64)
    }
}

/// `40 to 52`; `52` where both are that.
pub fn between(least: u32, most: u32) -> String {
    match least < most {
        true => format!("{} to {}", grouped(least), grouped(most)),
        false => most.to_string(),
    }
}

/// `10.0.0.5:443`, `[2001:db8::5]:443`.
pub fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

/// `in about 12 minutes`, from the whole seconds.
pub fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("in about {seconds} seconds"),
        seconds @ 120..7200 => format!("in about {} minutes", seconds / 60),
        seconds => format!("in about {} hours", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(7_u32), "7");
        assert_eq!(grouped(28_232_u32), "28,232");
        assert_eq!(grouped(1_000_000_u32), "1,000,000");
        assert_eq!(percent(2.0 / 3.0), "66.6%");
        assert_eq!(percent(0.9999), "99.9%", "never full before it is");
        assert_eq!(
            (percent(0.07), percent(1.0)),
            ("7.0%".into(), "100.0%".into())
        );
        assert_eq!(rate(28_232.0 / 60.0), "470");
        assert_eq!(rate(1.69), "1.6", "nobody is promised more than there is");
        assert_eq!(endpoint("::1".parse().unwrap(), 443), "[::1]:443");
        assert_eq!(about(Duration::from_secs(600)), "in about 10 minutes");
    }
}
