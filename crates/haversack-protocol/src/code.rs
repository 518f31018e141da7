//! Every code the server may answer, in one table read by the client, the tests and `docs/PROTOCOL.md`.

use std::fmt;

/// What kind of answer a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Final: the change set is rolled back, its input kept.
    Permanent,
    /// Solved by the client itself by sending something else first.
    Recoverable,
    /// The token, never the change set, is the matter; no attempt is counted.
    Auth,
    /// Nothing more can be sent until the app or the user acts.
    Blocked,
    /// The read position is void; the outbox stays.
    Reset,
    /// Try again later.
    Transient,
}

/// What the client does about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Roll back, keep the input as a rejected entry.
    RollBack,
    /// Send the named dependency first, then the same bytes again.
    SendDependency,
    /// Wait for the verdict on the change set it stands behind.
    Wait,
    /// Ask the token provider, then send again.
    RefreshToken,
    /// Stop sending and tell the app.
    Stop,
    /// Start reading from the beginning.
    ReadAnew,
    /// Back off and try again.
    Retry,
}

macro_rules! codes {
    ($($name:ident = $text:literal, $class:ident, $action:ident, $doc:literal;)*) => {
        /// A stable answer code. Codes this build does not know read as [`Code::Unknown`]: transient, but bounded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $name,)*
            /// A code of a newer server.
            Unknown,
        }

        impl Code {
            /// Every code but [`Code::Unknown`].
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text that travels and is shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "E_UNKNOWN",
                }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$name => Class::$class,)*
                    Self::Unknown => Class::Transient,
                }
            }

            /// What the client does.
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$name => Action::$action,)*
                    Self::Unknown => Action::Retry,
                }
            }

            /// One sentence for documents and logs.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)*
                    Self::Unknown => "A code of a newer server.",
                }
            }

            /// Reads a code; unknown texts are [`Code::Unknown`].
            pub fn from_text(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

codes! {
    Malformed = "E_MALFORMED", Permanent, RollBack, "The bytes are no change the gate admits.";
    Limit = "E_LIMIT", Permanent, RollBack, "A size or count exceeds the limits.";
    Identity = "E_IDENTITY", Permanent, RollBack, "Actor, sequence, start or dependencies are not this device's to use.";
    Schema = "E_SCHEMA", Permanent, RollBack, "The schema has no such collection or field, or does not allow this; the message key says why.";
    Rule = "E_RULE", Permanent, RollBack, "A rule of the organisation refuses it; the rule is named.";
    Forbidden = "E_FORBIDDEN", Permanent, RollBack, "The principal's role may not write this.";
    ReferenceRejected = "E_REFERENCE", Permanent, RollBack, "It refers to a record that does not exist or was refused.";
    DependencyRejected = "E_DEPENDENCY", Permanent, RollBack, "It needs a change set that was refused; the root cause is named.";
    Withdrawn = "E_WITHDRAWN", Permanent, RollBack, "The device took it back before it was decided.";
    Erased = "E_ERASED", Permanent, RollBack, "The record was erased; what is sent of it is kept nowhere.";
    Restricted = "E_RESTRICTED", Permanent, RollBack, "The record is restricted: no edit of it is taken until that is lifted.";
    Blocked = "E_BLOCKED", Recoverable, Wait, "It stands behind a change set that is not accepted.";
    DependencyMissing = "E_HELD", Recoverable, SendDependency, "A dependency has not arrived yet.";
    Epoch = "E_EPOCH", Recoverable, ReadAnew, "The record has a newer epoch; the edit is expressed anew on it.";
    TokenExpired = "E_TOKEN", Auth, RefreshToken, "The token is missing, expired or unknown.";
    DeviceRevoked = "E_DEVICE", Blocked, Stop, "The device may no longer sync.";
    Upgrade = "E_UPGRADE", Blocked, Stop, "Protocol or schema is too old for the server.";
    Tenant = "E_TENANT", Blocked, Stop, "The token does not belong to this tenant, principal or device.";
    CursorReset = "E_CURSOR", Reset, ReadAnew, "The cursor is from another log; read from the beginning.";
    Busy = "E_BUSY", Transient, Retry, "The server asks for patience.";
    Internal = "E_INTERNAL", Transient, Retry, "The server failed; nothing was decided.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(|text| Self::from_text(&text))
    }
}

impl<C> minicbor::Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Code {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str().map(Self::from_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_an_unknown_one_is_transient() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), *code);
        }
        assert_eq!(Code::from_text("E_FROM_2031").class(), Class::Transient);
    }

    #[test]
    fn only_permanent_codes_roll_back() {
        for code in Code::ALL {
            assert_eq!(code.class() == Class::Permanent, code.action() == Action::RollBack);
        }
    }
}
