//! What is kept of a run beside its outcome: the trace, a hash of it, and how often rare things were seen.

use std::collections::{BTreeMap, VecDeque};

use ring::digest::{Context, SHA256};

/// Lines of the trace that are kept to be shown.
const LINES_KEPT: usize = 30;

/// Rare things that the seeds of a run must bring about at least once; a simulator that never sees one tests less than it says.
pub const SIGHTS: [&str; 32] = [
    "a request was lost",
    "a reply was lost",
    "a request arrived twice",
    "an old request arrived late",
    "a reply was cut",
    "a captive portal answered",
    "a token was refused",
    "a request was called too large",
    "a server asked for patience",
    "a gateway failed",
    "a proxy choked on a change set",
    "a device crashed with a request under way",
    "a device crashed between two pages or before the end of a reply",
    "a network went while a request was under way",
    "a clock jumped by years",
    "a server was restarted",
    "a role changed",
    "a store went back to a backup",
    "what was lost with a backup came back from the log",
    "an edit was refused on the spot",
    "an edit was refused by a rule",
    "an edit was refused for want of a role",
    "a refusal took dependants along",
    "a refused edit was corrected",
    "a refused edit was discarded",
    "a batch was split",
    "a change set was withdrawn",
    "a change set was parked",
    "concurrent values were kept as a conflict",
    "an override stood over a later value",
    "a reference was rewritten to a server id",
    "a read position was forgotten and everything came once more",
];

/// The trace of one run and what was seen in it.
pub(crate) struct Record {
    hash: Context,
    lines: VecDeque<String>,
    seen: BTreeMap<&'static str, u64>,
}

impl Record {
    pub(crate) fn begin() -> Self {
        Self { hash: Context::new(&SHA256), lines: VecDeque::new(), seen: BTreeMap::new() }
    }

    /// Adds a line to the trace. It holds nothing that a second run would draw anew.
    pub(crate) fn say(&mut self, line: String) {
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Counts one of the [`SIGHTS`].
    pub(crate) fn see(&mut self, sight: &'static str) {
        assert!(SIGHTS.contains(&sight), "{sight:?} is in the list of sights");
        *self.seen.entry(sight).or_default() += 1;
    }

    pub(crate) fn hash(&self) -> String {
        self.hash.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    pub(crate) fn seen(&self) -> BTreeMap<&'static str, u64> {
        self.seen.clone()
    }
}
