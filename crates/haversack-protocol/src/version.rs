//! Versions of the wire.

/// Oldest protocol version this build speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// Newest protocol version this build speaks.
pub const PROTOCOL_MAX: u16 = 1;

/// Inclusive range of protocol versions one side speaks; the highest common one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct ProtocolRange {
    /// Oldest version spoken.
    #[n(0)]
    pub min: u16,
    /// Newest version spoken.
    #[n(1)]
    pub max: u16,
}

impl ProtocolRange {
    /// The range of this build.
    pub const OURS: Self = Self { min: PROTOCOL_MIN, max: PROTOCOL_MAX };

    /// Returns the highest version both ranges hold, or `None` when one side must upgrade.
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::ProtocolRange;

    #[test]
    fn ranges_that_do_not_touch_have_no_common_version() {
        let old = ProtocolRange { min: 1, max: 2 };
        let new = ProtocolRange { min: 3, max: 4 };
        assert_eq!(old.highest_common(new), None);
        assert_eq!(old.highest_common(ProtocolRange { min: 2, max: 9 }), Some(2));
    }
}
