//! The server's stored refusal of a change set.

use serde::{Deserialize, Serialize};

use crate::{ChangeSetId, Code};

/// Why a change set was refused. A stored fact, not an error: it travels in the log and stays with the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Rejection {
    /// Stable code.
    #[n(0)]
    pub code: Code,
    /// Collection and field concerned, when there is one: `activity.minutes`; or the collection alone.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Name of the rule that refused it, from the rules file.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Key of a message the app translates; never a value.
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_key: Option<String>,
    /// The change set whose refusal took this one along.
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_cause: Option<ChangeSetId>,
}

impl Rejection {
    /// A refusal with nothing but a code.
    pub const fn of(code: Code) -> Self {
        Self { code, field: None, rule: None, message_key: None, root_cause: None }
    }

    /// The same refusal, naming the collection alone.
    #[must_use]
    pub fn within(mut self, collection: &str) -> Self {
        self.field = Some(collection.to_owned());
        self
    }

    /// The same refusal, saying why by a message key.
    #[must_use]
    pub fn because(mut self, message_key: &str) -> Self {
        self.message_key = Some(message_key.to_owned());
        self
    }

    /// The same refusal, naming the collection and field.
    #[must_use]
    pub fn at(mut self, collection: &str, field: &str) -> Self {
        self.field = Some(format!("{collection}.{field}"));
        self
    }
}
