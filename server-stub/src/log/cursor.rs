//! Cursors: a read position bound to tenant and log, authenticated, and compared with the log itself.
//!
//! A server restored from an older backup does not have the rows a cursor covers, or has others in their place: the
//! chain hash in the cursor notices both.

use haversack_protocol::{Cursor, CursorBody};
use ring::hmac;

use crate::store::{Identity, Reader, StoreRefusal};

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const CHAIN_BYTES: usize = 16;

/// Why a cursor is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CursorRefusal {
    /// Forged, of another log, or from a future this log does not have.
    #[error("the cursor is not of this log")]
    Foreign,
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreRefusal),
}

fn tag(identity: &Identity, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &identity.cursor_key));
    let tenant = identity.tenant.as_str().as_bytes();
    context.update(&u64::try_from(tenant.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(tenant);
    context.update(body);
    context.sign()
}

/// Compares in a time that does not depend on where the bytes differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Makes the cursor for a position and the chain hash there.
pub(super) fn seal_cursor(identity: &Identity, position: u64, chain: &[u8; 32]) -> Cursor {
    let body = CursorBody {
        format: FORMAT,
        log_epoch: identity.log_epoch,
        position,
        chain: chain[..CHAIN_BYTES].to_vec(),
        grant_position: 0,
        backfill: vec![],
    };
    let mut bytes = minicbor::to_vec(&body).expect("writing to a vector cannot fail");
    let tag = tag(identity, &bytes);
    bytes.extend(&tag.as_ref()[..TAG_BYTES]);
    Cursor::new(bytes).expect("a cursor without backfill is a tenth of the limit")
}

/// Reads the position of a cursor.
///
/// # Errors
/// [`CursorRefusal::Foreign`] when this server did not make it, or its log no longer holds what it covers.
pub(crate) fn open_cursor(
    identity: &Identity,
    reader: &Reader<'_>,
    cursor: &Cursor,
) -> Result<u64, CursorRefusal> {
    let bytes = cursor.as_bytes();
    let (body, given) = bytes.split_at(bytes.len().saturating_sub(TAG_BYTES));
    if !is_equal(&tag(identity, body).as_ref()[..TAG_BYTES], given) {
        return Err(CursorRefusal::Foreign);
    }
    let body: CursorBody = minicbor::decode(body).map_err(|_| CursorRefusal::Foreign)?;
    if body.format != FORMAT || body.log_epoch != identity.log_epoch {
        return Err(CursorRefusal::Foreign);
    }
    match reader.chain_at(body.position)? {
        Some(chain) if chain[..CHAIN_BYTES] == body.chain => Ok(body.position),
        _ => Err(CursorRefusal::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use haversack_protocol::{
        ChangeSetId, Code, DeviceId, LogRow, RejectedRow, Rejection, RowOrigin, TenantId, UnixMillis,
    };

    use super::*;
    use crate::store::{PushTransaction, Readers, open};

    fn log_of(rows: u8) -> (tempfile::TempDir, Readers, Identity) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("server.db");
        let tenant = TenantId::new("t").expect("plain");
        let (mut connection, identity) = open(&path, &tenant).expect("opened");
        let mut transaction = PushTransaction::begin(&mut connection, &identity).expect("begun");
        let device = DeviceId::from_bytes([1; 8]);
        for n in 0..rows {
            let change_set = ChangeSetId::from_bytes([n; 16]);
            let position = transaction.next_position();
            let origin = RowOrigin { position, change_set, device, at: UnixMillis(0), skew_ms: 0 };
            let row = LogRow::Rejected(RejectedRow { origin, rejection: Rejection::of(Code::Rule) });
            transaction.append(&row, device, Some(change_set)).expect("appended");
        }
        transaction.commit().expect("committed");
        (directory, Readers::new(&path), identity)
    }

    fn open_in(readers: &Readers, identity: &Identity, cursor: &Cursor) -> Result<u64, CursorRefusal> {
        readers.read(|reader| open_cursor(identity, reader, cursor))
    }

    fn sealed(readers: &Readers, identity: &Identity, position: u64) -> Cursor {
        let chain = readers.read(|reader| reader.chain_at(position)).expect("read").expect("there");
        seal_cursor(identity, position, &chain)
    }

    #[test]
    fn a_cursor_reads_back_only_with_its_key_tenant_and_log() {
        let (_directory, readers, identity) = log_of(3);
        let cursor = sealed(&readers, &identity, 2);
        assert!(matches!(open_in(&readers, &identity, &cursor), Ok(2)));
        let other = [
            Identity { tenant: TenantId::new("u").expect("plain"), ..identity.clone() },
            Identity { log_epoch: identity.log_epoch + 1, ..identity.clone() },
            Identity { cursor_key: vec![7; 32], ..identity.clone() },
        ];
        for other in other {
            let refused = open_in(&readers, &other, &cursor);
            assert!(matches!(refused, Err(CursorRefusal::Foreign)));
        }
    }

    #[test]
    fn a_log_that_regressed_or_took_another_way_refuses_the_cursor() {
        let (_directory, readers, identity) = log_of(3);
        let from_the_future = seal_cursor(&identity, 4, &[0; 32]);
        assert!(matches!(open_in(&readers, &identity, &from_the_future), Err(CursorRefusal::Foreign)));
        let of_another_past = seal_cursor(&identity, 2, &[0; 32]);
        assert!(matches!(open_in(&readers, &identity, &of_another_past), Err(CursorRefusal::Foreign)));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let (_directory, readers, identity) = log_of(1);
        let bytes = sealed(&readers, &identity, 1).as_bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = Cursor::new(forged).expect("short");
            assert!(open_in(&readers, &identity, &forged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let cut = Cursor::new(bytes[..length].to_vec()).expect("short");
            assert!(open_in(&readers, &identity, &cut).is_err(), "length {length}");
        }
    }
}
