//! Restricted records: read as before, edited by nobody until that is lifted.

use haversack_core::outbox::EntryState;
use haversack_core::{EditRefusal, Intent};
use haversack_protocol::{Code, Role};

use super::server::Server;
use super::world::{Phone, change_set, edit, id, person, record, set, text};
use crate::{Query, StoreError};

fn name(name: &str) -> Vec<Intent> {
    vec![set("name", text(name))]
}

#[test]
fn a_restricted_record_is_read_as_before_and_takes_no_edit_until_that_is_lifted() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Coordinator);
    phone.write(1, vec![person(record(1), "Ola"), person(record(2), "Kari")]);
    phone.sync(&mut server);
    phone.write(2, vec![edit(record(1), "person", name("Ole"))]);
    server.restrict(record(1), true);
    phone.sync(&mut server);

    let [entry] = &phone.store.outbox().expect("lists")[..] else { panic!("its input is kept") };
    assert!(matches!(&entry.state, EntryState::Rejected(why) if why.code == Code::Restricted));
    assert!(phone.store.is_restricted(record(1)).expect("reads"));
    assert!(!phone.store.is_restricted(record(2)).expect("reads"));
    assert_eq!(phone.value(record(1), "name"), Some(text("Ola")));
    assert_eq!(phone.store.list(&Query::of("person")).expect("lists").len(), 2);
    let both =
        vec![edit(record(2), "person", name("Karin")), edit(record(1), "person", vec![Intent::Delete])];
    for part in [both, vec![edit(record(1), "person", name("Oline"))]] {
        let refused = phone.store.local_write(change_set(3, part)).expect_err("refused");
        assert!(matches!(refused, StoreError::Edit(EditRefusal::Restricted(of)) if of == record(1)));
    }
    assert_eq!(phone.value(record(2), "name"), Some(text("Kari")), "all of it or nothing");
    let again = entry.change_set.clone();
    let resubmit = |phone: &Phone| {
        let corrected = haversack_core::ChangeSet { id: id(4), ..again.clone() };
        phone.store.resubmit(vec![(id(2), corrected)])
    };
    assert!(resubmit(&phone).is_err());

    server.restrict(record(1), false);
    phone.pull(&server, usize::MAX);
    resubmit(&phone).expect("taken again");
    phone.sync(&mut server);
    assert_eq!(phone.value(record(1), "name"), Some(text("Ole")));
    assert_eq!((phone.digest(), phone.store.unsynced().expect("counts")), (server.digest(), 0));
}

#[test]
fn whoever_reads_the_log_from_its_beginning_knows_what_is_restricted_today() {
    let mut server = Server::new();
    let mut phone = Phone::new(&mut server, 1, Role::Mentor);
    phone.write(1, vec![person(record(1), "Ola"), person(record(2), "Kari"), person(record(3), "Per")]);
    phone.sync(&mut server);
    for (n, is_restricted) in [(1, true), (2, true), (3, true), (1, false)] {
        server.restrict(record(n), is_restricted);
    }
    server.erase(record(2));
    let mut late = Phone::new(&mut server, 2, Role::Mentor);
    for phone in [&mut phone, &mut late] {
        for _ in 0..2 {
            phone.pull(&server, usize::MAX);
            let restricted = [1, 2, 3].map(|n| phone.store.is_restricted(record(n)).expect("reads"));
            assert_eq!(restricted, [false, false, true], "and nothing names what was erased");
            phone.read_anew();
        }
    }
}
