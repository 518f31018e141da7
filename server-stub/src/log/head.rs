//! How far the log reaches, told apart by who wrote its end: nobody is poked for what she wrote herself.

use haversack_protocol::DeviceId;

/// The end of the log as devices may see it; other devices' refusals are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    last: u64,
    /// Who wrote the last row, if that is known.
    by: Option<DeviceId>,
    /// The last row of anybody else.
    last_of_others: u64,
}

impl Head {
    /// A log that reaches to a position, its authors unknown.
    pub(crate) const fn at(position: u64) -> Self {
        Self { last: position, by: None, last_of_others: position }
    }

    /// A row was appended that every device may see.
    pub(crate) fn wrote(&mut self, position: u64, device: DeviceId) {
        if self.by != Some(device) {
            (self.by, self.last_of_others) = (Some(device), self.last);
        }
        self.last = position;
    }

    /// The last position that this device did not write.
    pub(crate) fn for_device(self, device: DeviceId) -> u64 {
        if self.by == Some(device) { self.last_of_others } else { self.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn each_device_is_told_the_last_row_that_it_did_not_write(start: u8, rows: Vec<u8>, reader: u8) -> bool {
            let device = |n: u8| DeviceId::from_bytes([n % 3; 8]);
            let mut head = Head::at(start.into());
            let mut expected = u64::from(start);
            for (at, author) in (u64::from(start) + 1..).zip(&rows) {
                head.wrote(at, device(*author));
                if device(*author) != device(reader) {
                    expected = at;
                }
            }
            head.for_device(device(reader)) == expected
        }
    }
}
