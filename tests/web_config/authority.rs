//! Certificates for a test, and a client that speaks TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::support::http::{self, Response};
use crate::support::patience;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        let key = KeyPair::generate().unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Of a server at 127.0.0.1.
    pub fn server(&self) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let loopback = SanType::IpAddress([127, 0, 0, 1].into());
        params.subject_alt_names.push(loopback);
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Of a client with this name.
    pub fn client(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A client that trusts one authority.
pub struct Client<'c> {
    pub trusts: &'c Authority,
    pub identity: Option<&'c Identity>,
    pub versions: &'c [&'static SupportedProtocolVersion],
}

impl<'c> Client<'c> {
    pub fn of(trusts: &'c Authority) -> Self {
        Self {
            trusts,
            identity: None,
            versions: ALL_VERSIONS,
        }
    }

    pub fn with(trusts: &'c Authority, identity: &'c Identity) -> Self {
        let identity = Some(identity);
        Self {
            identity,
            ..Self::of(trusts)
        }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.trusts.pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
                builder
                    .with_client_auth_cert(vec![certificate.unwrap()], key.unwrap())
                    .unwrap()
            }
        }
    }

    /// # Errors
    /// Those of the handshake as well.
    pub fn connect(&self, server: SocketAddr) -> io::Result<Tls> {
        let patience = patience::seconds(10);
        let stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let name = ServerName::from(server.ip());
        let client = ClientConnection::new(Arc::new(self.config()), name);
        Ok(StreamOwned::new(client.map_err(io::Error::other)?, stream))
    }

    /// # Errors
    /// As [`Self::connect`].
    pub fn get(&self, server: SocketAddr, path: &str, headers: &[&str]) -> io::Result<Response> {
        http::request_over(&mut self.connect(server)?, server, "GET", path, headers)
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;
