//! Assignments are injective and immutable.

use haversack_protocol::{RecordId, ServerId};

/// Why an assignment the server sent is refused; nothing is rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentRefusal {
    /// The record has another server id already.
    #[error("record {record} already has another server id")]
    Reassigned {
        /// The record.
        record: RecordId,
    },
    /// Another record has that server id.
    #[error("the server id meant for record {record} already names record {holder}")]
    Shared {
        /// The record it was meant for.
        record: RecordId,
        /// The record that has it.
        holder: RecordId,
    },
    /// A server id that reads as a record id would make references ambiguous.
    #[error("the server id meant for record {record} reads as a record id")]
    Ambiguous {
        /// The record it was meant for.
        record: RecordId,
    },
}

/// Checks one assignment against what is known of both ids. `Ok(true)` when it is new.
///
/// # Errors
/// [`AssignmentRefusal`] when it would give one record two ids, or two records one.
pub fn check_assignment(
    record: RecordId,
    server_id: &ServerId,
    known_id: Option<&ServerId>,
    holder: Option<RecordId>,
) -> Result<bool, AssignmentRefusal> {
    if server_id.as_str().parse::<RecordId>().is_ok() {
        return Err(AssignmentRefusal::Ambiguous { record });
    }
    match (known_id, holder) {
        (Some(known), _) if known != server_id => Err(AssignmentRefusal::Reassigned { record }),
        (_, Some(holder)) if holder != record => Err(AssignmentRefusal::Shared { record, holder }),
        (known, _) => Ok(known.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_assignment_is_refused_and_a_repeated_one_is_not_new() {
        let [a, b] = [1, 2].map(|n| RecordId::from_bytes([n; 16]));
        let [x, y] = ["X-1", "Y-1"].map(|id| ServerId::new(id).expect("plain"));
        assert_eq!(check_assignment(a, &x, None, None), Ok(true));
        assert_eq!(check_assignment(a, &x, Some(&x), Some(a)), Ok(false));
        assert!(matches!(check_assignment(a, &y, Some(&x), None), Err(AssignmentRefusal::Reassigned { .. })));
        assert!(matches!(check_assignment(b, &x, None, Some(a)), Err(AssignmentRefusal::Shared { .. })));
        let uuid = ServerId::new(a.to_string()).expect("plain characters");
        assert!(matches!(check_assignment(b, &uuid, None, None), Err(AssignmentRefusal::Ambiguous { .. })));
    }
}
