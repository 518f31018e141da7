//! References a change set writes must lead somewhere once it is accepted.

use haversack_core::{Reference, Value, Write};
use haversack_protocol::{Code, Hint, Rejection};

use super::decide::{Deciding, Stop, Touched};

impl Deciding<'_, '_> {
    /// Checks every reference written, in fields and in override marks, after all creations of the change set.
    pub(super) fn check_references(&self, touched: &[Touched<'_>]) -> Result<(), Stop> {
        for one in touched {
            for write in &one.writes {
                let (Write::Register { field, value: Some(Value::Reference(reference)) }
                | Write::Mark {
                    field,
                    mark: Some(haversack_core::Mark { value: Some(Value::Reference(reference)), .. }),
                }) = write
                else {
                    continue;
                };
                self.check_reference(touched, one, field, reference)?;
            }
        }
        Ok(())
    }

    fn check_reference(
        &self,
        touched: &[Touched<'_>],
        from: &Touched<'_>,
        field: &str,
        reference: &Reference,
    ) -> Result<(), Stop> {
        let found = match reference {
            Reference::Record(record) => {
                let created = touched.iter().find(|one| one.is_created() && one.id == *record);
                match created {
                    Some(created) => Some(created.collection_name.clone()),
                    None => self.transaction.names(*record)?.map(|(collection, _)| collection),
                }
            }
            Reference::Server(server_id) => self.transaction.collection_of(server_id)?,
        };
        let target = from.collection.field(field).and_then(|field| field.target.as_ref());
        if found.is_some() && found.as_ref() == target {
            return Ok(());
        }
        if let (None, Reference::Record(record)) = (&found, reference)
            && let Some(by) = self.failed.on(*record)
        {
            return Err(Stop::Hint(Hint { by: Some(by), ..self.hint(Code::Blocked, Some(*record)) }));
        }
        let reason = if found.is_some() { "reference.collection" } else { "reference.unknown" };
        let rejection = Rejection::of(Code::ReferenceRejected).at(&from.collection_name, field);
        Err(Stop::Reject(rejection.because(reason)))
    }
}
