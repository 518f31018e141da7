//! Typed ids: one type per meaning, so that a record can never be passed where a change set is meant.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decoder, Encoder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::{NAME_BYTES_MAX, SERVER_ID_BYTES_MAX};

/// Why a text or byte string is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdRefusal {
    /// Not a UUID.
    #[error("not a UUID")]
    Uuid,
    /// Empty, too long, or holding characters outside letters, digits, `-`, `_`, `.`, `:`, `@`.
    #[error("a name holds 1 to {max} letters, digits or -_.:@")]
    Name {
        /// Greatest length in bytes.
        max: usize,
    },
    /// Not the wanted number of bytes.
    #[error("not {0} bytes of hexadecimal")]
    Length(usize),
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Reads 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdRefusal;
            fn from_str(text: &str) -> Result<Self, IdRefusal> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdRefusal::Uuid)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(self.as_bytes())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                fixed_bytes(d).map(Self::from_bytes)
            }
        }
    };
}

uuid_id!(
    /// Names a record for ever. Made on the device that creates it (UUIDv7, of an import UUIDv8), never reused, never changed.
    RecordId
);
uuid_id!(
    /// Names a change set; the idempotency key of its verdict.
    ChangeSetId
);
uuid_id!(
    /// Names one store file; written in its sidecar and in its database.
    StoreId
);
uuid_id!(
    /// Names one installation of an app, so that registering it twice gives the same device.
    InstallationId
);
uuid_id!(
    /// Names one erasure, in the database and in the ledger beside it.
    ErasureId
);

fn fixed_bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], minicbor::decode::Error> {
    let position = d.position();
    d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("wrong id length").at(position))
}

fn hex_decode<const N: usize>(text: &str) -> Result<[u8; N], IdRefusal> {
    let refusal = IdRefusal::Length(N);
    if text.len() != N * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refusal);
    }
    let mut out = [0u8; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).map_err(|_| refusal.clone())?;
    }
    Ok(out)
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $n]);

        impl $name {
            /// Wraps the raw bytes.
            pub const fn from_bytes(bytes: [u8; $n]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdRefusal;
            fn from_str(text: &str) -> Result<Self, IdRefusal> {
                hex_decode(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                fixed_bytes(d).map(Self)
            }
        }
    };
}

byte_id!(
    /// Names a device; issued by the server, random, never beginning with 0x00. Its actors begin with it.
    DeviceId,
    8
);
byte_id!(
    /// SHA-256 hash of one Automerge change.
    ChangeHash,
    32
);
byte_id!(
    /// Stands for a record that was erased: a hash of its id, so that whoever has the record knows it and nobody else does.
    ErasedName,
    32
);

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`IdRefusal::Name`] when it is empty, too long or holds other characters.
            pub fn new(text: impl Into<String>) -> Result<Self, IdRefusal> {
                let text = text.into();
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
                if text.is_empty() || text.len() > $max || !text.bytes().all(is_plain) {
                    return Err(IdRefusal::Name { max: $max });
                }
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdRefusal;
            fn from_str(text: &str) -> Result<Self, IdRefusal> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdRefusal;
            fn try_from(text: String) -> Result<Self, IdRefusal> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let position = d.position();
                Self::new(d.str()?)
                    .map_err(|_| minicbor::decode::Error::message("bad name").at(position))
            }
        }
    };
}

name_id!(
    /// Names a record at the server; assigned once, with the verdict on its creation.
    ServerId,
    SERVER_ID_BYTES_MAX
);
name_id!(
    /// Names an organisation; nothing crosses tenants.
    TenantId,
    NAME_BYTES_MAX
);
name_id!(
    /// Names the person a token speaks for.
    PrincipalId,
    NAME_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_be_mistaken_for_syntax() {
        for bad in ["", "a b", "a/b", "é", "a\0", "a\n", &"x".repeat(65)] {
            assert!(ServerId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ServerId::new("ACT-7").map(String::from), Ok("ACT-7".to_owned()));
    }

    #[test]
    fn hexadecimal_ids_round_trip_and_refuse_other_lengths() {
        let id = DeviceId::from_bytes([1, 2, 3, 4, 5, 6, 7, 0xff]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("01".parse::<DeviceId>().is_err());
        assert!("+102030405060708".parse::<DeviceId>().is_err());
    }
}
