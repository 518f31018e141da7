//! An organisation's rules: data, evaluated the same on both sides; the server decides.

use std::collections::BTreeMap;

use haversack_protocol::limits::{JSON_DEPTH_MAX, SCHEMA_BYTES_MAX};
use haversack_protocol::{Code, Rejection, Role, Schema, json_depth};
use serde::{Deserialize, Serialize};

use crate::admission::Write;
use crate::record::{Row, Value};

/// What a rule demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// The field shows a value.
    Required {
        /// Field.
        field: String,
    },
    /// A number lies within bounds.
    Range {
        /// Field.
        field: String,
        /// Smallest allowed.
        #[serde(default)]
        min: Option<f64>,
        /// Greatest allowed.
        #[serde(default)]
        max: Option<f64>,
    },
    /// A text is one of these.
    OneOf {
        /// Field.
        field: String,
        /// Allowed texts.
        values: Vec<String>,
    },
    /// A text moves only along these steps; writing the state it has is always allowed.
    States {
        /// Field.
        field: String,
        /// From each state, the states it may move to.
        from: BTreeMap<String, Vec<String>>,
    },
    /// Only these roles write the field.
    Write {
        /// Field.
        field: String,
        /// Roles.
        roles: Vec<Role>,
    },
    /// Only these roles put or release override marks.
    Override {
        /// Field; every field of the collection when absent.
        #[serde(default)]
        field: Option<String>,
        /// Roles.
        roles: Vec<Role>,
    },
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name, given back with a refusal.
    pub name: String,
    /// Collection it is about.
    pub collection: String,
    /// What it demands.
    pub check: Check,
    /// Key of the message an app shows.
    #[serde(default)]
    pub message_key: Option<String>,
}

/// A rules file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Rises with every change of the file.
    #[serde(default)]
    pub version: u32,
    /// The rules, in the order they are evaluated.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Why a rules file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesRefusal {
    /// Not JSON of the documented form.
    #[error("rules are not valid JSON of the documented form: {0}")]
    Json(#[from] serde_json::Error),
    /// Too large or nested too deep.
    #[error("rules are larger than {SCHEMA_BYTES_MAX} bytes or nested deeper than {JSON_DEPTH_MAX} levels")]
    TooLarge,
    /// A rule about something the schema does not have.
    #[error("rule {rule:?}: the schema has no {collection}.{field}")]
    Unknown {
        /// The rule.
        rule: String,
        /// Collection.
        collection: String,
        /// Field.
        field: String,
    },
}

impl Check {
    /// The field it is about; `None` for all of the collection.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Required { field }
            | Self::Range { field, .. }
            | Self::OneOf { field, .. }
            | Self::States { field, .. }
            | Self::Write { field, .. } => Some(field),
            Self::Override { field, .. } => field.as_deref(),
        }
    }
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// What a rule is evaluated on: one record before and after a change set.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated<'a> {
    /// Collection of the record.
    pub collection: &'a str,
    /// Its row before; `None` for a creation.
    pub before: Option<&'a Row>,
    /// Its row after.
    pub after: &'a Row,
    /// What was written.
    pub writes: &'a [Write],
    /// Role of the author.
    pub role: Role,
}

impl Rules {
    /// Reads and checks a rules file against the schema.
    ///
    /// # Errors
    /// [`RulesRefusal`] naming the rule.
    pub fn from_json(text: &str, schema: &Schema) -> Result<Self, RulesRefusal> {
        if text.len() > SCHEMA_BYTES_MAX || json_depth(text) > JSON_DEPTH_MAX {
            return Err(RulesRefusal::TooLarge);
        }
        let rules: Self = serde_json::from_str(text)?;
        for rule in &rules.rules {
            let collection = schema.collection(&rule.collection);
            let field = rule.check.field();
            let is_known =
                collection.is_some_and(|known| field.is_none_or(|field| known.field(field).is_some()));
            if !is_known {
                return Err(RulesRefusal::Unknown {
                    rule: rule.name.clone(),
                    collection: rule.collection.clone(),
                    field: field.unwrap_or_default().to_owned(),
                });
            }
        }
        Ok(rules)
    }

    /// Evaluates every rule on one record of a change set.
    ///
    /// A rule about a value judges the record's own values, and only when the change set wrote that field or created
    /// the record: nobody is refused for what somebody else wrote.
    ///
    /// # Errors
    /// The [`Rejection`] of the first rule that does not hold.
    pub fn evaluate(&self, given: Evaluated<'_>) -> Result<(), Rejection> {
        let of_collection = self.rules.iter().filter(|rule| rule.collection == given.collection);
        for rule in of_collection {
            if !rule.check.holds(given) {
                let mut rejection = Rejection::of(Code::Rule);
                if let Some(field) = rule.check.field() {
                    rejection = rejection.at(given.collection, field);
                }
                rejection.rule = Some(rule.name.clone());
                rejection.message_key.clone_from(&rule.message_key);
                return Err(rejection);
            }
        }
        Ok(())
    }
}

impl Check {
    fn holds(&self, given: Evaluated<'_>) -> bool {
        let value = |field: &str| given.after.fields.get(field);
        match self {
            Self::Required { field } => !given.wrote(field) || value(field).is_some(),
            Self::Range { field, min, max } => {
                let number = value(field).filter(|_| given.wrote(field)).and_then(Value::as_number);
                number.is_none_or(|n| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max))
            }
            Self::OneOf { field, values } => {
                let text = value(field).filter(|_| given.wrote(field)).and_then(as_text);
                text.is_none_or(|text| values.iter().any(|allowed| allowed == text))
            }
            Self::States { field, from } => given.moves_along(field, from),
            Self::Write { field, roles } => {
                let written =
                    given.writes.iter().any(|write| write.field() == Some(field) && !write.is_mark());
                !written || roles.contains(&given.role)
            }
            Self::Override { field, roles } => {
                let is_meant = |write: &&Write| {
                    write.is_mark() && field.as_deref().is_none_or(|field| write.field() == Some(field))
                };
                !given.writes.iter().any(|write| is_meant(&write)) || roles.contains(&given.role)
            }
        }
    }
}

impl Write {
    fn is_mark(&self) -> bool {
        matches!(self, Self::Mark { .. })
    }
}

impl Evaluated<'_> {
    fn wrote(&self, field: &str) -> bool {
        self.before.is_none()
            || self.writes.iter().any(|write| write.field() == Some(field) && !write.is_mark())
    }

    /// A move is judged from what the record showed before to what the author wrote.
    fn moves_along(&self, field: &str, from: &BTreeMap<String, Vec<String>>) -> bool {
        let before = self.before.and_then(|row| row.fields.get(field)).and_then(as_text);
        let written = self.writes.iter().rev().find_map(|write| match write {
            Write::Register { field: name, value } if name == field => Some(value.as_ref().and_then(as_text)),
            _ => None,
        });
        match (before, written) {
            (Some(before), Some(Some(to))) if before != to => {
                from.get(before).is_none_or(|allowed| allowed.iter().any(|state| state == to))
            }
            (Some(before), Some(None)) => !from.contains_key(before),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, minutes: i64) -> Row {
        let fields =
            [("status".into(), Value::Text(state.to_owned())), ("minutes".into(), Value::Integer(minutes))];
        Row { fields: fields.into(), ..Row::default() }
    }

    fn wrote(field: &str, value: Value) -> Vec<Write> {
        vec![Write::Register { field: field.to_owned(), value: Some(value) }]
    }

    fn rules(check: Check) -> Rules {
        let rule = Rule { name: "r".into(), collection: "activity".into(), check, message_key: None };
        Rules { version: 1, rules: vec![rule] }
    }

    fn evaluate(check: Check, before: Option<&Row>, after: &Row, writes: &[Write], role: Role) -> bool {
        let given = Evaluated { collection: "activity", before, after, writes, role };
        rules(check).evaluate(given).is_ok()
    }

    #[test]
    fn nobody_is_refused_for_what_somebody_else_wrote() {
        let check = || Check::Range { field: "minutes".into(), min: None, max: Some(720.0) };
        let after = row("registered", 900);
        let other = wrote("status", Value::Text("registered".into()));
        assert!(evaluate(check(), Some(&after), &after, &other, Role::Mentor));
        let same = wrote("minutes", Value::Integer(900));
        assert!(!evaluate(check(), Some(&after), &after, &same, Role::Mentor));
        assert!(!evaluate(check(), None, &after, &[], Role::Mentor));
    }

    #[test]
    fn a_range_holds_every_kind_of_number_and_the_sum_of_a_counter() {
        let check = || Check::Range { field: "minutes".into(), min: Some(1.0), max: Some(10.0) };
        let is_within = |value: Value| {
            let after = Row { fields: [("minutes".into(), value)].into(), ..Row::default() };
            evaluate(check(), None, &after, &[], Role::Mentor)
        };
        for within in [Value::Integer(10), Value::Float(1.0), Value::Decimal("9.9".into()), Value::Counter(2)]
        {
            assert!(is_within(within.clone()), "{within:?}");
        }
        for beyond in
            [Value::Integer(11), Value::Float(0.9), Value::Decimal("10.1".into()), Value::Counter(11)]
        {
            assert!(!is_within(beyond.clone()), "{beyond:?}");
        }
    }

    #[test]
    fn states_move_only_along_their_steps() {
        let check = || Check::States {
            field: "status".into(),
            from: [("registered".into(), vec!["reported".into()]), ("approved".into(), vec![])].into(),
        };
        let step = |from: &str, to: &str| {
            let writes = wrote("status", Value::Text(to.into()));
            evaluate(check(), Some(&row(from, 1)), &row(to, 1), &writes, Role::Mentor)
        };
        assert!(step("registered", "reported"));
        assert!(step("approved", "approved"));
        assert!(!step("approved", "registered"));
        assert!(!step("registered", "approved"));
    }

    #[test]
    fn marks_and_fields_are_for_the_named_roles() {
        let check = || Check::Override { field: None, roles: vec![Role::Coordinator] };
        let mark = [Write::Mark { field: "minutes".into(), mark: None }];
        let same = row("registered", 1);
        assert!(!evaluate(check(), Some(&same), &same, &mark, Role::Mentor));
        assert!(evaluate(check(), Some(&same), &same, &mark, Role::Coordinator));
        let check = Check::Write { field: "minutes".into(), roles: vec![Role::Coordinator] };
        assert!(
            evaluate(check, Some(&same), &same, &mark, Role::Mentor),
            "a mark is not a write of the field"
        );
    }
}
