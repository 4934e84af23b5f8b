//! Versions, cipher suites and curves under the names that Go has for them.

use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// Go knows these, rustls does not: they have no forward secrecy of today's kind, or a curve
/// that ring lacks. A list that has others beside them loses nothing that is safe.
const GO_ALONE: [&str; 5] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "CurveP521",
];

/// The versions from one to another.
pub fn versions(
    least: &str,
    most: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |key: &str, version: &str| match version {
        "TLS10" | "TLS11" => Ok(11),
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        _ => Err(format!(
            "tls_server_config.{key}: {version:?} is unknown; write TLS12 or TLS13"
        )),
    };
    let (lowest, highest) = (number("min_version", least)?, number("max_version", most)?);
    let versions: Vec<_> = [(12, &TLS12), (13, &TLS13)]
        .into_iter()
        .filter(|(version, _)| (lowest..=highest).contains(version))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        return Err(format!(
            "tls_server_config: min_version {least} and max_version {most} leave no version; TLS12 and TLS13 are spoken"
        ));
    }
    if lowest < 12 {
        notes.push(format!(
            "tls_server_config.min_version: {least} is not spoken, TLS12 is the least"
        ));
    }
    Ok(versions)
}

/// The suites of these names; those of TLS 1.3 are always on, as in Go.
pub fn cipher_suites(
    names: &[String],
    standard: &CryptoProvider,
    notes: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let suites = &standard.cipher_suites;
    if names.is_empty() {
        return Ok(suites.clone());
    }
    let named = |name: &str| suites.iter().find(|suite| go_name(suite) == name).copied();
    let key = "tls_server_config.cipher_suites";
    let mut chosen = suites.clone();
    chosen.retain(|suite| suite.tls13().is_some());
    let listed = select(names, named, key, notes)?;
    chosen.extend(listed.into_iter().filter(|suite| suite.tls13().is_none()));
    Ok(chosen)
}

/// rustls calls the suites of TLS 1.3 `TLS13_…`.
fn go_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// The groups of a key exchange, the first the most liked.
pub fn curves(
    names: &[String],
    standard: &CryptoProvider,
    notes: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    if names.is_empty() {
        return Ok(standard.kx_groups.clone());
    }
    let named = |name: &str| match name {
        "X25519" => Some(ring::kx_group::X25519),
        "CurveP256" => Some(ring::kx_group::SECP256R1),
        "CurveP384" => Some(ring::kx_group::SECP384R1),
        _ => None,
    };
    select(names, named, "tls_server_config.curve_preferences", notes)
}

/// What the names stand for; at least one.
fn select<T>(
    names: &[String],
    named: impl Fn(&str) -> Option<T>,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<T>, String> {
    let mut chosen = Vec::new();
    for name in names {
        match named(name) {
            Some(one) => chosen.push(one),
            None if GO_ALONE.contains(&name.as_str()) => {
                notes.push(format!("{key}: {name} is not offered here and is left out"));
            }
            None => return Err(format!("{key}: {name:?} is unknown")),
        }
    }
    match chosen.is_empty() {
        true => Err(format!(
            "{key}: none of {} is offered here",
            names.join(", ")
        )),
        false => Ok(chosen),
    }
}
