//! The outbox: durable queue of change sets without a final verdict, and what may happen to its entries.

mod entry;
mod express;
mod foresight;
mod freeze;
mod rollback;

pub use entry::{BaseHeads, Entry, EntryState, FrozenPart};
pub use express::{Ending, express_anew};
pub use foresight::{foresee_shadows, unseen_heads};
pub use freeze::{FreezeRefusal, Freezer, Lane};
pub use rollback::{EntryShape, OutboxView, Rollback, plan_rollback, plan_thaw};
