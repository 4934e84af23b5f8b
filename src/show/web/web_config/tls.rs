//! rustls, set up as `tls_server_config` says it.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::ciphers::{cipher_suites, curves, versions};
use super::client_auth::{Clients, Policy};
use super::file::{Pem, Tls};
use super::files::Files;

/// Reads the files and sets up a server; what is set up otherwise than was said is told in
/// `notes`.
///
/// # Errors
/// One line: the key, the value, the reason, what to do.
pub fn server(
    tls: &Tls,
    files: &mut Files,
    notes: &mut Vec<String>,
) -> Result<ServerConfig, String> {
    let (chain, _) = certificates("cert_file", &tls.certificate, files)?;
    let key = private_key(&tls.key, files)?;
    let standard = ring::default_provider();
    let provider = Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(&tls.cipher_suites, &standard, notes)?,
        kx_groups: curves(&tls.curve_preferences, &standard, notes)?,
        ..standard
    });
    let wrong = |error| format!("tls_server_config: {error}");
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&tls.min_version, &tls.max_version, notes)?)
        .map_err(wrong)?;
    let builder = match clients(tls, files, &provider)? {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| {
        format!("tls_server_config: cert_file and key_file cannot be used together: {error}; the key must be the certificate's own, RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519")
    })?;
    server.ignore_client_order = tls.prefer_server_cipher_suites;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Prometheus keeps its connection, and takes up none that was closed.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Whether a client needs a certificate.
pub fn demands_certificate(tls: &Tls) -> bool {
    let policy = Policy::named(&tls.client_auth);
    policy.is_some_and(Policy::is_mandatory) || tls.client_allowed_sans.is_some()
}

/// What is there, and where it was said, for an error.
fn read(key: &str, pem: &Pem, files: &mut Files) -> Result<(Vec<u8>, String), String> {
    let key = format!("tls_server_config.{key}");
    match pem {
        Pem::Inline(text) => {
            let place = key.trim_end_matches("_file").to_owned();
            Ok((text.as_bytes().to_vec(), place))
        }
        Pem::File(path) => {
            let read = files.read(path);
            let bytes = read.map_err(|reason| format!("{key}: {reason}"))?;
            Ok((bytes, format!("{key}: {}", path.display())))
        }
    }
}

/// The certificates, and where they were said.
fn certificates(
    key: &str,
    pem: &Pem,
    files: &mut Files,
) -> Result<(Vec<CertificateDer<'static>>, String), String> {
    let (bytes, place) = read(key, pem, files)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match parsed {
        Ok(chain) if !chain.is_empty() => Ok((chain, place)),
        Ok(_) => Err(format!(
            "{place}: has no certificate; a PEM file with BEGIN CERTIFICATE is needed"
        )),
        Err(error) => Err(format!("{place}: is no PEM file: {error}")),
    }
}

fn private_key(pem: &Pem, files: &mut Files) -> Result<PrivateKeyDer<'static>, String> {
    let (bytes, place) = read("key_file", pem, files)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        format!("{place}: has no private key; a PEM file with BEGIN PRIVATE KEY, not encrypted, is needed")
    })
}

fn clients(
    tls: &Tls,
    files: &mut Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Clients>, String> {
    let Some(policy) = Policy::named(&tls.client_auth) else {
        return Err(format!(
            "tls_server_config.client_auth_type: {:?} is unknown; write NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
            tls.client_auth
        ));
    };
    let mut roots = RootCertStore::empty();
    if let Some(pem) = &tls.client_ca {
        let (found, place) = certificates("client_ca_file", pem, files)?;
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(format!("{place}: has no certificate that can be used"));
        }
    }
    match policy {
        Policy::NoClientCert if tls.client_ca.is_some() => Err(
            "tls_server_config: client_ca_file has no effect without client_auth_type; write RequireAndVerifyClientCert, or leave client_ca_file out".to_owned(),
        ),
        Policy::NoClientCert if tls.client_allowed_sans.is_some() => Err(
            "tls_server_config: client_allowed_sans has no effect without client_auth_type; write RequireAndVerifyClientCert, or leave client_allowed_sans out".to_owned(),
        ),
        Policy::NoClientCert => Ok(None),
        // Go would take every public authority of the system for ours.
        _ if policy.verifies() && tls.client_ca.is_none() => Err(format!(
            "tls_server_config: client_auth_type {} needs client_ca_file: whose signatures are to be verified?",
            tls.client_auth
        )),
        _ => Clients::new(policy, roots, tls.client_allowed_sans.clone(), provider).map(Some),
    }
}
