//! What a folder holds and what to do about it, told without changing anything: whatever is read is read from a copy.

use std::path::Path;

use haversack_protocol::StoreId;

use super::damaged_copy::DamagedCopy;
use super::survey::{Survey, survey};
use super::{Tally, read};
use crate::files::StoreFiles;
use crate::lock::StoreLock;
use crate::open::{Plan, keys_of, look};
use crate::{KeyProvider, StoreError};

/// Which row of the opening table applies.
#[derive(Debug)]
#[non_exhaustive]
pub enum Condition {
    /// There never was a store.
    Empty,
    /// The making of a store was interrupted; it holds no work.
    Unfinished,
    /// It opens, and every page is sound.
    Whole,
    /// Pages are damaged, or rows do not read.
    Damaged,
    /// Opening is refused, and why.
    Refused(StoreError),
}

impl Condition {
    /// A word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unfinished => "unfinished",
            Self::Whole => "whole",
            Self::Damaged => "damaged",
            Self::Refused(_) => "refused",
        }
    }
}

/// What a folder holds. Ids and counts, never values.
#[derive(Debug)]
pub struct Examination {
    /// Which store it is, as far as anything says.
    pub store_id: Option<StoreId>,
    /// Which row of the opening table applies.
    pub condition: Condition,
    /// What the checks of its pages found, a sentence each.
    pub findings: Vec<String>,
    /// Entries of the outbox, if any of it could be read.
    pub entries: Option<Tally>,
    /// Confirmed documents, if any of them could be read.
    pub documents: Option<Tally>,
    /// Its numbers and settings, if any of it could be read.
    pub survey: Option<Survey>,
}

impl Examination {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match &self.condition {
            Condition::Empty => "nothing is here; opening makes a new store",
            Condition::Unfinished => {
                "open it: its making was interrupted before it held work, and opening finishes it"
            }
            Condition::Whole => "nothing; it is sound",
            Condition::Damaged if self.entries.is_some() => {
                "keep this folder as it is, salvage it into a new one, and sync that"
            }
            Condition::Damaged => {
                "keep this folder as it is; nothing can be read of it, look for an older copy"
            }
            Condition::Refused(error) => advice_on(error),
        }
    }
}

fn advice_on(error: &StoreError) -> &'static str {
    match error {
        StoreError::StoreMissing => {
            "put the database back; if it is gone for good, set the rest aside and begin anew"
        }
        StoreError::KeyMissing => "find the key, or open the recovery slot; never begin anew before that",
        StoreError::KeyTemporarilyUnavailable => "unlock the device or start its key store, and try again",
        StoreError::NoKeyStore => "start the key store of this machine, or hand the key in",
        StoreError::KeyUnusable => "open the recovery slot, which brings the key back",
        StoreError::WrongKey => "bring the key of this store, or open the recovery slot",
        StoreError::SidecarUnreadable => "put the sidecar back, or hand the key in: it is then written anew",
        StoreError::MixedFiles => "put the files of one store together again",
        StoreError::NotEncrypted | StoreError::NotAStore => "take the foreign file away; it is not ours",
        StoreError::SchemaTooNew { .. } => "open it with the newer version that wrote it",
        StoreError::AlreadyOpen | StoreError::Busy => "close the app that has it open, and ask again",
        StoreError::DiskFull => "make room on the disk, and ask again",
        StoreError::ReadOnly | StoreError::NoAccess => {
            "give access to the folder and its files, and ask again"
        }
        StoreError::Corrupt => "keep this folder as it is, salvage it into a new one, and sync that",
        _ => "keep this folder as it is, and try again",
    }
}

/// Looks what a folder holds and which row of the opening table applies. Opens nothing for writing and changes nothing;
/// reads from a copy in the system's temporary folder.
pub fn examine(folder: &Path, keys: &dyn KeyProvider) -> Examination {
    let mut examination = Examination {
        store_id: None,
        condition: Condition::Empty,
        findings: vec![],
        entries: None,
        documents: None,
        survey: None,
    };
    if let Err(error) = look_into(folder, keys, &mut examination) {
        examination.condition = match error {
            StoreError::Corrupt => Condition::Damaged,
            error => Condition::Refused(error),
        };
    }
    examination
}

fn look_into(folder: &Path, keys: &dyn KeyProvider, told: &mut Examination) -> Result<(), StoreError> {
    let files = StoreFiles::in_folder(folder);
    let _lock = StoreLock::acquire_if_there(&files.lock())?;
    let plan = look(&files)?;
    let sidecar = match plan {
        Plan::Create(None) => return Ok(()),
        Plan::Create(Some(sidecar)) => {
            (told.store_id, told.condition) = (Some(sidecar.store_id), Condition::Unfinished);
            return Ok(());
        }
        Plan::Open(sidecar) => Some(sidecar),
        Plan::Identify => None,
    };
    told.store_id = sidecar.as_ref().map(|sidecar| sidecar.store_id);
    let candidates = keys_of(&files, keys)?;
    let mut copy = DamagedCopy::make(&files, candidates, &std::env::temp_dir())?;
    let named = copy.store_id();
    if let (Some(named), Some(expected)) = (named, told.store_id)
        && named != expected
    {
        return Err(StoreError::MixedFiles);
    }
    told.store_id = told.store_id.or(named);
    told.findings = copy.findings()?;
    let (found, entries) = read::entries(&mut copy);
    let numbers = read::document_numbers(&mut copy);
    let mut documents = Tally { kept: 0, lost: numbers.lost };
    for number in numbers.found {
        read::document(&mut copy, number, &mut documents);
    }
    (told.entries, told.documents) = (Some(entries), Some(documents));
    told.survey = Some(survey(&mut copy, &found));
    let is_whole = told.findings.is_empty() && entries.lost == 0 && documents.lost == 0;
    told.condition = if is_whole { Condition::Whole } else { Condition::Damaged };
    Ok(())
}
