//! Places for live connections: bounded in all and per device.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use haversack_protocol::DeviceId;
use tokio::sync::{oneshot, watch};

use super::LiveSettings;

/// Who holds a live connection.
pub(crate) struct Places {
    settings: LiveSettings,
    taken: watch::Sender<usize>,
    /// Numbers drawn; each names one place for ever.
    drawn: AtomicU64,
    of_devices: Mutex<BTreeMap<DeviceId, VecDeque<Holder>>>,
}

struct Holder {
    number: u64,
    /// Dropped when a newer connection of the device takes the place.
    _keep: oneshot::Sender<()>,
}

/// A place for one connection, given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    device: DeviceId,
    number: u64,
    kept: oneshot::Receiver<()>,
}

impl Places {
    pub(crate) fn new(settings: LiveSettings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            taken: watch::Sender::new(0),
            drawn: AtomicU64::default(),
            of_devices: Mutex::default(),
        })
    }

    pub(crate) fn settings(&self) -> LiveSettings {
        self.settings
    }

    /// Connections at this moment.
    pub(crate) fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    /// Waits until nobody holds a connection.
    pub(crate) async fn emptied(&self) {
        // The sender lives as long as this does.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    /// Takes a place for a device, the oldest of its own when it has too many. `None` when all are taken.
    pub(crate) fn take(self: &Arc<Self>, device: DeviceId) -> Option<Place> {
        let mut of_devices = self.of_devices();
        if self.taken() >= self.settings.connections_max {
            return None;
        }
        let holders = of_devices.entry(device).or_default();
        while holders.len() >= self.settings.connections_per_device_max.max(1) {
            holders.pop_front();
        }
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let (keep, kept) = oneshot::channel();
        holders.push_back(Holder { number, _keep: keep });
        self.taken.send_modify(|taken| *taken += 1);
        Some(Place { places: Arc::clone(self), device, number, kept })
    }

    fn of_devices(&self) -> MutexGuard<'_, BTreeMap<DeviceId, VecDeque<Holder>>> {
        self.of_devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn device(&self) -> DeviceId {
        self.device
    }

    /// Waits until a newer connection of the same device takes the place.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent; the sender goes.
        let _ = (&mut self.kept).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_devices = self.places.of_devices();
        if let Some(holders) = of_devices.get_mut(&self.device) {
            holders.retain(|holder| holder.number != self.number);
            if holders.is_empty() {
                of_devices.remove(&self.device);
            }
        }
        self.places.taken.send_modify(|taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KARI: DeviceId = DeviceId::from_bytes([1; 8]);
    const OLA: DeviceId = DeviceId::from_bytes([2; 8]);

    fn places(connections_max: usize, connections_per_device_max: usize) -> Arc<Places> {
        Places::new(LiveSettings { connections_max, connections_per_device_max, ..Default::default() })
    }

    #[tokio::test]
    async fn the_newest_connections_of_a_device_are_kept_and_nobody_elses_are_touched() {
        let places = places(9, 2);
        let mut held: Vec<_> = [OLA, KARI, KARI, KARI].map(|device| places.take(device)).into();
        let mut held: Vec<_> = held.drain(..).map(|place| place.expect("there is room")).collect();
        held[1].lost().await;
        let is_kept = |place: &mut Place| place.kept.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        assert!([0, 2, 3].into_iter().all(|at: usize| is_kept(&mut held[at])));
        held.remove(1);
        assert!(held.iter_mut().all(is_kept), "the end of a replaced one takes no other along");
    }

    #[tokio::test]
    async fn one_place_per_device_is_handed_on_from_connection_to_connection() {
        let places = places(9, 1);
        let mut held = places.take(KARI).expect("there is room");
        for _ in 0..5 {
            let newer = places.take(KARI).expect("there is room");
            held.lost().await;
            held = newer;
            assert_eq!(
                places.of_devices()[&KARI].len(),
                1,
                "the end of the older one leaves the newer in place"
            );
        }
    }

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let places = places(2, 2);
        let (first, second) = (places.take(KARI), places.take(OLA));
        assert!(first.is_some() && second.is_some() && places.take(OLA).is_none());
        drop(first);
        assert_eq!(places.taken(), 1);
        assert!(places.take(KARI).is_some());
        drop(second);
        places.emptied().await;
        assert!(places.of_devices().is_empty());
    }
}
