//! The first stage of admission: reads the bytes of a foreign change before Automerge does.
//!
//! Holds the layout of an Automerge change chunk as far as a flat record needs it. Never expands a run, never
//! allocates beyond the dependencies and the actor, never panics. What passes here decodes in Automerge to
//! exactly the stated number of operations; whether the change is honest is for the later stages to find out.

use haversack_protocol::ChangeHash;
use haversack_protocol::limits::{
    CHANGE_BYTES_MAX, CHANGE_OPS_MAX, CHANGE_PREDECESSORS_MAX, DEPS_MAX, KEY_BYTES_MAX, TEXT_BYTES_MAX,
};
use ring::digest::{SHA256, digest};

#[cfg(test)]
mod tests;

/// What the header of a raw change states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// SHA-256 over chunk type, length and body: the name of the change.
    pub hash: ChangeHash,
    /// The actor that states it authored the change.
    pub actor: Vec<u8>,
    /// Position among the actor's changes of this record, from 1.
    pub sequence: u64,
    /// Counter of the first operation; of the next one if the change is empty.
    pub start_op: u64,
    /// Changes this one builds on, ascending.
    pub deps: Vec<ChangeHash>,
    /// Number of operations.
    pub ops: u64,
}

/// Why bytes are not a change a record could hold.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateRefusal {
    /// More than [`CHANGE_BYTES_MAX`] bytes.
    #[error("larger than {CHANGE_BYTES_MAX} bytes")]
    TooLarge,
    /// Other magic bytes, or a chunk that is a document, a compressed change, a bundle or unknown.
    #[error("not an uncompressed change chunk")]
    NotAChange,
    /// A stated length or count does not fit the bytes that are there.
    #[error("a stated length disagrees with the bytes")]
    Length,
    /// The checksum is not that of the bytes.
    #[error("wrong checksum")]
    Checksum,
    /// A number is longer than needed or too large for its type.
    #[error("a number is not encoded in its shortest form")]
    Encoding,
    /// More than [`DEPS_MAX`] dependencies.
    #[error("more than {DEPS_MAX} dependencies")]
    TooManyDeps,
    /// Dependencies repeat or do not ascend.
    #[error("dependencies do not ascend")]
    DepsOrder,
    /// An actor of no bytes or more than 20.
    #[error("an actor of {0} bytes")]
    Actor(u64),
    /// The table of other actors does not ascend, names the author, or is longer than the predecessors need.
    #[error("the actor table is not what the predecessors need")]
    ActorTable,
    /// A sequence number outside 1 to 2^32 - 1.
    #[error("sequence number out of range")]
    Sequence,
    /// An operation counter outside 1 to 2^32 - 1.
    #[error("operation counter out of range")]
    StartOp,
    /// A time is stated; ours never do.
    #[error("states a time")]
    Time,
    /// A message is stated; ours never do.
    #[error("states a message")]
    Message,
    /// A column is flagged as compressed.
    #[error("column {specification} is compressed")]
    Compressed {
        /// The column specification as written.
        specification: u32,
    },
    /// A column is unknown, out of order, repeated, empty, or of no use in a flat record.
    #[error("column {specification} does not belong in a change of a record")]
    Column {
        /// The column specification as written.
        specification: u32,
    },
    /// More than [`CHANGE_OPS_MAX`] operations.
    #[error("more than {CHANGE_OPS_MAX} operations")]
    TooManyOps,
    /// More than [`CHANGE_PREDECESSORS_MAX`] predecessors.
    #[error("more than {CHANGE_PREDECESSORS_MAX} predecessors")]
    TooManyPredecessors,
    /// The columns do not all describe the same operations.
    #[error("the columns disagree on the operations")]
    ColumnsDisagree,
    /// A null where every operation has a value.
    #[error("a null in a column without nulls")]
    Null,
    /// An operation inserts into a list.
    #[error("an operation inserts")]
    Insert,
    /// An operation is not a put, a delete or an increment.
    #[error("an operation of kind {0}")]
    Action(u64),
    /// A key is empty, longer than [`KEY_BYTES_MAX`] or not UTF-8.
    #[error("a key is empty, too long or not text")]
    Key,
    /// A value is of a kind no field has, too long, malformed, or does not suit its operation.
    #[error("a value is malformed or too long")]
    Value,
    /// A predecessor names no actor of the table or no earlier operation.
    #[error("a predecessor cannot exist")]
    Predecessor,
    /// Bytes follow the last column.
    #[error("bytes after the last column")]
    ExtraBytes,
}

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHECKSUM_END: usize = 8;
const CHUNK_TYPE_CHANGE: u8 = 1;
const HASH_BYTES: usize = 32;
/// Bytes of an actor; devices use 12, rewrites by the server 17.
const ACTOR_BYTES_MAX: u64 = 20;
/// Bytes of one value: a text of the greatest length and whatever a field kind frames it with.
const VALUE_BYTES_MAX: u64 = TEXT_BYTES_MAX as u64 + 64;
/// Automerge holds operation counters and sequence numbers in 32 bits and panics above.
const COUNTER_MAX: u64 = u32::MAX as u64;

/// Reads what a raw change states, and refuses what no honest change of a record can be.
///
/// # Errors
/// [`GateRefusal`], with the first rule the bytes break.
pub fn inspect(bytes: &[u8]) -> Result<ChunkHeader, GateRefusal> {
    let (hash, body) = open_chunk(bytes)?;
    let mut reader = Reader(body);
    let deps = read_deps(&mut reader)?;
    let author = read_actor(&mut reader)?;
    let sequence = reader.unsigned()?;
    if sequence == 0 || sequence > COUNTER_MAX {
        return Err(GateRefusal::Sequence);
    }
    let start_op = reader.unsigned()?;
    if start_op == 0 || start_op > COUNTER_MAX - CHANGE_OPS_MAX {
        return Err(GateRefusal::StartOp);
    }
    if reader.signed()? != 0 {
        return Err(GateRefusal::Time);
    }
    if reader.unsigned()? != 0 {
        return Err(GateRefusal::Message);
    }
    let other_actors = skip_actor_table(&mut reader, author)?;
    let columns = read_columns(&mut reader)?;
    if !reader.is_empty() {
        return Err(GateRefusal::ExtraBytes);
    }
    let ops = Operations::of(columns, start_op, other_actors).check()?;
    Ok(ChunkHeader { hash, actor: author.to_vec(), sequence, start_op, deps, ops })
}

/// Checks the frame of the chunk and gives its hash and its body.
fn open_chunk(bytes: &[u8]) -> Result<(ChangeHash, &[u8]), GateRefusal> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(GateRefusal::TooLarge);
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(GateRefusal::NotAChange);
    }
    let (front, hashed) = bytes.split_at_checked(CHECKSUM_END).ok_or(GateRefusal::Length)?;
    let mut reader = Reader(hashed);
    if reader.byte()? != CHUNK_TYPE_CHANGE {
        return Err(GateRefusal::NotAChange);
    }
    if reader.unsigned()? != reader.0.len() as u64 {
        return Err(GateRefusal::Length);
    }
    let mut hash = [0u8; HASH_BYTES];
    hash.copy_from_slice(digest(&SHA256, hashed).as_ref());
    if front[MAGIC.len()..] != hash[..CHECKSUM_END - MAGIC.len()] {
        return Err(GateRefusal::Checksum);
    }
    Ok((ChangeHash::from_bytes(hash), reader.0))
}

fn read_deps(reader: &mut Reader<'_>) -> Result<Vec<ChangeHash>, GateRefusal> {
    let count = reader.unsigned()?;
    if count > DEPS_MAX as u64 {
        return Err(GateRefusal::TooManyDeps);
    }
    let (hashes, _) = reader.take(count * HASH_BYTES as u64)?.as_chunks::<HASH_BYTES>();
    if !hashes.is_sorted_by(|earlier, later| earlier < later) {
        return Err(GateRefusal::DepsOrder);
    }
    Ok(hashes.iter().copied().map(ChangeHash::from_bytes).collect())
}

fn read_actor<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], GateRefusal> {
    let length = reader.unsigned()?;
    if length == 0 || length > ACTOR_BYTES_MAX {
        return Err(GateRefusal::Actor(length));
    }
    reader.take(length)
}

/// Checks the table of other actors and gives its length; every entry costs bytes, so it is bounded.
fn skip_actor_table(reader: &mut Reader<'_>, author: &[u8]) -> Result<u64, GateRefusal> {
    let count = reader.unsigned()?;
    let mut previous: &[u8] = &[];
    for _ in 0..count {
        let actor = read_actor(reader)?;
        if actor <= previous || actor == author {
            return Err(GateRefusal::ActorTable);
        }
        previous = actor;
    }
    Ok(count)
}

/// The columns a put, delete or increment of a string key in the root fills, as specifications in their order:
/// column id in the upper bits, then the deflate flag, then the type of the column.
const COLUMNS: [u32; 8] = [
    0x15, // key, text
    0x34, // insert, boolean
    0x42, // action, integer
    0x56, // value kind and length
    0x57, // value, raw
    0x70, // predecessor count, group
    0x71, // predecessor actor
    0x73, // predecessor counter, delta
];
const DEFLATE_FLAG: u32 = 0b1000;

/// Reads the column table and cuts what follows into the columns of [`COLUMNS`]; an absent one is empty.
fn read_columns<'a>(reader: &mut Reader<'a>) -> Result<[&'a [u8]; COLUMNS.len()], GateRefusal> {
    let mut lengths = [0; COLUMNS.len()];
    let mut next_place = 0;
    for _ in 0..reader.unsigned()? {
        let specification = u32::try_from(reader.unsigned()?).map_err(|_| GateRefusal::Encoding)?;
        if specification & DEFLATE_FLAG != 0 {
            return Err(GateRefusal::Compressed { specification });
        }
        let length = reader.unsigned()?;
        let place = COLUMNS.iter().position(|known| *known == specification);
        match place.filter(|place| *place >= next_place && length > 0) {
            Some(place) => {
                lengths[place] = length;
                next_place = place + 1;
            }
            None => return Err(GateRefusal::Column { specification }),
        }
    }
    let mut columns: [&[u8]; COLUMNS.len()] = [&[]; COLUMNS.len()];
    for (column, length) in columns.iter_mut().zip(lengths) {
        *column = reader.take(length)?;
    }
    Ok(columns)
}

/// Walks all columns in step, one operation at a time, and so never further than the limits whatever a run states.
struct Operations<'a> {
    keys: Runs<'a, &'a [u8]>,
    inserts: Reader<'a>,
    actions: Runs<'a, u64>,
    value_kinds: Runs<'a, u64>,
    values: Reader<'a>,
    predecessor_counts: Runs<'a, u64>,
    predecessor_actors: Runs<'a, u64>,
    predecessor_deltas: Runs<'a, i64>,
    predecessor_counter: i64,
    predecessors: u64,
    start_op: u64,
    other_actors: u64,
}

impl<'a> Operations<'a> {
    fn of(columns: [&'a [u8]; COLUMNS.len()], start_op: u64, other_actors: u64) -> Self {
        let [
            keys,
            inserts,
            actions,
            value_kinds,
            values,
            predecessor_counts,
            predecessor_actors,
            predecessor_deltas,
        ] = columns;
        Self {
            keys: Runs::of(keys),
            inserts: Reader(inserts),
            actions: Runs::of(actions),
            value_kinds: Runs::of(value_kinds),
            values: Reader(values),
            predecessor_counts: Runs::of(predecessor_counts),
            predecessor_actors: Runs::of(predecessor_actors),
            predecessor_deltas: Runs::of(predecessor_deltas),
            predecessor_counter: 0,
            predecessors: 0,
            start_op,
            other_actors,
        }
    }

    /// Checks every operation and gives their number.
    fn check(mut self) -> Result<u64, GateRefusal> {
        let mut ops = 0;
        while !self.actions.is_done() {
            if ops == CHANGE_OPS_MAX {
                return Err(GateRefusal::TooManyOps);
            }
            check_key(self.keys.next_value()?)?;
            let action = self.actions.next_value()?;
            self.check_value(action)?;
            self.check_predecessors(self.start_op + ops)?;
            ops += 1;
        }
        self.check_inserts(ops)?;
        if !self.is_done() {
            return Err(GateRefusal::ColumnsDisagree);
        }
        if self.other_actors > self.predecessors {
            return Err(GateRefusal::ActorTable);
        }
        Ok(ops)
    }

    fn is_done(&self) -> bool {
        self.keys.is_done()
            && self.value_kinds.is_done()
            && self.values.is_empty()
            && self.predecessor_counts.is_done()
            && self.predecessor_actors.is_done()
            && self.predecessor_deltas.is_done()
    }

    fn check_value(&mut self, action: u64) -> Result<(), GateRefusal> {
        let kind = self.value_kinds.next_value()?;
        let length = kind >> VALUE_KIND_BITS;
        if length > VALUE_BYTES_MAX {
            return Err(GateRefusal::Value);
        }
        let bytes = self.values.take(length).map_err(|_| GateRefusal::ColumnsDisagree)?;
        let kind = kind & VALUE_KIND_MASK;
        let is_sound = match action {
            ACTION_PUT => is_scalar(kind, bytes),
            ACTION_DELETE => kind == VALUE_NULL && bytes.is_empty(),
            ACTION_INCREMENT => kind == VALUE_INTEGER && is_scalar(kind, bytes),
            _ => return Err(GateRefusal::Action(action)),
        };
        if is_sound { Ok(()) } else { Err(GateRefusal::Value) }
    }

    /// Checks the predecessors of the operation with this counter.
    fn check_predecessors(&mut self, counter: u64) -> Result<(), GateRefusal> {
        let count = self.predecessor_counts.next_value()?;
        if count > CHANGE_PREDECESSORS_MAX - self.predecessors {
            return Err(GateRefusal::TooManyPredecessors);
        }
        self.predecessors += count;
        for _ in 0..count {
            let actor = self.predecessor_actors.next_value()?;
            let delta = self.predecessor_deltas.next_value()?;
            self.predecessor_counter =
                self.predecessor_counter.checked_add(delta).ok_or(GateRefusal::Predecessor)?;
            let is_earlier =
                u64::try_from(self.predecessor_counter).is_ok_and(|earlier| 0 < earlier && earlier < counter);
            if !is_earlier || actor > self.other_actors {
                return Err(GateRefusal::Predecessor);
            }
        }
        Ok(())
    }

    /// Checks that the insert column is one run of `ops` times false.
    fn check_inserts(&mut self, ops: u64) -> Result<(), GateRefusal> {
        let falses = match self.inserts.is_empty() {
            true if ops == 0 => return Ok(()),
            true => return Err(GateRefusal::ColumnsDisagree),
            false => self.inserts.unsigned()?,
        };
        if !self.inserts.is_empty() {
            return Err(GateRefusal::Insert);
        }
        if falses == ops && ops > 0 { Ok(()) } else { Err(GateRefusal::ColumnsDisagree) }
    }
}

const ACTION_PUT: u64 = 1;
const ACTION_DELETE: u64 = 3;
const ACTION_INCREMENT: u64 = 5;

fn check_key(key: &[u8]) -> Result<(), GateRefusal> {
    let is_sound = !key.is_empty() && key.len() <= KEY_BYTES_MAX && std::str::from_utf8(key).is_ok();
    if is_sound { Ok(()) } else { Err(GateRefusal::Key) }
}

const VALUE_KIND_BITS: u32 = 4;
const VALUE_KIND_MASK: u64 = 0b1111;
const VALUE_NULL: u64 = 0;
const VALUE_FALSE: u64 = 1;
const VALUE_TRUE: u64 = 2;
const VALUE_INTEGER: u64 = 4;
const VALUE_FLOAT: u64 = 5;
const VALUE_TEXT: u64 = 6;
const VALUE_BYTES: u64 = 7;
const VALUE_COUNTER: u64 = 8;
const VALUE_TIMESTAMP: u64 = 9;

fn is_scalar(kind: u64, bytes: &[u8]) -> bool {
    match kind {
        VALUE_NULL | VALUE_FALSE | VALUE_TRUE => bytes.is_empty(),
        VALUE_INTEGER | VALUE_COUNTER | VALUE_TIMESTAMP => {
            let mut reader = Reader(bytes);
            reader.signed().is_ok() && reader.is_empty()
        }
        VALUE_FLOAT => bytes.len() == size_of::<f64>(),
        VALUE_TEXT => std::str::from_utf8(bytes).is_ok(),
        VALUE_BYTES => true,
        _ => false,
    }
}

/// A run-length column, read value by value: `n v` is n times v, `-n v1 .. vn` is n values, `0 n` is n nulls.
struct Runs<'a, V> {
    rest: Reader<'a>,
    left: u64,
    repeated: Option<V>,
}

impl<'a, V: ColumnValue<'a>> Runs<'a, V> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { rest: Reader(bytes), left: 0, repeated: None }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }

    fn next_value(&mut self) -> Result<V, GateRefusal> {
        if self.is_done() {
            return Err(GateRefusal::ColumnsDisagree);
        }
        if self.left == 0 {
            let count = self.rest.signed()?;
            self.left = count.unsigned_abs();
            self.repeated = match count {
                0 => return Err(GateRefusal::Null),
                1.. => Some(V::read(&mut self.rest)?),
                _ => None,
            };
        }
        self.left -= 1;
        match self.repeated {
            Some(value) => Ok(value),
            None => V::read(&mut self.rest),
        }
    }
}

trait ColumnValue<'a>: Copy {
    fn read(reader: &mut Reader<'a>) -> Result<Self, GateRefusal>;
}

impl ColumnValue<'_> for u64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, GateRefusal> {
        reader.unsigned()
    }
}

impl ColumnValue<'_> for i64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, GateRefusal> {
        reader.signed()
    }
}

impl<'a> ColumnValue<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, GateRefusal> {
        let length = reader.unsigned()?;
        reader.take(length)
    }
}

/// The bytes not yet read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Result<u8, GateRefusal> {
        let (&first, rest) = self.0.split_first().ok_or(GateRefusal::Length)?;
        self.0 = rest;
        Ok(first)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], GateRefusal> {
        let length = usize::try_from(length).map_err(|_| GateRefusal::Length)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(GateRefusal::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads an unsigned LEB128 number in its shortest form.
    fn unsigned(&mut self) -> Result<u64, GateRefusal> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if value >> shift != bits {
                return Err(GateRefusal::Encoding);
            }
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest { Ok(value) } else { Err(GateRefusal::Encoding) };
            }
        }
        Err(GateRefusal::Encoding)
    }

    /// Reads a signed LEB128 number in its shortest form.
    fn signed(&mut self) -> Result<i64, GateRefusal> {
        let mut value = 0i128;
        let mut previous = 0u8;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= i128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_negative = byte & 0x40 != 0;
                let repeats_sign = byte == if is_negative { 0x7f } else { 0 };
                if shift > 0 && repeats_sign && (previous & 0x40 != 0) == is_negative {
                    return Err(GateRefusal::Encoding);
                }
                if is_negative {
                    value -= 1 << (shift + 7);
                }
                return i64::try_from(value).map_err(|_| GateRefusal::Encoding);
            }
            previous = byte;
        }
        Err(GateRefusal::Encoding)
    }
}
