//! Where the ids of devices come from.

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::store::StoreRefusal;

/// How device ids are drawn. They order concurrent values, so whoever repeats a run to the last value must draw the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceIds {
    /// From the system's source of chance, as every server that listens does.
    #[default]
    Random,
    /// From this number and the place in the log where the device is registered.
    Seeded(u64),
}

impl DeviceIds {
    /// The bytes of one draw.
    ///
    /// # Errors
    /// [`StoreRefusal::Random`] when the system has no chance to give.
    pub(super) fn draw(self, position: u64, draw: u32) -> Result<[u8; 8], StoreRefusal> {
        let mut bytes = [0u8; 8];
        match self {
            Self::Random => SystemRandom::new().fill(&mut bytes).map_err(|_| StoreRefusal::Random)?,
            Self::Seeded(seed) => {
                let mut digest = Context::new(&SHA256);
                digest.update(b"haversack device");
                digest.update(&seed.to_be_bytes());
                digest.update(&position.to_be_bytes());
                digest.update(&draw.to_be_bytes());
                let length = bytes.len();
                bytes.copy_from_slice(&digest.finish().as_ref()[..length]);
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_ids_are_the_same_again_and_differ_by_seed_place_and_draw() {
        let drawn = |seed, position, draw| DeviceIds::Seeded(seed).draw(position, draw).expect("drawn");
        assert_eq!(drawn(1, 2, 3), drawn(1, 2, 3));
        for other in [drawn(0, 2, 3), drawn(1, 0, 3), drawn(1, 2, 0)] {
            assert_ne!(drawn(1, 2, 3), other);
        }
    }
}
