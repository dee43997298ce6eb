//! Whose certificates a server may show, where `SSL_CERT_FILE` adds to the system's authorities.
//!
//! Libraries that look for the system's authorities take that file for them, and nothing else: one that names only
//! a private authority would end the trust in all public ones. So both are read here.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Where systems keep all their authorities in one file, the most usual first.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is wrong with the file that `SSL_CERT_FILE` names.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("SSL_CERT_FILE: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It holds no usable certificate.
    #[error("SSL_CERT_FILE: {} holds no PEM certificate that can be used", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The authorities in the PEM file `extra`, and the system's.
pub fn with_extra(extra: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let pem = std::fs::read(extra).map_err(|source| RootsError::Read { path: extra.to_owned(), source })?;
    let mut roots = usable(&pem);
    if roots.is_empty() {
        return Err(RootsError::Empty { path: extra.to_owned() });
    }
    let system = BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
    roots.extend(system.iter().flat_map(|pem| usable(pem)));
    Ok(roots)
}

/// The certificates in `pem` that can be an authority's; one that cannot must not spoil the others.
fn usable(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUJUIoVS/uZetBAgstx67eYzLzImcwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGYSB0ZXN0MCAXDTI2MTEyNzA4MDIxNloYDzIxMjYxMTAzMDgw
MjE2WjARMQ8wDQYDVQQDDAZhIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAS6Lr8WfNHGvExgeYyAG+z3gebTxRVFo3fJFwpcVEEP9R98McERGt29bznJx7ml
yGHbB+ybW6C/P9ByTh2I1MXIo1MwUTAdBgNVHQ4EFgQUjFcSVZrtz0tsQ3Jm+95m
vm/KRiMwHwYDVR0jBBgwFoAUjFcSVZrtz0tsQ3Jm+95mvm/KRiMwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBGcwp/crlGisoZ+Ww7nZg7NRb9zli8
7hMdOv493TAATgIgGS3y7VHS4At6CAqk7pZ+3+ww/A/sjvrbxrzMNLdeIJc=
-----END CERTIFICATE-----
";

    #[test]
    fn a_named_authority_joins_those_of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        assert!(matches!(with_extra(&path), Err(RootsError::Read { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(with_extra(&path), Err(RootsError::Empty { .. })));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, [broken, AUTHORITY].concat()).unwrap();
        let roots = with_extra(&path).unwrap();
        assert_eq!(roots[0], usable(AUTHORITY.as_bytes())[0]);
        let system = BUNDLES.iter().any(|path| Path::new(path).exists());
        assert_eq!(roots.len() > 1, system);
    }
}
