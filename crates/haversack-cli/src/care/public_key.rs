//! An organisation's X25519 public key as a file, and the request its slot makes: PEM, as `openssl` reads and writes it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use haversack::{ORGANISATION_KEY_BYTES, OrganisationKey, SharedSecret};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Greatest size of a public key's file.
const FILE_BYTES_MAX: u64 = 4096;
/// What stands before the 32 bytes of a key: "subject public key, X25519, no parameters" in DER.
const SUBJECT_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// Reads a public key: PEM, or 32 raw bytes.
///
/// # Errors
/// [`Failure::File`], or [`Failure::PublicKey`] for anything else; a private key is refused, too.
pub(super) fn read(path: &Path) -> Result<OrganisationKey, Failure> {
    let failed = |source| Failure::File { what: "the organisation's public key".to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    parse(&bytes).ok_or(Failure::PublicKey)
}

fn parse(bytes: &[u8]) -> Option<OrganisationKey> {
    if let Ok(raw) = bytes.try_into() {
        return Some(OrganisationKey::from_bytes(raw));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()?;
    let key = der.strip_prefix(SUBJECT_PREFIX.as_slice())?;
    Some(OrganisationKey::from_bytes(key.try_into().ok()?))
}

/// A public key as PEM.
pub(super) fn to_pem(key: &[u8; ORGANISATION_KEY_BYTES]) -> String {
    let der = [SUBJECT_PREFIX.as_slice(), key].concat();
    format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
}

/// Reads what the organisation derived: 32 raw bytes. True beside it when others on this machine can read the file, too.
///
/// # Errors
/// [`Failure::File`], or [`Failure::SecretForm`] for anything but 32 bytes.
pub(super) fn read_secret(path: &Path) -> Result<(SharedSecret, bool), Failure> {
    let failed = |source| Failure::File { what: "the derived secret".to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new([0; ORGANISATION_KEY_BYTES + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if length != ORGANISATION_KEY_BYTES {
        return Err(Failure::SecretForm);
    }
    let mut secret = Zeroizing::new([0; ORGANISATION_KEY_BYTES]);
    secret.copy_from_slice(&bytes[..ORGANISATION_KEY_BYTES]);
    Ok((SharedSecret::from_bytes(*secret), is_open_to_others(path).map_err(failed)?))
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm X25519` and `openssl pkey -pubout`.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEA4GTSguM9mc0HpVfkL1OuVLmxZ1oaH49aMWJ32A2kRF8=
-----END PUBLIC KEY-----
";

    #[test]
    fn a_public_key_reads_as_openssl_writes_it_and_is_written_so() {
        let key = parse(PEM.as_bytes()).expect("a key");
        assert_eq!(to_pem(key.as_bytes()), PEM);
        assert_eq!(parse(key.as_bytes()), Some(key), "raw bytes are the same key");
        assert_eq!(parse(PEM.replace('\n', "\r\n").as_bytes()), Some(key));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let private = PEM.replace("PUBLIC", "PRIVATE");
        let other_kind = PEM.replace("K2Vu", "K2Vw");
        for bad in ["", "key", &private, &other_kind, &PEM[..60], &PEM.replace("MCow", "MCox")] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(parse(&[7; 31]).is_none() && parse(&[7; 33]).is_none());
    }
}
