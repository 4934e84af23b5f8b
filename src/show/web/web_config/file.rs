//! The web configuration as it is written: exporter-toolkit's keys, and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcrypt::HashParts;
use serde::Deserialize;
use serde_saphyr::options;

use super::duration;
use super::http::{self, Headers};
use super::rate::Rate;

/// Names and hashes of those who may ask.
pub type Users = BTreeMap<String, String>;

/// What a file says. Paths in it are relative to where it lies.
#[derive(Debug, Default)]
pub struct WebFile {
    /// None for plain HTTP.
    pub tls: Option<Tls>,
    pub headers: Headers,
    pub users: Users,
    pub rate: Option<Rate>,
}

/// `tls_server_config`, where it asks for TLS.
#[derive(Debug)]
pub struct Tls {
    pub certificate: Pem,
    pub key: Pem,
    pub client_ca: Option<Pem>,
    pub client_auth: String,
    pub client_allowed_sans: Option<Vec<String>>,
    pub min_version: String,
    pub max_version: String,
    pub cipher_suites: Vec<String>,
    pub prefer_server_cipher_suites: bool,
    pub curve_preferences: Vec<String>,
}

/// Where certificates or a key are.
#[derive(Debug, PartialEq)]
pub enum Pem {
    Inline(String),
    File(PathBuf),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    tls_server_config: Option<RawTls>,
    http_server_config: Option<RawHttp>,
    rate_limit: Option<RawRate>,
    basic_auth_users: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTls {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    client_auth_type: Option<String>,
    client_ca_file: Option<String>,
    cipher_suites: Option<Vec<String>>,
    curve_preferences: Option<Vec<String>>,
    min_version: Option<String>,
    max_version: Option<String>,
    prefer_server_cipher_suites: Option<bool>,
    client_allowed_sans: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    /// Taken and without effect: HTTP/1.1 alone is served.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRate {
    interval: Option<String>,
    burst: Option<u32>,
}

/// Takes the text of a file that lies in `directory`.
///
/// # Errors
/// One line: where, what, and what is allowed.
pub fn parse(text: &str, directory: &Path) -> Result<WebFile, String> {
    let options = options! {
        // A line of the file may hold a key or a hash, which the log must not.
        with_snippet: false,
        // `yes` and `on` are true to the toolkit's YAML 1.1.
        strict_booleans: false,
    };
    let raw: Option<Raw> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| format!("is no web configuration: {}", error.render()))?;
    let raw = raw.unwrap_or_default();
    let headers = raw.http_server_config.unwrap_or_default().headers;
    let headers = headers.iter().flatten();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("")));
    Ok(WebFile {
        tls: tls(raw.tls_server_config.unwrap_or_default(), directory)?,
        headers: http::headers(headers)?,
        users: users(raw.basic_auth_users.unwrap_or_default())?,
        rate: rate(raw.rate_limit.unwrap_or_default())?,
    })
}

fn tls(raw: RawTls, directory: &Path) -> Result<Option<Tls>, String> {
    // To Go a text that is empty was not said.
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let pem = |inline: Option<String>, file: Option<String>| match said(file) {
        Some(file) => Some(Pem::File(directory.join(file))),
        None => said(inline).map(Pem::Inline),
    };
    let certificate = pem(raw.cert, raw.cert_file);
    let key = pem(raw.key, raw.key_file);
    let client_ca = pem(raw.client_ca, raw.client_ca_file);
    let client_auth = said(raw.client_auth_type);
    // The other keys ask for no TLS by themselves (TLSConfig.IsEnabled).
    if certificate.is_none() && key.is_none() && client_ca.is_none() && client_auth.is_none() {
        return Ok(None);
    }
    let missing = |what: &str| {
        format!("tls_server_config: {what} is missing; TLS needs a certificate and its key")
    };
    Ok(Some(Tls {
        certificate: certificate.ok_or_else(|| missing("cert_file"))?,
        key: key.ok_or_else(|| missing("key_file"))?,
        client_ca,
        client_auth: client_auth.unwrap_or_else(|| "NoClientCert".to_owned()),
        client_allowed_sans: raw.client_allowed_sans,
        min_version: said(raw.min_version).unwrap_or_else(|| "TLS12".to_owned()),
        max_version: said(raw.max_version).unwrap_or_else(|| "TLS13".to_owned()),
        cipher_suites: raw.cipher_suites.unwrap_or_default(),
        prefer_server_cipher_suites: raw.prefer_server_cipher_suites.unwrap_or(true),
        curve_preferences: raw.curve_preferences.unwrap_or_default(),
    }))
}

/// The hash itself is never shown.
fn users(raw: BTreeMap<String, Option<String>>) -> Result<Users, String> {
    let check = |(name, hash): (String, Option<String>)| {
        let hash = hash.unwrap_or_default();
        let parts: Result<HashParts, _> = hash.parse();
        match parts.map(|parts| parts.get_cost()) {
            Ok(4..=31) => Ok((name, hash)),
            _ => Err(format!(
                "basic_auth_users.{name}: is no bcrypt hash; make one with `htpasswd -nBC 10 \"\"`"
            )),
        }
    };
    raw.into_iter().map(check).collect()
}

fn rate(raw: RawRate) -> Result<Option<Rate>, String> {
    let text = raw.interval.unwrap_or_else(|| "0".to_owned());
    let Some(interval) = duration::parse(&text) else {
        return Err(format!(
            "rate_limit.interval: {text:?} is no length of time; write for example 1s or 500ms"
        ));
    };
    let burst = raw.burst.unwrap_or(0);
    Ok((interval > Duration::ZERO).then_some(Rate { interval, burst }))
}

#[cfg(test)]
mod tests;
