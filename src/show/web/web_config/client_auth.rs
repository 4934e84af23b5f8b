//! Whose connections are taken: the client's certificate under the policies of Go's
//! crypto/tls, `client_auth_type`.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::san;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// None is asked for.
    NoClientCert,
    /// One may be given, whoever signed it.
    RequestClientCert,
    /// One must be given, whoever signed it.
    RequireAnyClientCert,
    /// One may be given, and one of ours must have signed it.
    VerifyClientCertIfGiven,
    /// One must be given, and one of ours must have signed it.
    RequireAndVerifyClientCert,
}

impl Policy {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "NoClientCert" => Self::NoClientCert,
            "RequestClientCert" => Self::RequestClientCert,
            // The toolkit takes its old name, too.
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAnyClientCert,
            "VerifyClientCertIfGiven" => Self::VerifyClientCertIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerifyClientCert,
            _ => return None,
        })
    }

    /// Whether a client must have one.
    pub fn is_mandatory(self) -> bool {
        matches!(
            self,
            Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert
        )
    }

    /// Whether a signature by one of ours is wanted.
    pub fn verifies(self) -> bool {
        matches!(
            self,
            Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert
        )
    }
}

#[derive(Debug)]
pub struct Clients {
    /// Holds the certificate against ours; none where anybody's signature will do.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// Names of ours, for clients that have several certificates.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
    /// One of these names must be the client's.
    allowed_sans: Option<Vec<String>>,
}

impl Clients {
    /// # Errors
    /// When signatures are to be verified and there is nobody whose they could be.
    pub fn new(
        policy: Policy,
        roots: RootCertStore,
        allowed_sans: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let hints = roots.subjects();
        let (roots, provider) = (Arc::new(roots), Arc::clone(provider));
        let algorithms = provider.signature_verification_algorithms;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let chain = policy.verifies().then(|| builder.build()).transpose();
        Ok(Self {
            chain: chain.map_err(|error| error.to_string())?,
            hints,
            algorithms,
            // Without a certificate there is no name: Go refuses that client, too.
            mandatory: policy.is_mandatory() || allowed_sans.is_some(),
            allowed_sans,
        })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans
            && !san::names(end_entity)
                .iter()
                .any(|name| allowed.contains(name))
        {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
