//! The demo: a field day with a real server and three real phones, each a process of its own, and proofs at the end.

mod console;
mod model;
mod phone;
mod process;
mod proof;
mod records;
mod search;
mod stages;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use haversack::{FieldKind, Schema};
use haversack_core::Rules;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value as Json, json};

use console::Console;
pub(crate) use phone::run_phone;
use process::DemoError;
pub(crate) use process::run_server;
use records::Plan;
use world::World;

const RECORDS: &str = include_str!("../../../../tests/data/field-day.jsonl");
const SCHEMA: &str = include_str!("../../../../tests/data/field-day.schema.json");
const RULES: &str = include_str!("../../../../tests/data/field-day.rules.json");

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Exit status after a request to end, as shells have it.
#[cfg(unix)]
const TERMINATED: u8 = 143;

/// Play a field day: a reference server and three phones, each a process of its own.
#[derive(Args, Debug)]
#[command(
    after_help = "Two mentors register without network, one phone is killed while saving, the network comes \
back, a registration is refused and corrected, phones edit the same record, a coordinator overrides a field, the server \
dies and comes back. At the end everything is proven; exit status 1 if a proof fails.\n\nA records file holds one JSON \
object a line:\n  {\"key\":\"a1\",\"device\":\"phone-1\",\"collection\":\"activity\",\"fields\":{\"minutes\":45}}\nkey \
names the record for references inside the file; device deals it to a phone; both may be left out."
)]
pub(crate) struct DemoArguments {
    /// Records to register, JSON lines; needs --schema
    #[arg(long, requires = "schema")]
    records: Option<PathBuf>,
    /// Schema of those records
    #[arg(long, requires = "records")]
    schema: Option<PathBuf>,
    /// Repeats the choices chance makes (which record, when to kill)
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the stores, the server's database and its files in this empty or new folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Plays the demo. With `json`, one summary object goes to standard output and the show to standard error.
pub(crate) async fn run(arguments: DemoArguments, json: bool) -> ExitCode {
    let temporary = match tempfile::Builder::new().prefix("haversack-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(&DemoError::File("the temporary folder".to_owned(), error), json),
    };
    let folder = arguments.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut world = None;
    let outcome = tokio::select! {
        // In this order: the signals are heard before anything is shown or started.
        biased;
        status = interrupted() => Err(status),
        played = play(&arguments, &folder, json, &mut world) => Ok(played),
    };
    if let Some(world) = &mut world {
        // The folder goes with `temporary`: nobody may be writing into it then.
        world.end().await;
    }
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => fail(&error, json),
        Err(status) => ExitCode::from(status),
    }
}

/// Waits for Ctrl-C or a request to end; the exit status it asks for.
async fn interrupted() -> u8 {
    #[cfg(unix)]
    if let Ok(mut request) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = tokio::signal::ctrl_c() => INTERRUPTED,
            _ = request.recv() => TERMINATED,
        };
    }
    // Without a handler the system's own answer to Ctrl-C is as good.
    let _ = tokio::signal::ctrl_c().await;
    INTERRUPTED
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command's own output")]
fn fail(error: &DemoError, json: bool) -> ExitCode {
    if json {
        println!("{}", json!({ "ok": false, "error": error.to_string() }));
    } else {
        eprintln!("\nhaversack demo: {error}");
    }
    ExitCode::FAILURE
}

/// The input of a demo: its records, schema and rules.
struct Input {
    schema: Schema,
    schema_text: String,
    rules: Rules,
    rules_text: String,
    plan: Plan,
}

fn read_file(path: &Path) -> Result<String, DemoError> {
    fs::read_to_string(path).map_err(|error| DemoError::File(path.display().to_string(), error))
}

fn read_input(arguments: &DemoArguments, console: &Console) -> Result<Input, DemoError> {
    let (schema_text, records) = match (&arguments.schema, &arguments.records) {
        (Some(schema), Some(records)) => (read_file(schema)?, read_file(records)?),
        _ => (SCHEMA.to_owned(), RECORDS.to_owned()),
    };
    let schema = Schema::from_json(&schema_text).map_err(|refusal| DemoError::Schema(refusal.to_string()))?;
    let plan = records::read(&records, &schema);
    if plan.records.is_empty() {
        console.bad_lines(&plan.bad_lines);
        return Err(DemoError::NoRecords);
    }
    let rules_text =
        if arguments.schema.is_some() { rules_for(&schema, &plan).to_string() } else { RULES.to_owned() };
    let rules =
        Rules::from_json(&rules_text, &schema).map_err(|refusal| DemoError::Rules(refusal.to_string()))?;
    Ok(Input { schema, schema_text, rules, rules_text, plan })
}

/// A rule for records of any schema: the greatest number they hold in an integer field is the greatest allowed.
fn rules_for(schema: &Schema, plan: &Plan) -> Json {
    let ranges = schema.collections.iter().flat_map(|(name, collection)| {
        collection.fields.iter().filter_map(move |(field, schema)| {
            let values = plan.records.iter().filter(|planned| planned.collection == *name);
            let greatest = values.filter_map(|planned| planned.fields.get(field.as_str())?.as_i64()).max()?;
            #[allow(clippy::cast_precision_loss, reason = "a bound is compared, not stored")]
            let has_room =
                schema.kind == FieldKind::Integer && schema.max.is_none_or(|max| max > greatest as f64);
            has_room.then(|| {
                json!({ "name": "no-more-than-ever", "collection": name,
                    "check": { "range": { "field": field, "max": greatest } } })
            })
        })
    });
    json!({ "version": 1, "rules": ranges.take(1).collect::<Vec<_>>() })
}

/// Lays out the folders, the server's files and the tokens.
fn prepare(world: &mut World, input_rules: &str, folder: &Path) -> Result<(), DemoError> {
    let at = |path: &Path| {
        let name = path.display().to_string();
        move |error| DemoError::File(name, error)
    };
    let server = folder.join("server");
    for folder in [&server, &folder.join("phones")] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    for (name, text) in [("schema.json", world.schema_text.as_str()), ("rules.json", input_rules)] {
        fs::write(server.join(name), text).map_err(at(&server.join(name)))?;
    }
    for phone in &mut world.phones {
        let token =
            haversack_server::issue_token(&server.join("tokens.jsonl"), &phone.principal(), phone.role);
        phone.token = token.map_err(|error| DemoError::Proof(error.to_string()))?;
        world.needles.add_text(&phone.token);
        world.needles.add_bytes(phone.key());
        let hexadecimal: String = phone.key().iter().map(|byte| format!("{byte:02x}")).collect();
        world.needles.add_text(&hexadecimal);
    }
    Ok(())
}

/// Refuses a folder that holds anything: the stores in it have other keys.
fn is_free(folder: &Path) -> Result<(), DemoError> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(DemoError::NotEmpty(folder.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DemoError::File(folder.display().to_string(), error)),
    }
}

async fn play(
    arguments: &DemoArguments,
    folder: &Path,
    json: bool,
    stage: &mut Option<World>,
) -> Result<bool, DemoError> {
    is_free(folder)?;
    let console = Console::new(json);
    let Input { schema, schema_text, rules, rules_text, plan } = read_input(arguments, &console)?;
    console.headline(
        "a field day, played for real",
        &format!("1 server, 3 phones, {} records, no network yet", plan.records.len()),
    );
    console.bad_lines(&plan.bad_lines);
    let mut keys = [[0u8; 32]; 3];
    for key in &mut keys {
        SystemRandom::new()
            .fill(key)
            .map_err(|_| DemoError::Start(std::io::Error::other("no randomness")))?;
    }
    let ruled = rules.rules.iter();
    let ruled =
        ruled.filter_map(|rule| Some((rule.collection.clone(), rule.check.field()?.to_owned()))).collect();
    let world =
        stage.insert(World::new(console, (schema, schema_text), (plan, ruled), folder, keys, arguments.seed));
    prepare(world, &rules_text, folder)?;
    let stream = stages::register(world).await?;
    stages::kill(world, stream, folder).await?;
    stages::drain(world).await?;
    stages::refuse(world, &rules).await?;
    stages::conflict(world).await?;
    stages::override_field(world).await?;
    stages::outage(world).await?;
    world.console.section("PROOFS");
    let (proofs, counts) = proof::prove(world, folder).await?;
    world.server.kill().await;
    for proof in &proofs {
        world.console.proof(proof.holds, proof.proof, &proof.detail);
    }
    let failed = proofs.iter().filter(|proof| !proof.holds).count();
    if failed > 0 {
        for claim in world.claims.iter().filter(|claim| !claim.holds) {
            world.console.fact(&format!("failed: {}: {}", claim.stage, claim.claim));
        }
    }
    world.console.section("WHAT HAPPENED");
    for (count, what) in [
        (counts.devices, "phones and a server, each a process of its own"),
        (counts.records, "records, every one on every phone"),
        (counts.accepted, "change sets accepted"),
        (counts.refused, "refused, its input kept and corrected"),
        (counts.conflicts, "conflict decided alike, both values kept"),
        (counts.log_rows, "rows in the server's log, no gap"),
    ] {
        world.console.line(&format!("  {count:>6}  {what}"));
    }
    world.console.verdict(failed == 0, failed, proofs.len());
    if let Some(kept) = &arguments.keep {
        world.console.fact(&format!("kept in {}", kept.display()));
    }
    if json {
        summarise(world, &proofs, counts, arguments.seed);
    }
    Ok(failed == 0)
}

#[allow(clippy::print_stdout, reason = "the command's own output")]
fn summarise(world: &World, proofs: &[proof::Proof], counts: proof::Counts, seed: u64) {
    let skipped: Vec<_> = world.reports.iter().filter(|report| report.skipped.is_some()).collect();
    let summary = json!({
        "ok": proofs.iter().all(|proof| proof.holds),
        "seed": seed,
        "seconds": world.console.seconds(),
        "records": world.plan.records.len(),
        "change_sets": world.events.len(),
        "stages": world.reports,
        "skipped": skipped.len(),
        "claims": world.claims.len(),
        "failed_claims": world.claims.iter().filter(|claim| !claim.holds).collect::<Vec<_>>(),
        "counts": counts,
        "proofs": proofs,
        "searches": world.searches,
        "bad_lines": world.plan.bad_lines,
    });
    println!("{summary}");
}
