//! The proofs at the end: one state everywhere, no temporary id, nothing readable on any phone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use haversack::FieldKind;
use haversack_core::StateDigest;
use serde::{Deserialize, Serialize};

use super::model::{Given, fold};
use super::phone::Command;
use super::process::DemoError;
use super::search::Found;
use super::world::World;

/// One proof and its outcome.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Proof {
    pub(super) proof: &'static str,
    pub(super) holds: bool,
    pub(super) detail: String,
}

#[derive(Deserialize)]
struct PhoneProof {
    records: u64,
    from_rows: String,
    from_documents: String,
    temporary_ids: u64,
    damage: usize,
}

/// What happened in all, as the server and the phones count it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) log_rows: u64,
    pub(super) conflicts: u64,
    pub(super) devices: u64,
}

/// Proves everything and closes the phones.
pub(super) async fn prove(world: &mut World, folder: &Path) -> Result<(Vec<Proof>, Counts), DemoError> {
    let mut proofs = vec![stages_held(world)];
    let mut digests: BTreeSet<String> = BTreeSet::new();
    let (mut temporary_ids, mut damage, mut computed) = (0, 0, 0);
    let mut devices = Vec::new();
    let mut conflicts = 0;
    for phone in &mut world.phones {
        let proof: PhoneProof = phone.ask(Command::Prove).await?;
        temporary_ids += proof.temporary_ids;
        damage += proof.damage;
        computed += 2;
        digests.extend(
            [proof.from_rows, proof.from_documents].map(|digest| format!("{digest} {}", proof.records)),
        );
        let status = phone.status().await?;
        conflicts = status.conflicts;
        devices.push(status.device.unwrap_or_default());
    }
    let at_server = haversack_server::prove_state(&world.server.database, &world.schema)
        .map_err(|error| DemoError::Proof(error.to_string()))?;
    temporary_ids += at_server.temporary_ids;
    let counts = Counts {
        records: at_server.records,
        accepted: at_server.accepted,
        refused: at_server.rejected,
        log_rows: at_server.log_rows,
        conflicts,
        devices: devices.len() as u64,
    };
    digests.extend(
        [&at_server.from_rows, &at_server.from_documents]
            .map(|digest| format!("{digest} {}", at_server.records)),
    );
    computed += 2;
    let server_ids: BTreeMap<String, String> = world.phones[0].ask(Command::ServerIds).await?;
    digests.insert(model_digest(world, &devices, &server_ids));
    computed += 1;
    let sum = digests.first().map(|digest| digest[..16].to_owned()).unwrap_or_default();
    proofs.push(Proof {
        proof: "one state on three phones, the server and the model",
        holds: digests.len() == 1,
        detail: format!(
            "{computed} SHA-256 from documents, rows and model, {} distinct: {sum}..",
            digests.len()
        ),
    });
    proofs.push(Proof {
        proof: "no temporary id is left",
        holds: temporary_ids == 0,
        detail: format!("{temporary_ids} found in documents, rows, conflicts, outboxes"),
    });
    proofs.push(Proof {
        proof: "every page of every store checks out",
        holds: damage == 0,
        detail: format!("{damage} findings"),
    });
    for id in server_ids.values() {
        world.needles.add_text(id);
    }
    world.search("while open", folder)?;
    for phone in &mut world.phones {
        phone.close().await?;
    }
    world.search("after closing", folder)?;
    proofs.extend(nothing_readable(world, folder)?);
    Ok((proofs, counts))
}

fn stages_held(world: &World) -> Proof {
    let failed = world.claims.iter().filter(|claim| !claim.holds).count();
    Proof {
        proof: "every stage came out as it must",
        holds: failed == 0,
        detail: format!("{} claims, {failed} failed", world.claims.len()),
    }
}

fn model_digest(world: &World, devices: &[String], server_ids: &BTreeMap<String, String>) -> String {
    let mut counters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut references = BTreeSet::new();
    for (name, collection) in &world.schema.collections {
        for (field, schema) in &collection.fields {
            match schema.kind {
                FieldKind::Counter => counters.entry(name.clone()).or_default().push(field.to_string()),
                FieldKind::Reference => drop(references.insert((name.clone(), field.to_string()))),
                _ => {}
            }
        }
    }
    let given = Given { devices, server_ids, counters: &counters, references: &references };
    let mut digest = StateDigest::default();
    for record in fold(&world.events, &given) {
        digest.add(&record);
    }
    let records = digest.records();
    format!("{} {records}", digest.finish())
}

fn nothing_readable(world: &mut World, folder: &Path) -> Result<Vec<Proof>, DemoError> {
    let at = |error| DemoError::File("the plain copy".to_owned(), error);
    let plain = folder.join("plain-copy");
    std::fs::create_dir_all(&plain).map_err(at)?;
    let forms = world.needles.write_plain_copy(&plain.join("copy")).map_err(at)?;
    let in_copy = world.needles.searcher().search(&plain).map_err(at)?;
    std::fs::remove_dir_all(&plain).map_err(at)?;
    let total = |count: fn(&Found) -> u64| world.searches.iter().map(|(_, found)| count(found)).sum::<u64>();
    let hits = total(|found| found.hits as u64);
    let moments: Vec<_> = world.searches.iter().map(|(moment, _)| moment.as_str()).collect();
    Ok(vec![
        Proof {
            proof: "nothing is readable in any store file",
            holds: hits == 0,
            detail: format!(
                "{} values, ids and tokens in {forms} forms; {} files, {:.1} MB, {}: {hits} found",
                world.needles.len(),
                total(|found| found.files as u64),
                total(|found| found.bytes) as f64 / 1e6,
                moments.join(", "),
            ),
        },
        Proof {
            proof: "the same search finds all of it in a plain copy",
            holds: in_copy.hits == forms,
            detail: format!("{} of {forms} forms", in_copy.hits),
        },
    ])
}
