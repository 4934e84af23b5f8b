//! The Subject Alternative Names of a certificate, as text (RFC 5280, 4.2.1.6), read from
//! its DER.

use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
/// `[3] EXPLICIT Extensions` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Kinds of GeneralName.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// DNS names, mail addresses, IP addresses and URIs; none where the certificate is not one.
pub fn names(certificate: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let general = general_names(certificate).unwrap_or_default();
    for (tag, value) in (Elements { rest: general }) {
        match tag {
            EMAIL | DNS | URI => names.extend(String::from_utf8(value.to_vec())),
            IP => names.extend(address(value).map(|address| address.to_string())),
            _ => {}
        }
    }
    names
}

/// Go shows an IPv4 address in IPv6 form as IPv4.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_canonical())
}

/// What is inside the extension.
fn general_names(certificate: &[u8]) -> Option<&[u8]> {
    let certificate = inside(certificate, SEQUENCE)?;
    let to_be_signed = inside(certificate, SEQUENCE)?;
    let mut fields = Elements { rest: to_be_signed };
    let (_, extensions) = fields.find(|&(tag, _)| tag == EXTENSIONS)?;
    let extensions = inside(extensions, SEQUENCE)?;
    for (_, extension) in (Elements { rest: extensions }) {
        let mut parts = Elements { rest: extension };
        if parts.next()? == (OBJECT_IDENTIFIER, &SUBJECT_ALT_NAME[..]) {
            let (tag, value) = parts.find(|&(tag, _)| tag != BOOLEAN)?;
            return (tag == OCTET_STRING).then(|| inside(value, SEQUENCE))?;
        }
    }
    None
}

/// The value of the first element, if it has this tag.
fn inside(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, value) = Elements { rest: der }.next()?;
    (found == tag).then_some(value)
}

/// Elements one after the other: tag, length, value. It ends at the first that is cut off
/// or has no length.
struct Elements<'d> {
    rest: &'d [u8],
}

impl<'d> Iterator for Elements<'d> {
    type Item = (u8, &'d [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // So many bytes of length follow; a certificate has no use for more than 3.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((tag, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["scraper.example".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/prometheus".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn all_four_kinds_of_name_are_read() {
        let expected = [
            "scraper.example",
            "ops@example.org",
            "spiffe://example.org/prometheus",
            "192.0.2.7",
            "2001:db8::7",
        ];
        assert_eq!(names(&certificate()), expected);
    }

    #[test]
    fn a_certificate_that_is_cut_or_damaged_does_no_harm() {
        let whole = certificate();
        for length in 0..whole.len() {
            assert_eq!(names(&whole[..length]), [""; 0], "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = names(&damaged);
        }
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        let params = CertificateParams::new(Vec::new()).unwrap();
        let key = KeyPair::generate().unwrap();
        assert_eq!(names(params.self_signed(&key).unwrap().der()), [""; 0]);
    }
}
