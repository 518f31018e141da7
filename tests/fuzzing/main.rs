//! Foreign bytes by the thousand: every kept input, and mutations of them from a seed that a failure names. No panic, no
//! abort, bounded memory; `HAVERSACK_FUZZ_CASES` makes it as long as one likes.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use haversack_tests::{TARGETS, Target, fed_store_is_sound, feed};

mod seeds;

/// Cases of each target when nobody asks for more.
const CASES: u64 = 2_000;
/// Kibibytes a target may take beyond what the process took before it.
#[cfg(target_os = "linux")]
const MEMORY_KIB_MAX: u64 = 64 << 10;
/// Bytes of a mutated input; larger ones say nothing new.
const INPUT_BYTES_MAX: usize = 1 << 16;

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/corpus").join(target.name)
}

fn kept(target: &Target) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(target)).expect("kept inputs");
    let mut kept: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("read");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).expect("read"))
        })
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "{} has kept inputs", target.name);
    kept
}

/// Random numbers that follow from their seed (splitmix).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }
}

/// One to four edits: a bit, a byte, a number at its edge, a cut, a piece repeated, a piece of another input.
fn mutated(chance: &mut Chance, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 0x1b, 0x7f, 0x80, 0x9f, 0xbf, 0xff];
    let mut bytes = inputs[chance.below(inputs.len())].1.clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            2 if !bytes.is_empty() => bytes[at] = EDGES[chance.below(EDGES.len())],
            3 => bytes.truncate(at),
            4 => bytes.insert(at.min(bytes.len()), EDGES[chance.below(EDGES.len())]),
            5 => {
                let end = (at + chance.below(40)).min(bytes.len());
                let piece = bytes[at.min(end)..end].repeat(1 + chance.below(50));
                let tail = bytes.split_off(end);
                bytes.extend([piece, tail].concat());
            }
            6 => {
                let other = &inputs[chance.below(inputs.len())].1;
                let from = chance.below(other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn cases() -> u64 {
    std::env::var("HAVERSACK_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

/// Kibibytes of the most memory this process ever took.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("stated");
    line.trim_matches(['\t', ' ', 'k', 'B']).parse().expect("a number")
}

#[test]
fn no_kept_and_no_mutated_input_makes_a_decoder_panic_or_take_memory() {
    let only = std::env::var("HAVERSACK_FUZZ_TARGET").ok();
    for target in TARGETS.iter().filter(|target| only.as_deref().is_none_or(|only| only == target.name)) {
        let inputs = kept(target);
        for (name, input) in &inputs {
            assert!(catch_unwind(|| (target.run)(input)).is_ok(), "{}/{name}", target.name);
        }
        #[cfg(target_os = "linux")]
        let before = peak_kib();
        for case in 0..cases() {
            let mut chance = Chance(case);
            let mut bytes = mutated(&mut chance, &inputs);
            if chance.below(2) == 0 {
                (target.repair)(&mut bytes);
            }
            let outcome = catch_unwind(|| (target.run)(&bytes));
            assert!(outcome.is_ok(), "{} case {case}: {bytes:02x?}", target.name);
        }
        #[cfg(target_os = "linux")]
        {
            // The mark may fall by what the kernel had not yet added up.
            let above = peak_kib().saturating_sub(before);
            assert!(above <= MEMORY_KIB_MAX, "{}: {above} KiB", target.name);
        }
    }
    fed_store_is_sound();
}

#[test]
fn every_target_has_its_wrapper_for_a_fuzzer_guided_by_coverage() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("read");
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for Target { name, .. } in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let wrapper = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("read");
        assert!(wrapper.contains(&format!("haversack_tests::feed(\"{name}\", bytes)")), "{name}");
        for (_, input) in kept(TARGETS.iter().find(|target| target.name == *name).expect("itself")) {
            feed(name, &input);
        }
    }
}
