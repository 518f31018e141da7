//! Concurrent values of one key: which is shown, which are kept beneath.
//!
//! The winner is Automerge's: highest operation counter, then actor bytes. One rule is added: a server's rewrite of a
//! temporary id ranks as the write it rewrote, so that it never beats a user's concurrent choice.

use std::collections::BTreeSet;

use automerge::{ActorId, Automerge, ObjId, ROOT, ReadDoc, ScalarValue};
use haversack_protocol::{ChangeHash, DeviceId};

use crate::record::document::hash_out;

/// Length of a rewrite's actor: 0x00, the counter it stands for, the 12-byte actor it stands for.
pub(crate) const REWRITE_ACTOR_BYTES: usize = 17;

/// Order among concurrent values: operation counter, then actor bytes.
pub(crate) type Rank = (u64, Vec<u8>);

/// One of the concurrent values of a key.
#[derive(Clone, Debug)]
pub(crate) struct Concurrent {
    pub(crate) value: ScalarValue,
    pub(crate) operation: ObjId,
    pub(crate) change: ChangeHash,
    pub(crate) rank: Rank,
    is_rewrite: bool,
}

impl Concurrent {
    /// The device whose user chose the value.
    pub(crate) fn device(&self) -> DeviceId {
        device_of(&self.rank.1)
    }
}

fn device_of(actor: &[u8]) -> DeviceId {
    let mut bytes = [0u8; 8];
    let given = &actor[..actor.len().min(8)];
    bytes[..given.len()].copy_from_slice(given);
    DeviceId::from_bytes(bytes)
}

/// The device whose user chose what an operation wrote, and whether it is the server's rewrite of that choice.
pub(crate) fn author_of(counter: u64, actor: &[u8]) -> (DeviceId, bool) {
    let ((_, chosen_by), is_rewrite) = rank_of(counter, actor);
    (device_of(&chosen_by), is_rewrite)
}

/// Actor of the server's rewrite of the write (`counter`, `actor`).
pub(crate) fn rewrite_actor(counter: u64, actor: &[u8]) -> ActorId {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(counter).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(actor);
    ActorId::from(bytes)
}

fn rank_of(counter: u64, actor: &[u8]) -> (Rank, bool) {
    match actor {
        [0, c0, c1, c2, c3, original @ ..] if actor.len() == REWRITE_ACTOR_BYTES => {
            let counter = u32::from_be_bytes([*c0, *c1, *c2, *c3]);
            ((u64::from(counter), original.to_vec()), true)
        }
        _ => ((counter, actor.to_vec()), false),
    }
}

/// Every concurrent value of a key, the shown one first. Rewrites of a value that its user has replaced are left out.
pub(crate) fn concurrent(document: &Automerge, key: &str) -> Vec<Concurrent> {
    let all = document.get_all(ROOT, key).unwrap_or_default();
    let mut values: Vec<_> = all
        .into_iter()
        .filter_map(|(value, operation)| {
            let ObjId::Id(counter, actor, _) = &operation else { return None };
            let (rank, is_rewrite) = rank_of(*counter, actor.to_bytes());
            let change = hash_out(document.hash_for_opid(&operation)?);
            Some(Concurrent { value: value.as_scalar()?.clone(), operation, change, rank, is_rewrite })
        })
        .collect();
    values.sort_by(|a, b| b.rank.cmp(&a.rank));
    if values.len() > 1 && values.iter().any(|value| value.is_rewrite) {
        hide_replaced_rewrites(document, &mut values);
    }
    values
}

fn hide_replaced_rewrites(document: &Automerge, values: &mut Vec<Concurrent>) {
    let deps = |hash: &ChangeHash| -> Vec<ChangeHash> {
        document
            .get_change_meta_by_hash(&crate::record::document::hash_in(hash))
            .map(|change| change.deps.iter().copied().map(hash_out).collect())
            .unwrap_or_default()
    };
    let replaced: BTreeSet<_> = values
        .iter()
        .filter(|rewrite| rewrite.is_rewrite)
        .filter(|rewrite| {
            let originals: BTreeSet<_> = deps(&rewrite.change).into_iter().collect();
            let others = values.iter().filter(|other| other.change != rewrite.change);
            others
                .filter(|other| !other.is_rewrite)
                .any(|other| is_ancestor(&originals, deps(&other.change), deps))
        })
        .map(|rewrite| rewrite.change)
        .collect();
    values.retain(|value| !replaced.contains(&value.change));
}

/// Says whether one of `wanted` is among `from` and their ancestors. Linear in the history of the record.
fn is_ancestor(
    wanted: &BTreeSet<ChangeHash>,
    from: Vec<ChangeHash>,
    deps: impl Fn(&ChangeHash) -> Vec<ChangeHash>,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = from;
    while let Some(hash) = open.pop() {
        if wanted.contains(&hash) {
            return true;
        }
        if seen.insert(hash) {
            open.extend(deps(&hash));
        }
    }
    false
}
