//! Pages: rows of the log as one device may see them, each page with the cursor that covers it.

use haversack_core::inspect;
use haversack_protocol::limits::{BODY_COMPRESSED_BYTES_MAX, PAGE_BYTES_TARGET, PAGE_ROWS_MAX};
use haversack_protocol::{DeviceId, FrameKind, FrameRefusal, LogRow, PageBody, PartChange, encode_frame};

use super::cursor::seal_cursor;
use crate::store::{Identity, Reader, StoreRefusal, StoredRow};

/// Pages in one reply.
const PAGES_PER_REPLY_MAX: usize = 4;
/// Invisible rows a device passes over silently; beyond them it is given a cursor to begin behind.
const INVISIBLE_ROWS_MAX: u64 = PAGE_ROWS_MAX as u64;

/// Why pages cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadRefusal {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreRefusal),
    /// A page does not fit into a frame.
    #[error(transparent)]
    Frame(#[from] FrameRefusal),
}

/// What a device asks of the log.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) device: DeviceId,
    /// Position it has read up to.
    pub(crate) after: u64,
    pub(crate) page_bytes_max: usize,
    pub(crate) echo_in_full: bool,
    /// Bytes the rest of the reply takes.
    pub(crate) reply_bytes_taken: usize,
}

/// Encoded page frames.
pub(crate) struct Pages {
    pub(crate) frames: Vec<u8>,
    pub(crate) count: u64,
    /// More rows wait behind them.
    pub(crate) more: bool,
}

/// Reads as many pages as one reply carries. No page when nothing is new.
///
/// # Errors
/// [`ReadRefusal`].
pub(crate) fn read_pages(
    identity: &Identity,
    reader: &Reader<'_>,
    asked: Asked,
) -> Result<Pages, ReadRefusal> {
    let head = reader.head()?;
    let mut pages = Pages { frames: Vec::new(), count: 0, more: false };
    let mut after = asked.after;
    for _ in 0..PAGES_PER_REPLY_MAX {
        let page = collect(reader, after, asked)?;
        let last = page.rows.last().map(LogRow::position);
        let up_to = if page.is_full { last.unwrap_or(head) } else { head };
        let is_worth_a_page = last.is_some() || up_to - after > INVISIBLE_ROWS_MAX;
        if !is_worth_a_page {
            return Ok(Pages { more: false, ..pages });
        }
        let chain = reader.chain_at(up_to)?.ok_or(StoreRefusal::Damaged("log"))?;
        let body = PageBody { rows: page.rows, cursor_after: seal_cursor(identity, up_to, &chain) };
        let mut frame = Vec::new();
        encode_frame(FrameKind::Page, &body, &mut frame)?;
        if asked.reply_bytes_taken + pages.frames.len() + frame.len() > BODY_COMPRESSED_BYTES_MAX {
            return Ok(Pages { more: true, ..pages });
        }
        pages.frames.extend(frame);
        pages.count += 1;
        pages.more = page.is_full;
        if !page.is_full {
            break;
        }
        after = up_to;
    }
    Ok(pages)
}

struct Collected {
    rows: Vec<LogRow>,
    /// It ended because of its size; another visible row follows.
    is_full: bool,
}

fn collect(reader: &Reader<'_>, after: u64, asked: Asked) -> Result<Collected, StoreRefusal> {
    let bytes_max = asked.page_bytes_max.min(PAGE_BYTES_TARGET);
    let mut page = Collected { rows: Vec::new(), is_full: false };
    let mut bytes = 0usize;
    reader.each_row_after(after, asked.device, |stored| {
        let (row, row_bytes) = as_seen(stored, asked);
        let does_not_fit = !page.rows.is_empty() && bytes + row_bytes > bytes_max;
        page.is_full = does_not_fit || page.rows.len() == PAGE_ROWS_MAX;
        if !page.is_full {
            bytes += row_bytes;
            page.rows.push(row);
        }
        !page.is_full
    })?;
    Ok(page)
}

/// The row as the asking device gets it: of its own changes only the hashes, for it holds the bytes.
fn as_seen(stored: StoredRow, asked: Asked) -> (LogRow, usize) {
    let StoredRow { mut row, bytes } = stored;
    let LogRow::Accepted(accepted) = &mut row else { return (row, bytes) };
    if asked.echo_in_full || accepted.origin.device != asked.device {
        return (row, bytes);
    }
    let mut saved = 0usize;
    for part in &mut accepted.parts {
        if let PartChange::Full(change) = &part.change
            && let Ok(header) = inspect(change)
        {
            saved += change.len().saturating_sub(header.hash.as_bytes().len());
            part.change = PartChange::Own(header.hash);
        }
    }
    (row, bytes.saturating_sub(saved))
}
