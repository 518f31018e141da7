//! The edits people make in a simulation, drawn from chance.

use haversack_core::{ChangeSet, Intent, Mark, Part, Reference, Value};
use haversack_protocol::{ChangeSetId, PrincipalId, RecordId, Role, UnixMillis};

use super::chance::Chance;
use super::script::Act;

/// What an edit is drawn from.
pub(crate) struct Drawing<'a> {
    pub(crate) chance: &'a mut Chance,
    /// Who makes it, in what role, when.
    pub(crate) by: (&'a PrincipalId, Role, UnixMillis),
    /// Records that are here.
    pub(crate) known: &'a [(RecordId, &'static str)],
    pub(crate) breaks_rules: bool,
}

impl Drawing<'_> {
    /// The change set of an act; nothing when there is no record for it.
    pub(crate) fn draw(&mut self, act: Act) -> Option<ChangeSet> {
        let parts = match act {
            Act::Create => self.creation(),
            Act::Together => {
                let (one, other) = (self.activity()?, self.activity()?);
                let mut parts = vec![self.part(one, vec![])];
                if other != one {
                    parts.push(self.part(other, vec![]));
                }
                for part in &mut parts {
                    part.intents = vec![self.count(), self.note()];
                }
                parts
            }
            act => {
                let record = self.activity()?;
                let intents = self.intents(act)?;
                vec![self.part(record, intents)]
            }
        };
        let id = ChangeSetId::from_bytes(self.chance.id());
        Some(ChangeSet { id, at: self.by.2, schema_version: 1, after: vec![], parts })
    }

    fn intents(&mut self, act: Act) -> Option<Vec<Intent>> {
        Some(match act {
            Act::Edit => vec![self.value()],
            Act::Count => vec![self.count()],
            Act::Member => vec![self.member()],
            Act::Refer => vec![self.reference()?],
            Act::Delete => vec![Intent::Delete],
            Act::Restore => vec![Intent::Restore],
            Act::Override => {
                let (by, role, at) = (self.by.0.clone(), self.by.1, self.by.2);
                let value = Some(self.words());
                let mark = Mark { value, by, role, at, reason: "heard it on the phone".to_owned() };
                vec![Intent::Override { field: "note".to_owned(), mark }]
            }
            Act::Release => vec![Intent::Release { field: "note".to_owned() }],
            _ => return None,
        })
    }

    fn activity(&mut self) -> Option<RecordId> {
        self.of("activity")
    }

    fn of(&mut self, collection: &str) -> Option<RecordId> {
        let of: Vec<_> = self.known.iter().filter(|(_, name)| *name == collection).collect();
        // Few records are edited much: half of the time it is one of the first three.
        let end = if self.chance.one_in(2) { of.len().min(3) } else { of.len() };
        (!of.is_empty()).then(|| of[self.chance.below(end)].0)
    }

    fn part(&self, record: RecordId, intents: Vec<Intent>) -> Part {
        Part { record, collection: "activity".to_owned(), creates: false, intents }
    }

    /// An activity; sometimes with its person, that one with a team; sometimes an urgent alarm alone.
    fn creation(&mut self) -> Vec<Part> {
        let mut created = vec![];
        if self.chance.one_in(6) {
            created.push(self.created("alarm", vec![set("what", text("fire"))]));
            return created;
        }
        let mut intents = vec![set("title", text("walk")), self.note()];
        if self.chance.one_in(2) {
            let mut person = vec![set("name", text("Kari"))];
            if self.chance.one_in(2) {
                // A rule knows two teams.
                let is_bad = self.breaks_rules && self.chance.one_in(4);
                let team =
                    self.created("team", vec![set("name", text(if is_bad { "Nobody" } else { "North" }))]);
                person.push(set("team", Value::Reference(Reference::Record(team.record))));
                created.push(team);
            }
            let person = self.created("person", person);
            intents.push(set("person", Value::Reference(Reference::Record(person.record))));
            created.push(person);
        } else if let Some(person) = self.of("person") {
            intents.push(set("person", Value::Reference(Reference::Record(person))));
        }
        if self.breaks_rules && self.chance.one_in(5) {
            intents.push(set("minutes", Value::Integer(900)));
        }
        created.push(self.created("activity", intents));
        created
    }

    fn created(&mut self, collection: &str, intents: Vec<Intent>) -> Part {
        let record = RecordId::from_bytes(self.chance.id());
        Part { record, collection: collection.to_owned(), creates: true, intents }
    }

    fn words(&mut self) -> Value {
        text(&format!("{:016x}", self.chance.next()))
    }

    fn note(&mut self) -> Intent {
        let words = self.words();
        set("note", words)
    }

    fn count(&mut self) -> Intent {
        let by = i64::try_from(self.chance.below(9)).expect("small") - 3;
        Intent::Increment { field: "calls".to_owned(), by: if by == 0 { 7 } else { by } }
    }

    fn member(&mut self) -> Intent {
        let (field, element) = ("tags".to_owned(), format!("tag {}", self.chance.below(4)));
        if self.chance.one_in(3) { Intent::Remove { field, element } } else { Intent::Add { field, element } }
    }

    fn reference(&mut self) -> Option<Intent> {
        let (field, collection) =
            if self.chance.one_in(2) { ("person", "person") } else { ("previous", "activity") };
        if self.chance.one_in(6) {
            return Some(Intent::Clear { field: field.to_owned() });
        }
        let target = self.of(collection)?;
        Some(set(field, Value::Reference(Reference::Record(target))))
    }

    fn value(&mut self) -> Intent {
        let small = i64::try_from(self.chance.below(9)).expect("small");
        match self.chance.below(10) {
            0..5 => self.note(),
            5 => {
                let is_bad = self.breaks_rules && self.chance.one_in(2);
                set("minutes", Value::Integer(if is_bad { 800 + small } else { 60 + small }))
            }
            6 => set("title", text(&format!("walk {small}"))),
            7 => set("km", Value::Decimal(format!("{small}.50"))),
            8 => set("day", Value::Date(format!("2026-02-1{small}"))),
            _ => Intent::Clear { field: "note".to_owned() },
        }
    }
}

/// The same edit under another id, with values that no rule refuses.
pub(crate) fn corrected(change_set: ChangeSet, id: ChangeSetId, at: UnixMillis) -> ChangeSet {
    let mut corrected = ChangeSet { id, at, after: vec![], ..change_set };
    for intent in corrected.parts.iter_mut().flat_map(|part| &mut part.intents) {
        if let Intent::Set { field, value } = intent {
            match (field.as_str(), &value) {
                ("minutes", _) => *value = Value::Integer(60),
                ("name", Value::Text(name)) if name == "Nobody" => *value = text("South"),
                _ => {}
            }
        }
    }
    corrected
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn set(field: &str, value: Value) -> Intent {
    Intent::Set { field: field.to_owned(), value }
}
