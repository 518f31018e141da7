//! Binding the store to a server, a principal and a device.

use haversack_protocol::{DeviceId, DeviceReply, InstallationId, PrincipalId, Role, Schema};
use rusqlite::Connection;

use super::materialise::refresh_stored;
use super::touched::Touched;
use crate::StoreError;
use crate::table::{document, envelope, meta, outbox, tail};

/// Who the store speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of this installation, made once.
    pub installation: InstallationId,
    /// Device id the server issued; `None` before the first contact.
    pub device: Option<DeviceId>,
    /// Whose store it is; `None` before the first contact.
    pub principal: Option<PrincipalId>,
    /// Role of the principal as last heard; the least one before the first contact.
    pub role: Role,
    /// Server the store is bound to.
    pub server: Option<String>,
}

/// Reads who the store speaks for.
pub(crate) fn identity(connection: &Connection) -> Result<Identity, StoreError> {
    let installation = meta::read(connection, meta::INSTALLATION)?;
    Ok(Identity {
        installation: installation.ok_or(StoreError::Unreadable("installation id"))?,
        device: meta::read(connection, meta::DEVICE)?,
        principal: meta::read(connection, meta::PRINCIPAL)?,
        role: meta::read(connection, meta::ROLE)?.unwrap_or(Role::Mentor),
        server: meta::read(connection, meta::SERVER)?,
    })
}

/// Binds the store, or renews what the server says of the device. Bytes authored under another device id are dropped,
/// to be authored anew; which of concurrent values wins may depend on the id, so rows with pending work are made anew.
pub(crate) fn bind(
    connection: &Connection,
    schema: &Schema,
    server: &str,
    reply: &DeviceReply,
) -> Result<Touched, StoreError> {
    let bound = identity(connection)?;
    let is_other_server = bound.server.is_some_and(|bound| bound != server);
    let is_other_principal = bound.principal.is_some_and(|bound| bound != reply.principal);
    if is_other_server || is_other_principal {
        return Err(StoreError::OtherPrincipal);
    }
    let is_other_device = bound.device != Some(reply.device);
    if is_other_device {
        thaw_all(connection)?;
    }
    let ordinal: u64 = meta::read(connection, meta::PUSH_ORDINAL)?.unwrap_or(0);
    meta::write(connection, meta::SERVER, &server)?;
    meta::write(connection, meta::DEVICE, &reply.device)?;
    meta::write(connection, meta::PRINCIPAL, &reply.principal)?;
    meta::write(connection, meta::ROLE, &reply.role)?;
    meta::write(connection, meta::PUSH_ORDINAL, &ordinal.max(reply.push_ordinal))?;
    envelope::insert_device(connection, reply.device, &reply.principal)?;
    let live = if is_other_device { outbox::live_records(connection)? } else { vec![] };
    let mut touched = Touched::default();
    for record in live {
        // Without a document there is nothing to lose to, however many edits wait for the first contact.
        if document::heads(connection, record)?.is_some() {
            touched.extend(refresh_stored(connection, schema, record)?);
        }
    }
    Ok(touched)
}

/// Makes a copy of a store one that never spoke to a server: whoever opens it is registered as a new device, so that no
/// number of a change is used by two. Bytes are dropped, to be authored anew, but not before the log was read to its end:
/// the server may have verdicts on what still waits here.
pub(crate) fn forget_device(connection: &Connection) -> Result<(), StoreError> {
    thaw_all(connection)?;
    for fact in [meta::INSTALLATION, meta::DEVICE, meta::PUSH_ORDINAL] {
        meta::remove(connection, fact)?;
    }
    // Rows are made anew at the first opening: what they foretell depends on the device.
    meta::remove(connection, meta::SCHEMA)?;
    meta::write(connection, meta::HEALING, &true)
}

fn thaw_all(connection: &Connection) -> Result<(), StoreError> {
    tail::file(connection)?;
    outbox::frozen_orders(connection)?.into_iter().try_for_each(|order| outbox::thaw(connection, order))
}
