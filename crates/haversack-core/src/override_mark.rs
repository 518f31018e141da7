//! The override mark: a coordinator's statement that a field shows a value until released.
//!
//! Kept in a register of its own (`o:<field>`), so nothing beneath is lost: the effective value is the mark's where there
//! is one, else the field's own. Both converge as ordinary registers, hence so does what is shown.

use automerge::ScalarValue;
use haversack_protocol::limits::REASON_BYTES_MAX;
use haversack_protocol::{FieldSchema, PrincipalId, Role, UnixMillis};

use crate::record::{Value, ValueRefusal, check_value};

/// Format byte a mark begins with.
const MARK_FORMAT: u8 = 1;

/// What a coordinator states about a field.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Mark {
    /// The value shown; `None` shows the field empty.
    #[n(0)]
    pub value: Option<Value>,
    /// Who states it.
    #[n(1)]
    pub by: PrincipalId,
    /// In which role.
    #[n(2)]
    pub role: Role,
    /// When, by the author's clock; for display only.
    #[n(3)]
    pub at: UnixMillis,
    /// Why, as the author wrote it.
    #[n(4)]
    pub reason: String,
}

impl Mark {
    /// Checks the mark against its field.
    ///
    /// # Errors
    /// [`ValueRefusal`] for a value the field could not hold, or a reason that is too long or holds NUL.
    pub fn check(&self, field: &FieldSchema) -> Result<(), ValueRefusal> {
        if self.reason.len() > REASON_BYTES_MAX {
            return Err(ValueRefusal::TooLong { max: REASON_BYTES_MAX });
        }
        if self.reason.contains('\0') {
            return Err(ValueRefusal::Nul);
        }
        if !field.kind.is_register() {
            return Err(ValueRefusal::Kind { expected: field.kind });
        }
        self.value.as_ref().map_or(Ok(()), |value| check_value(field, value))
    }

    pub(crate) fn to_scalar(&self) -> ScalarValue {
        let mut bytes = vec![MARK_FORMAT];
        bytes.extend(minicbor::to_vec(self).expect("writing to a vector cannot fail"));
        ScalarValue::Bytes(bytes)
    }

    pub(crate) fn from_scalar(scalar: &ScalarValue) -> Option<Self> {
        let ScalarValue::Bytes(bytes) = scalar else { return None };
        let (&format, body) = bytes.split_first()?;
        let mut decoder = minicbor::Decoder::new(body);
        let mark: Self = (format == MARK_FORMAT).then(|| decoder.decode().ok())??;
        let is_whole = decoder.position() == body.len();
        let is_well_formed = mark.value.as_ref().is_none_or(Value::is_well_formed);
        (is_whole && is_well_formed).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_the_document_and_refuses_other_bytes() {
        let mark = Mark {
            value: Some(Value::Text("rettet".into())),
            by: PrincipalId::new("kari").expect("plain"),
            role: Role::Coordinator,
            at: UnixMillis(7),
            reason: "dobbeltført".into(),
        };
        let scalar = mark.to_scalar();
        assert_eq!(Mark::from_scalar(&scalar), Some(mark));
        let ScalarValue::Bytes(mut bytes) = scalar else { panic!("marks are bytes") };
        bytes.push(0);
        assert_eq!(Mark::from_scalar(&ScalarValue::Bytes(bytes)), None);
        assert_eq!(Mark::from_scalar(&ScalarValue::Bytes(vec![])), None);
    }
}
