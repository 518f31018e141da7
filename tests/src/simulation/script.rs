//! What happens in a simulation, drawn beforehand, so that steps can be left out without changing the others.

use super::chance::Chance;

/// Devices with a person each; the last is a coordinator's.
pub(crate) const PHONES: usize = 4;
pub(crate) const COORDINATOR: usize = PHONES - 1;

/// What may go wrong under one seed. Each is on or off for all of it, so that none drowns the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) loses_requests: bool,
    pub(crate) loses_replies: bool,
    pub(crate) doubles_requests: bool,
    pub(crate) delivers_late: bool,
    pub(crate) cuts_replies: bool,
    pub(crate) replaces_replies: bool,
    /// What a proxy chokes on whenever it passes.
    pub(crate) chokes: bool,
    /// Values a rule of the server refuses.
    pub(crate) breaks_rules: bool,
    pub(crate) crashes: bool,
    pub(crate) moves_clocks: bool,
    pub(crate) changes_roles: bool,
    pub(crate) goes_back: bool,
    pub(crate) restarts_server: bool,
}

impl Faults {
    fn draw(chance: &mut Chance) -> Self {
        let mut is_on = || chance.one_in(2);
        Self {
            loses_requests: is_on(),
            loses_replies: is_on(),
            doubles_requests: is_on(),
            delivers_late: is_on(),
            cuts_replies: is_on(),
            replaces_replies: is_on(),
            chokes: is_on(),
            breaks_rules: is_on(),
            crashes: is_on(),
            moves_clocks: is_on(),
            changes_roles: is_on(),
            goes_back: is_on(),
            restarts_server: is_on(),
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Edit,
    Count,
    Member,
    Refer,
    Together,
    Delete,
    Restore,
    Override,
    Release,
    Correct,
    Discard,
    Acknowledge,
    SyncNow,
    Work,
    Online,
    Offline,
    Reopen,
    Crash,
    ReadAnew,
    Time,
    Patience,
    MoveClock,
    ChangeRole,
    BackUp,
    GoBack,
    DeliverLate,
    RestartServer,
}

/// An act, who does it, and what else it draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) who: usize,
    pub(crate) seed: u64,
}

/// Everything that is to happen under one seed.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    pub(crate) fn draw(seed: u64, length: usize) -> Self {
        let mut chance = Chance::of(seed);
        let faults = Faults::draw(&mut chance);
        let bag = bag(faults);
        let steps = (0..length)
            .map(|_| Step {
                act: bag[chance.below(bag.len())],
                who: chance.below(PHONES),
                seed: chance.next(),
            })
            .collect();
        Self { seed, faults, steps }
    }

    /// The same without some of its steps.
    pub(crate) fn only(&self, kept: &[usize]) -> Self {
        Self { steps: kept.iter().map(|at| self.steps[*at]).collect(), ..self.clone() }
    }
}

/// Every act as often as its weight says.
fn bag(faults: Faults) -> Vec<Act> {
    let weighed = [
        (Act::Create, 6, true),
        (Act::Edit, 18, true),
        (Act::Count, 6, true),
        (Act::Member, 4, true),
        (Act::Refer, 5, true),
        (Act::Together, 4, true),
        (Act::Delete, 2, true),
        (Act::Restore, 2, true),
        (Act::Override, 4, true),
        (Act::Release, 2, true),
        (Act::Correct, 3, true),
        (Act::Discard, 1, true),
        (Act::Acknowledge, 1, true),
        (Act::SyncNow, 12, true),
        (Act::Work, 22, true),
        (Act::Online, 4, true),
        (Act::Offline, 2, true),
        (Act::Reopen, 1, true),
        (Act::Time, 10, true),
        (Act::Patience, 3, true),
        (Act::ReadAnew, 1, true),
        (Act::Crash, 5, faults.crashes),
        (Act::MoveClock, 3, faults.moves_clocks),
        (Act::ChangeRole, 1, faults.changes_roles),
        (Act::BackUp, 1, faults.goes_back),
        (Act::GoBack, 1, faults.goes_back),
        (Act::DeliverLate, 5, faults.delivers_late),
        (Act::RestartServer, 1, faults.restarts_server),
    ];
    let wanted = weighed.into_iter().filter(|(_, _, is_on)| *is_on);
    wanted.flat_map(|(act, weight, _)| std::iter::repeat_n(act, weight)).collect()
}
