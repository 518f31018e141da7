//! The shape of the workspace, held against what is written down: arrows between packages, budgets, rooms, documents.
//!
//! Reads manifests, the lock file, sources and documents; runs nothing of the project. What is allowed is kept as
//! text in `arrows.json`, so that a new arrow is a line somebody reads.

mod arrows;
mod documents;
mod rooms;
mod tree;
