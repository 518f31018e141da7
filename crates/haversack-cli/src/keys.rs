//! Where keys and tokens come from: a file descriptor, or the platform's key store. Never the command line, never the
//! environment: both can be read by others on the machine.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use haversack::{HostKey, KeyProvider, PlatformKeys, STORE_KEY_BYTES, StoreKey};
use haversack_protocol::limits::PASSPHRASE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Name of our entries in the platform's key store.
const SERVICE: &str = "haversack";
/// Longest content of a key's descriptor: 64 hexadecimal digits and a line end.
const KEY_TEXT_BYTES_MAX: usize = 2 * STORE_KEY_BYTES + 2;
/// Longest token; signed tokens of identity providers are a few kilobytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The keeper of the store's key.
///
/// # Errors
/// [`Failure::KeyUnreadable`] or [`Failure::KeyForm`] for what the descriptor holds.
pub(crate) fn provider(key_descriptor: Option<u32>) -> Result<Arc<dyn KeyProvider>, Failure> {
    let Some(descriptor) = key_descriptor else {
        return Ok(Arc::new(PlatformKeys::new(SERVICE)));
    };
    let bytes = read(descriptor, KEY_TEXT_BYTES_MAX).map_err(|_| Failure::KeyUnreadable(descriptor))?;
    let key = parse_key(&bytes).ok_or(Failure::KeyForm(descriptor))?;
    Ok(Arc::new(HostKey::new(key)))
}

/// The token of a descriptor, without the line end.
///
/// # Errors
/// [`Failure::Token`] when it cannot be read, is empty, too long or no text.
pub(crate) fn token(descriptor: u32) -> Result<Zeroizing<String>, Failure> {
    let refuse = || Failure::Token(descriptor);
    let bytes = read(descriptor, TOKEN_BYTES_MAX).map_err(|_| refuse())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse())?.trim_end();
    if text.is_empty() || bytes.len() > TOKEN_BYTES_MAX {
        return Err(refuse());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// The passphrase of a descriptor: its first line.
///
/// # Errors
/// [`Failure::Passphrase`] when it cannot be read. Its length is the library's to judge.
pub(crate) fn passphrase(descriptor: u32) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes =
        read(descriptor, PASSPHRASE_BYTES_MAX + 2).map_err(|_| Failure::Passphrase(descriptor))?;
    if let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.truncate(end);
    }
    Ok(bytes)
}

/// Reads a descriptor to its end, but at most one byte more than `bytes_max`.
fn read(descriptor: u32, bytes_max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room to spare: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * bytes_max));
    File::open(format!("/dev/fd/{descriptor}"))?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads 32 raw bytes, or 64 hexadecimal digits with or without a line end.
fn parse_key(bytes: &[u8]) -> Option<StoreKey> {
    if let Ok(raw) = bytes.try_into() {
        return Some(StoreKey::from_bytes(raw));
    }
    let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    if digits.len() != 2 * STORE_KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0u8; STORE_KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(StoreKey::from_bytes(*key))
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_and_hexadecimal_digits_are_the_same_key() {
        let raw: Vec<u8> = (100..132).collect();
        let text: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        for form in
            [raw.clone(), text.clone().into(), format!("{text}\n").into(), format!("{text}\r\n").into()]
        {
            assert_eq!(parse_key(&form).expect("a key").expose().as_slice(), raw);
        }
        assert_eq!(parse_key(text.to_uppercase().as_bytes()).expect("a key").expose().as_slice(), raw);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let digits = "ab".repeat(STORE_KEY_BYTES);
        for bad in [
            String::new(),
            "x".repeat(31),
            "x".repeat(33),
            "g".repeat(64),
            format!("{digits}\n\n"),
            format!(" {digits}"),
            format!("{digits}a"),
            digits[2..].to_owned(),
            "+a".repeat(STORE_KEY_BYTES),
        ] {
            assert!(parse_key(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
