//! Moving the log of a copy into its database by hand, where SQLite does not open the two: page by page as they are, encrypted,
//! up to the last commit whose checksums hold. The form is SQLite's, documented and fixed.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::StoreError;
use crate::files::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;
const LOG_HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;
/// First bytes of a log, but for the lowest bit, which says in which order of bytes checksums are added up.
const MAGIC: u32 = 0x377f_0682;

/// A running checksum over pairs of numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Checksum {
    fn add(mut self, bytes: &[u8], is_big_endian: bool) -> Self {
        let number =
            |four: [u8; 4]| if is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            self.0 = self.0.wrapping_add(number([a, b, c, d])).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(number([e, f, g, h])).wrapping_add(self.0);
        }
        self
    }
}

/// A frame that is whole: a page, and how many pages the database has with it where it ends a commit.
struct Frame {
    page: u32,
    pages_after: u32,
    bytes: Vec<u8>,
}

/// Moves the log in, and empties it. A log that is missing, or damaged from its first commit on, changes nothing.
///
/// # Errors
/// A failure of the disk.
pub(super) fn move_in(log: &Path, database: &Path) -> Result<(), StoreError> {
    let source = match File::open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut source = BufReader::new(source);
    let mut head = [0; LOG_HEAD_BYTES];
    if !fill(&mut source, &mut head)? {
        return Ok(());
    }
    let is_big_endian = word(&head, 0) & 1 == 1;
    let mut sum = Checksum::default().add(&head[..24], is_big_endian);
    let is_ours = word(&head, 0) & !1 == MAGIC && u64::from(word(&head, 8)) == PAGE_BYTES;
    if !is_ours || sum != Checksum(word(&head, 24), word(&head, 28)) {
        return Ok(());
    }
    let mut database = File::options().write(true).open(database)?;
    let mut commit = vec![];
    while let Some(frame) = read_frame(&mut source, &head, &mut sum, is_big_endian)? {
        let pages_after = frame.pages_after;
        commit.push(frame);
        if pages_after > 0 {
            for frame in commit.drain(..) {
                database.seek(SeekFrom::Start((u64::from(frame.page) - 1) * PAGE_BYTES))?;
                database.write_all(&frame.bytes)?;
            }
            database.set_len(u64::from(pages_after) * PAGE_BYTES)?;
        }
    }
    Ok(File::options().write(true).open(log)?.set_len(0)?)
}

/// The next frame; `None` at the end, and where it is not of this log or not whole.
fn read_frame(
    source: &mut impl Read,
    log_head: &[u8; LOG_HEAD_BYTES],
    sum: &mut Checksum,
    is_big_endian: bool,
) -> Result<Option<Frame>, StoreError> {
    let (mut head, mut bytes) = ([0; FRAME_HEAD_BYTES], vec![0; PAGE]);
    if !fill(source, &mut head)? || !fill(source, &mut bytes)? || head[8..16] != log_head[16..24] {
        return Ok(None);
    }
    *sum = sum.add(&head[..8], is_big_endian).add(&bytes, is_big_endian);
    let (page, pages_after) = (word(&head, 0), word(&head, 4));
    let is_whole = *sum == Checksum(word(&head, 16), word(&head, 20)) && page > 0;
    Ok(is_whole.then_some(Frame { page, pages_after, bytes }))
}

/// Fills a place; false where the source ends before.
fn fill(source: &mut impl Read, place: &mut [u8]) -> Result<bool, StoreError> {
    match source.read_exact(place) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(true),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use rusqlite::config::DbConfig;

    use super::*;

    /// A database with a log as a killed process leaves them, and what it holds when the log is moved in by SQLite.
    fn killed(folder: &Path) -> (Vec<u8>, Vec<u8>) {
        let connection = Connection::open(folder.join("a.db")).unwrap();
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (n)")
            .unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        for n in 0..40 {
            connection.execute("INSERT INTO t VALUES (zeroblob(3000) || ?1)", [n]).unwrap();
        }
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let found = (read("a.db"), read("a.db-wal"));
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        found
    }

    fn moved_in(folder: &Path, database: &[u8], log: &[u8]) -> Vec<u8> {
        let (path, log_path) = (folder.join("b.db"), folder.join("b.db-wal"));
        std::fs::write(&path, database).unwrap();
        std::fs::write(&log_path, log).unwrap();
        move_in(&log_path, &path).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_log_moved_in_by_hand_gives_what_sqlite_makes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (database, log) = killed(folder.path());
        let by_sqlite = std::fs::read(folder.path().join("a.db")).unwrap();
        assert!(moved_in(folder.path(), &database, &log) == by_sqlite && by_sqlite != database);
        assert_eq!(std::fs::metadata(folder.path().join("b.db-wal")).unwrap().len(), 0);
        std::fs::remove_file(folder.path().join("b.db-wal")).unwrap();
        move_in(&folder.path().join("b.db-wal"), &folder.path().join("b.db")).unwrap();
    }

    #[test]
    fn of_a_damaged_or_cut_log_whole_commits_before_the_damage_are_moved_in() {
        let folder = tempfile::tempdir().unwrap();
        let (database, log) = killed(folder.path());
        let rows = |database: Vec<u8>| -> i64 {
            std::fs::write(folder.path().join("c.db"), database).unwrap();
            let connection = Connection::open(folder.path().join("c.db")).unwrap();
            let ok: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(ok, "ok");
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
        };
        let mut before = 0;
        for place in (0..log.len()).step_by(log.len() / 60) {
            let mut damaged = log.clone();
            damaged[place] ^= 0x10;
            let found = rows(moved_in(folder.path(), &database, &damaged));
            assert!(found >= before && found < 40, "byte {place}: {found} after {before}");
            assert!(rows(moved_in(folder.path(), &database, &log[..place])) <= found + 1);
            before = found;
        }
        assert!(before > 30, "{before}");
    }
}
