//! Haversack decides here: what an edit means, what is admitted, what a refusal takes along, when to send.
//!
//! Pure: no SQL, no network, no clock, no threads; given the same input it gives the same answer on a phone and on the
//! server. Serves the promises of `docs/GUARANTEES.md` about merging, rollback, references and hostile input.

mod admission;
mod canonical;
mod conflict;
mod erased;
mod history;
pub mod id_map;
mod keeping;
pub mod outbox;
mod override_mark;
mod reason;
mod record;
mod rules;
pub mod sync;

pub use admission::{
    AdmissionRefusal, Admitted, Author, ChunkHeader, GateRefusal, Write, admit, admit_from_server, inspect,
};
pub use canonical::{StateDigest, canonical_record, shows_temporary_id};
pub use erased::erased_name;
pub use history::{Origin, PastWrite, Standing, history};
pub use keeping::is_past_keeping;
pub use override_mark::Mark;
pub use record::{
    Authored, Candidate, ChangeSet, Document, DocumentRefusal, EditRefusal, Intent, Key, Part, Planted,
    Reference, Root, Row, RowRefusal, TypeRefusal, Value, ValueRefusal, check_value, difference, overlay,
    passed_over, project, read_as, value_from_json, value_to_json, written_by,
};
pub use rules::{Check, Evaluated, Rule, Rules, RulesRefusal};
