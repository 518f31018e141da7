//! The schema: collections, fields and their kinds, the same file on both sides.
//!
//! Holds names and limits only; checking a value against a field is core's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::FieldName;
use crate::limits::{COLLECTIONS_MAX, FIELDS_MAX, JSON_DEPTH_MAX, KEY_BYTES_MAX, SCHEMA_BYTES_MAX};

/// What a principal may do in a tenant.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Role {
    /// Registers activities; never writes override marks.
    #[n(0)]
    Mentor,
    /// Corrects and reports; writes and releases override marks.
    #[n(1)]
    Coordinator,
    /// Manages users, devices and policy.
    #[n(2)]
    Administrator,
}

/// What a field holds and how concurrent edits of it merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Unicode text; last writer wins.
    Text,
    /// 64-bit signed integer; last writer wins.
    Integer,
    /// Finite 64-bit float; last writer wins.
    Float,
    /// True or false; last writer wins.
    Boolean,
    /// Instant in UTC milliseconds; last writer wins.
    Instant,
    /// Calendar day without a zone; last writer wins.
    Date,
    /// Decimal number kept digit for digit; last writer wins.
    Decimal,
    /// Raw bytes; last writer wins.
    Bytes,
    /// Another record; last writer wins.
    Reference,
    /// Number that only moves by steps; concurrent steps add up.
    Counter,
    /// Set of short texts; per element, an add beats a concurrent remove.
    Set,
}

impl FieldKind {
    /// Says whether the field is a last-writer-wins register (everything but counters and sets).
    pub const fn is_register(self) -> bool {
        !matches!(self, Self::Counter | Self::Set)
    }

    /// Says whether the field is a register that holds a number.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Decimal)
    }

    /// Prefix of the field's keys in a record document.
    pub const fn key_prefix(self) -> &'static str {
        match self {
            Self::Counter => "n:",
            Self::Set => "s:",
            _ => "f:",
        }
    }
}

/// One field of a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSchema {
    /// What the field holds.
    pub kind: FieldKind,
    /// The record cannot be created without it, nor can it be cleared.
    #[serde(default)]
    pub required: bool,
    /// Can be filtered and sorted by; costs an index.
    #[serde(default)]
    pub indexed: bool,
    /// Its words can be searched for; costs an index of words, several times the writing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub searched: bool,
    /// Greatest size of a text or bytes value, in bytes.
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// The only texts allowed, when not empty.
    #[serde(default)]
    pub one_of: Vec<String>,
    /// Smallest number allowed.
    #[serde(default)]
    pub min: Option<f64>,
    /// Greatest number allowed.
    #[serde(default)]
    pub max: Option<f64>,
    /// Collection a reference points into.
    #[serde(default)]
    pub target: Option<String>,
    /// Personal data: never indexed, never printed unless asked for.
    #[serde(default)]
    pub sensitive: bool,
    /// Roles that may write the field; empty means everyone who may write the collection.
    #[serde(default)]
    pub write: Vec<Role>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(truth: &bool) -> bool {
    !truth
}

/// One collection of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionSchema {
    /// Fields by name.
    pub fields: BTreeMap<FieldName, FieldSchema>,
    /// What the server's own ids begin with; the upper-cased collection name when absent.
    #[serde(default)]
    pub server_id_prefix: Option<String>,
    /// Change sets that create a record here overtake those of lower priority in the outbox.
    #[serde(default)]
    pub send_priority: u8,
    /// Days after their last edit that devices keep settled records; the server keeps them on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// Roles that may write; empty means everyone.
    #[serde(default)]
    pub write: Vec<Role>,
    /// Roles that may write and release override marks.
    #[serde(default = "coordinators")]
    pub overrides: Vec<Role>,
}

fn coordinators() -> Vec<Role> {
    vec![Role::Coordinator]
}

/// Everything both sides know about the shape of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Rises with every change of the file.
    pub version: u32,
    /// Collections by name.
    pub collections: BTreeMap<String, CollectionSchema>,
}

/// Why a schema file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaRefusal {
    /// Not JSON of the documented form.
    #[error("schema is not valid JSON of the documented form: {0}")]
    Json(#[from] serde_json::Error),
    /// Larger than a schema may be.
    #[error("schema is larger than {SCHEMA_BYTES_MAX} bytes")]
    TooLarge,
    /// Nested deeper than we read.
    #[error("JSON is nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// A name that could not be a key.
    #[error("{0:?} is no name: lower-case letters, digits and _, beginning with a letter, at most 48 bytes")]
    Name(String),
    /// Something that contradicts itself, with the collection and field it is in.
    #[error("{collection}.{field}: {reason}")]
    Field {
        /// Collection.
        collection: String,
        /// Field.
        field: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// More collections or fields than we index.
    #[error("a schema holds at most {COLLECTIONS_MAX} collections of {FIELDS_MAX} fields")]
    TooMany,
}

/// Greatest nesting depth of a JSON text, strings skipped; a text need not be valid JSON to be measured.
pub fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn is_name(text: &str) -> bool {
    text.len() <= 48
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl Schema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// [`SchemaRefusal`] naming what is wrong and where.
    pub fn from_json(text: &str) -> Result<Self, SchemaRefusal> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaRefusal::TooLarge);
        }
        if json_depth(text) > JSON_DEPTH_MAX {
            return Err(SchemaRefusal::TooDeep);
        }
        let schema: Self = serde_json::from_str(text)?;
        schema.check()?;
        Ok(schema)
    }

    fn check(&self) -> Result<(), SchemaRefusal> {
        if self.collections.len() > COLLECTIONS_MAX {
            return Err(SchemaRefusal::TooMany);
        }
        for (name, collection) in &self.collections {
            if !is_name(name) {
                return Err(SchemaRefusal::Name(name.clone()));
            }
            if collection.keep_days == Some(0) {
                let (collection, field) = (name.clone(), "keep_days".to_owned());
                return Err(SchemaRefusal::Field { collection, field, reason: "a day is the least" });
            }
            if collection.fields.len() > FIELDS_MAX {
                return Err(SchemaRefusal::TooMany);
            }
            for (field_name, field) in &collection.fields {
                if !is_name(field_name) {
                    return Err(SchemaRefusal::Name(field_name.to_string()));
                }
                self.check_field(name, field_name, field)?;
            }
        }
        Ok(())
    }

    fn check_field(&self, collection: &str, name: &str, field: &FieldSchema) -> Result<(), SchemaRefusal> {
        let refuse = |reason| {
            Err(SchemaRefusal::Field { collection: collection.to_owned(), field: name.to_owned(), reason })
        };
        if name.len() + 2 > KEY_BYTES_MAX {
            return refuse("the name is too long");
        }
        match (&field.target, field.kind) {
            (None, FieldKind::Reference) => return refuse("a reference needs a target"),
            (Some(target), FieldKind::Reference) if !self.collections.contains_key(target) => {
                return refuse("the target is no collection");
            }
            (Some(_), kind) if kind != FieldKind::Reference => {
                return refuse("only references have a target");
            }
            _ => {}
        }
        if field.sensitive && field.indexed {
            return refuse("sensitive fields are never indexed");
        }
        if field.sensitive && field.searched {
            return refuse("sensitive fields are never searched");
        }
        if field.searched && field.kind != FieldKind::Text {
            return refuse("only text is searched");
        }
        if field.required && !field.kind.is_register() {
            return refuse("counters and sets are never required");
        }
        if field.indexed && matches!(field.kind, FieldKind::Set | FieldKind::Bytes) {
            return refuse("sets and bytes cannot be indexed");
        }
        if !field.one_of.is_empty() && field.kind != FieldKind::Text {
            return refuse("only text has one_of");
        }
        // Nobody knows a counter's sum while others step it, so no edit could be refused for it.
        if (field.min.is_some() || field.max.is_some()) && !field.kind.is_number() {
            return refuse("only integers, floats and decimals have min and max");
        }
        Ok(())
    }

    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Option<&CollectionSchema> {
        self.collections.get(name)
    }
}

impl CollectionSchema {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.get(name)
    }

    /// Says whether a role may write the collection and, where one is given, the field; where no roles are named,
    /// everyone may.
    pub fn may_be_written(&self, field: Option<&FieldSchema>, by: Role) -> bool {
        let allow = |roles: &[Role]| roles.is_empty() || roles.contains(&by);
        allow(&self.write) && field.is_none_or(|field| allow(&field.write))
    }

    /// Names of fields whose words can be searched for.
    pub fn searched(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, field)| field.searched).map(|(name, _)| name.as_str())
    }

    /// Fields that hold references.
    pub fn references(&self) -> impl Iterator<Item = (&str, &FieldSchema)> {
        self.fields
            .iter()
            .filter(|(_, field)| field.kind == FieldKind::Reference)
            .map(|(name, field)| (name.as_str(), field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_field(field: &str) -> Result<Schema, SchemaRefusal> {
        Schema::from_json(&format!(
            r#"{{"version":1,"collections":{{"visit":{{"fields":{{"x":{field}}}}}}}}}"#
        ))
    }

    #[test]
    fn a_plain_field_is_read_with_its_defaults() {
        let schema = with_field(r#"{"kind":"text"}"#).expect("valid");
        let visit = schema.collection("visit").expect("present");
        assert_eq!(visit.overrides, vec![Role::Coordinator]);
        assert!(!visit.fields["x"].required);
    }

    #[test]
    fn contradictions_and_typing_errors_are_refused() {
        for bad in [
            r#"{"kind":"reference"}"#,
            r#"{"kind":"text","sensitive":true,"searched":true}"#,
            r#"{"kind":"integer","searched":true}"#,
            r#"{"kind":"reference","target":"nowhere"}"#,
            r#"{"kind":"text","target":"visit"}"#,
            r#"{"kind":"text","sensitive":true,"indexed":true}"#,
            r#"{"kind":"counter","required":true}"#,
            r#"{"kind":"text","requird":true}"#,
            r#"{"kind":"integer","one_of":["a"]}"#,
            r#"{"kind":"counter","max":10}"#,
            r#"{"kind":"date","min":0}"#,
        ] {
            assert!(with_field(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_collection_is_kept_for_ever_or_for_a_day_at_least() {
        let keeping = |days: &str| {
            Schema::from_json(&format!(
                r#"{{"version":1,"collections":{{"visit":{{{days}"fields":{{}}}}}}}}"#
            ))
        };
        let days = |schema: Schema| schema.collections["visit"].keep_days;
        assert_eq!(keeping("").map(days).expect("for ever"), None);
        assert_eq!(keeping(r#""keep_days":1,"#).map(days).expect("a day"), Some(1));
        let refused = keeping(r#""keep_days":0,"#).expect_err("no day");
        assert_eq!(refused.to_string(), "visit.keep_days: a day is the least");
    }

    #[test]
    fn a_role_writes_what_names_it_or_names_nobody() {
        let schema = Schema::from_json(
            r#"{"version":1,"collections":{
                "open":{"fields":{"all":{"kind":"text"},"theirs":{"kind":"text","write":["coordinator"]}}},
                "closed":{"write":["coordinator"],"fields":{"all":{"kind":"text"}}}}}"#,
        )
        .expect("valid");
        let may = |collection: &str, field: Option<&str>, role| {
            let collection = schema.collection(collection).expect("present");
            collection.may_be_written(field.map(|name| &collection.fields[name]), role)
        };
        assert!(may("open", None, Role::Mentor) && may("open", Some("all"), Role::Mentor));
        assert!(!may("open", Some("theirs"), Role::Mentor) && may("open", Some("theirs"), Role::Coordinator));
        assert!(!may("closed", None, Role::Mentor) && !may("closed", Some("all"), Role::Mentor));
        assert!(!may("closed", None, Role::Administrator) && may("closed", Some("all"), Role::Coordinator));
    }

    #[test]
    fn deep_nesting_is_refused_before_parsing() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(Schema::from_json(&deep), Err(SchemaRefusal::TooDeep)));
        assert_eq!(json_depth(r#"{"a":"[[[[\"[["}"#), 1);
    }
}
