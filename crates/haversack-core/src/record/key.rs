//! The keys of a record document's root map, the only object it has.

use std::fmt;

use haversack_protocol::FieldKind;
use haversack_protocol::limits::{KEY_BYTES_MAX, SET_ELEMENT_BYTES_MAX};

/// What a key of a record document means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// `f:<field>`: a last-writer-wins register.
    Register(&'a str),
    /// `n:<field>`: a counter.
    Counter(&'a str),
    /// `s:<field>:<element>`: a member of a set.
    Member(&'a str, &'a str),
    /// `o:<field>`: an override mark.
    Override(&'a str),
    /// `_v`: the schema version that created the record.
    Version,
    /// `_deleted`: present when deleted.
    Deleted,
}

impl<'a> Key<'a> {
    /// Reads a key; `None` when it is none of ours.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > KEY_BYTES_MAX {
            return None;
        }
        match text {
            "_v" => return Some(Self::Version),
            "_deleted" => return Some(Self::Deleted),
            _ => {}
        }
        let (prefix, rest) = text.split_at_checked(2)?;
        match prefix {
            "f:" => Some(Self::Register(rest)),
            "n:" => Some(Self::Counter(rest)),
            "o:" => Some(Self::Override(rest)),
            "s:" => {
                let (field, element) = rest.split_once(':')?;
                is_element(element).then_some(Self::Member(field, element))
            }
            _ => None,
        }
    }

    /// The key of a register or counter field.
    pub fn of_field(kind: FieldKind, field: &'a str) -> Self {
        if kind == FieldKind::Counter { Self::Counter(field) } else { Self::Register(field) }
    }
}

/// Says whether a text may be the element of a set.
pub(crate) fn is_element(text: &str) -> bool {
    !text.is_empty() && text.len() <= SET_ELEMENT_BYTES_MAX && !text.contains('\0')
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(field) => write!(f, "f:{field}"),
            Self::Counter(field) => write!(f, "n:{field}"),
            Self::Member(field, element) => write!(f, "s:{field}:{element}"),
            Self::Override(field) => write!(f, "o:{field}"),
            Self::Version => f.write_str("_v"),
            Self::Deleted => f.write_str("_deleted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn every_key_reads_back_from_its_text() {
        for key in [
            Key::Register("name"),
            Key::Counter("calls"),
            Key::Member("tags", "a:b æ"),
            Key::Override("name"),
            Key::Version,
            Key::Deleted,
        ] {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
    }

    #[test]
    fn foreign_keys_are_not_ours() {
        for text in ["", "x", "f", "q:name", "s:tags", "s:tags:", "_V", "æ:x"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
