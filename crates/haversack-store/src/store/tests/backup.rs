//! Backups of phones that speak to a server: what they know of themselves, and what becomes of work that waits in them.

use haversack_core::outbox::EntryState;
use haversack_protocol::Role;

use super::damage::keys;
use super::server::Server;
use super::world::{Phone, activity, edit, open, record, set, text};
use crate::restore;

#[test]
fn a_restored_store_is_a_new_device_of_the_same_person_with_nothing_frozen() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![activity(record(1), "tur")]);
    phone.sync(&mut server);
    phone.write(2, vec![edit(record(1), "activity", vec![set("title", text("lang tur"))])]);
    phone.push(&mut server);
    phone.write(3, vec![activity(record(2), "besøk")]);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    phone.store.back_up(&backup).unwrap();
    let before = phone.store.identity().unwrap();
    assert!(phone.store.outbox().unwrap().iter().any(|entry| entry.state == EntryState::Frozen));

    let restored: Vec<_> = ["one", "two"]
        .map(|name| {
            let folder = place.path().join(name);
            restore(&backup, &folder, &keys()).unwrap();
            open(&folder)
        })
        .into_iter()
        .collect();
    for store in &restored {
        let identity = store.identity().unwrap();
        assert_eq!((identity.device, identity.principal), (None, before.principal.clone()));
        assert_ne!(identity.installation, before.installation);
        let states: Vec<_> = store.outbox().unwrap().into_iter().map(|entry| entry.state).collect();
        assert_eq!(states, [EntryState::Pending, EntryState::Pending]);
        assert_eq!(store.cursor().unwrap(), phone.store.cursor().unwrap());
        assert_eq!(store.get(record(1)).unwrap().unwrap().row.fields["title"], text("lang tur"));
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
    }
    assert_ne!(
        restored[0].identity().unwrap().installation,
        restored[1].identity().unwrap().installation,
        "two stores of one backup are two devices"
    );
    // The store that was copied goes on as the device it is.
    assert_eq!(phone.store.identity().unwrap(), before);
    phone.sync(&mut server);
    assert!(phone.store.outbox().unwrap().is_empty());
}
