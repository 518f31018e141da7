//! What three replicas may do, drawn by chance.

use haversack::{Changes, RecordId, UnixMillis};
use quickcheck::{Arbitrary, Gen};

use super::shape::{day, decimal};

/// One thing one of the replicas does.
#[derive(Clone, Debug)]
pub enum Move {
    /// Creates an activity, with a person of its own when the seed is odd.
    Create {
        /// Which replica.
        who: usize,
        /// What else is chosen.
        seed: u8,
    },
    /// Edits up to two activities it knows, in one change set.
    Edit {
        /// Which replica.
        who: usize,
        /// Which activities, which fields and what values.
        seeds: Vec<(u8, u8, u8)>,
    },
    /// Puts or releases an override mark; only a coordinator may.
    Mark {
        /// Which activity.
        which: u8,
        /// Whether it is released.
        is_released: bool,
    },
    /// Authors a batch of that size without sending it.
    Lease {
        /// Which replica.
        who: usize,
        /// How many change sets at most.
        count: u8,
    },
    /// Sends and fetches.
    Sync {
        /// Which replica.
        who: usize,
        /// What happens on the way.
        how: Way,
    },
    /// Forgets the read position, so that every page comes once more.
    ReadAnew {
        /// Which replica.
        who: usize,
    },
}

/// What happens to the first request of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Well,
    /// Its reply is lost.
    ReplyLost,
    /// It arrives twice.
    Twice,
    /// Its reply is cut in the middle.
    Cut,
}

impl Arbitrary for Move {
    fn arbitrary(g: &mut Gen) -> Self {
        let who = usize::from(u8::arbitrary(g) % 3);
        match u8::arbitrary(g) % 20 {
            0..3 => Self::Create { who, seed: u8::arbitrary(g) },
            3..11 => {
                let count = 1 + usize::from(bool::arbitrary(g));
                Self::Edit { who, seeds: (0..count).map(|_| Arbitrary::arbitrary(g)).collect() }
            }
            11..13 => Self::Mark { which: u8::arbitrary(g), is_released: u8::arbitrary(g).is_multiple_of(3) },
            13 => Self::Lease { who, count: u8::arbitrary(g) % 4 },
            14..19 => Self::Sync { who, how: Way::arbitrary(g) },
            _ => Self::ReadAnew { who },
        }
    }
}

impl Arbitrary for Way {
    fn arbitrary(g: &mut Gen) -> Self {
        *g.choose(&[Self::Well, Self::Well, Self::ReplyLost, Self::Twice, Self::Cut]).expect("not empty")
    }
}

/// Changes of an activity for two seeds, and the step of its counter. A rule of the server refuses some minutes.
pub fn changes_of(kind: u8, value: u8, persons: &[RecordId], activities: &[RecordId]) -> (Changes, i64) {
    let by = if kind.is_multiple_of(4) { i64::from(value % 10) - 4 } else { 0 };
    let changes = others(kind, value, persons, activities);
    (if by == 0 { changes } else { changes.increment("calls", by) }, by)
}

fn others(kind: u8, value: u8, persons: &[RecordId], activities: &[RecordId]) -> Changes {
    let small = i64::from(value % 10);
    let pick = |from: &[RecordId]| usize::from(value) % from.len();
    let changes = Changes::new();
    match kind % 17 {
        0 | 1 => changes.set("minutes", small * 100),
        2 | 3 => changes.set("note", small.to_string()),
        4 | 5 => changes.add("tags", &(small % 3).to_string()),
        6 => changes.remove("tags", &(small % 3).to_string()),
        7 => changes.set("day", day(&format!("2026-02-1{small}"))),
        8 => changes.set("at", UnixMillis(small)).set("share", 0.25 * f64::from(value % 10)),
        9 => changes.set("km", decimal(&format!("{small}.50"))).set("ok", value.is_multiple_of(2)),
        10 => changes.set("raw", vec![value; usize::from(value % 5)]),
        11 if !persons.is_empty() => changes.set("person", persons[pick(persons)]),
        12 => changes.set("previous", activities[pick(activities)]),
        13 => changes.clear("note").clear("person"),
        14 => changes.set("status", if value.is_multiple_of(2) { "open" } else { "done" }),
        _ => changes.set("title", small.to_string()),
    }
}
