//! Epochs: a record's history begins anew, as the values it shows and nothing else.
//!
//! A root travels as values and is planted by whoever reads it: fixed actor, time 0, keys in order, so it is the same
//! document, byte for byte, everywhere. It is two changes. The foundation holds what edits must find to have an effect:
//! counters, members of sets, the deletion mark. The values on it are registers and override marks; an edit that is expressed
//! anew by somebody who saw another value stands on the foundation alone, and so in conflict with the value. Marks cross as
//! the bytes they are. Serves the promise "what was erased is nowhere".

use std::collections::{BTreeMap, BTreeSet};

use automerge::transaction::Transactable;
use automerge::{ActorId, ROOT, ReadDoc, ScalarValue};
use haversack_protocol::limits::{KEY_BYTES_MAX, RECORD_BYTES_MAX};
use haversack_protocol::{ChangeHash, RecordId};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use ring::digest::{Context, SHA256};

use super::document::{Document, DocumentRefusal};
use super::key::Key;
use crate::conflict::concurrent;

/// What the actors of roots begin with: actors that begin with 0x00 are nobody's device, and those of merges and zeros go on
/// otherwise.
const ROOT_ACTOR: [u8; 2] = [0, 2];
/// Bytes of a digest over record and epoch in the actor of its root.
const ROOT_DIGEST_BYTES: usize = 8;

/// What a record shows, as its next epoch begins with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Root {
    values: BTreeMap<String, ScalarValue>,
}

/// A root as a document.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The document.
    pub document: Document,
    /// Heads of the foundation alone.
    pub foundation: Vec<ChangeHash>,
}

fn root_actor(record: RecordId, epoch: u32) -> ActorId {
    let mut digest = Context::new(&SHA256);
    digest.update(record.as_bytes());
    digest.update(&epoch.to_be_bytes());
    ActorId::from([&ROOT_ACTOR[..], &digest.finish().as_ref()[..ROOT_DIGEST_BYTES]].concat())
}

/// Says whether a key is of one of these fields.
fn is_of(key: &str, fields: &BTreeSet<String>) -> bool {
    match Key::parse(key) {
        Some(Key::Register(field) | Key::Counter(field) | Key::Member(field, _) | Key::Override(field)) => {
            fields.contains(field)
        }
        _ => false,
    }
}

/// Registers and marks are values; everything else is foundation.
fn is_value(key: &str) -> bool {
    matches!(Key::parse(key), Some(Key::Register(_) | Key::Override(_)))
}

/// What a key of a document shows; nothing where its register was cleared.
fn shown(document: &Document, key: &str) -> Option<ScalarValue> {
    let value = if is_value(key) {
        concurrent(&document.inner, key).into_iter().next()?.value
    } else {
        document.inner.get(ROOT, key).ok()??.0.as_scalar()?.clone()
    };
    (!value.is_null()).then_some(value)
}

impl Root {
    /// What a document shows, these fields and all history left out. Keys of a newer schema go along.
    pub fn of(document: &Document, left_out: &BTreeSet<String>) -> Self {
        let keys = document.inner.map_range(ROOT, ..).map(|item| item.key.to_string());
        let kept = keys.filter(|key| !is_of(key, left_out));
        let values = kept.filter_map(|key| shown(document, &key).map(|value| (key, value)));
        Self { values: values.collect() }
    }

    /// Says whether it has something else at a key than a document shows there.
    pub(crate) fn differs_from(
        &self,
        document: &Document,
        key: &str,
        is_same: impl Fn(&ScalarValue, &ScalarValue) -> bool,
    ) -> bool {
        match (self.values.get(key), shown(document, key)) {
            (None, None) => false,
            (Some(ours), Some(theirs)) => *ours != theirs && !is_same(ours, &theirs),
            _ => true,
        }
    }

    /// Makes the document that begins the epoch.
    ///
    /// # Errors
    /// [`DocumentRefusal`] for values no document holds.
    pub fn plant(&self, record: RecordId, epoch: u32) -> Result<Planted, DocumentRefusal> {
        let mut document = Document::empty();
        let actor = root_actor(record, epoch);
        let put = |document: &mut Document, of_values: bool| {
            let mut layer = self.values.iter().filter(|(key, _)| is_value(key) == of_values);
            document.transact(actor.clone(), |tx| {
                layer.try_for_each(|(key, value)| Ok(tx.put(ROOT, key.as_str(), value.clone())?))
            })
        };
        put(&mut document, false)?;
        let foundation = document.heads();
        put(&mut document, true)?;
        Ok(Planted { document, foundation })
    }

    /// Writes it as it travels.
    ///
    /// # Errors
    /// [`DocumentRefusal::Unreadable`] for a kind of value that no record of ours holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentRefusal> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let written: Result<(), minicbor::encode::Error<_>> = (|| {
            encoder.map(self.values.len() as u64)?;
            for (key, value) in &self.values {
                encoder.str(key)?;
                encode_scalar(&mut encoder, value)?;
            }
            Ok(())
        })();
        written.map_err(|_| DocumentRefusal::Unreadable)?;
        Ok(bytes)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DocumentRefusal`] for bytes of another form or of more than a record may hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentRefusal> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(DocumentRefusal::TooLarge);
        }
        let unreadable = |_| DocumentRefusal::Unreadable;
        let mut decoder = Decoder::new(bytes);
        let length = decoder.map().map_err(unreadable)?.ok_or(DocumentRefusal::Unreadable)?;
        let mut values = BTreeMap::new();
        for _ in 0..length {
            let key = decoder.str().map_err(unreadable)?.to_owned();
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(DocumentRefusal::Unreadable);
            }
            let value = decode_scalar(&mut decoder).map_err(unreadable)?;
            if values.insert(key, value).is_some() {
                return Err(DocumentRefusal::Unreadable);
            }
        }
        if decoder.position() == bytes.len() { Ok(Self { values }) } else { Err(DocumentRefusal::Unreadable) }
    }
}

/// Tags of the kinds that CBOR does not tell apart.
const COUNTER: u64 = 0x4843;
const INSTANT: u64 = 0x4854;
const UNSIGNED: u64 = 0x4855;

fn encode_scalar<W: minicbor::encode::Write>(
    encoder: &mut Encoder<W>,
    value: &ScalarValue,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let tag = minicbor::data::Tag::new;
    match value {
        ScalarValue::Bytes(bytes) => encoder.bytes(bytes)?,
        ScalarValue::Str(text) => encoder.str(text)?,
        ScalarValue::Int(number) => encoder.i64(*number)?,
        ScalarValue::Uint(number) => encoder.tag(tag(UNSIGNED))?.u64(*number)?,
        ScalarValue::F64(number) => encoder.f64(*number)?,
        ScalarValue::Counter(sum) => encoder.tag(tag(COUNTER))?.i64(i64::from(sum))?,
        ScalarValue::Timestamp(at) => encoder.tag(tag(INSTANT))?.i64(*at)?,
        ScalarValue::Boolean(truth) => encoder.bool(*truth)?,
        ScalarValue::Null | ScalarValue::Unknown { .. } => {
            return Err(minicbor::encode::Error::message("no value of a record"));
        }
    };
    Ok(())
}

fn decode_scalar(decoder: &mut Decoder<'_>) -> Result<ScalarValue, minicbor::decode::Error> {
    Ok(match decoder.datatype()? {
        Type::Bytes => ScalarValue::Bytes(decoder.bytes()?.to_vec()),
        Type::String => decoder.str()?.into(),
        Type::F64 => ScalarValue::F64(decoder.f64()?),
        Type::Bool => ScalarValue::Boolean(decoder.bool()?),
        Type::Tag => match decoder.tag()?.as_u64() {
            COUNTER => ScalarValue::counter(decoder.i64()?),
            INSTANT => ScalarValue::Timestamp(decoder.i64()?),
            UNSIGNED => ScalarValue::Uint(decoder.u64()?),
            _ => return Err(minicbor::decode::Error::message("no value of a record")),
        },
        _ => ScalarValue::Int(decoder.i64()?),
    })
}
