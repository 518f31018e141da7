//! A sync reply taken apart, for putting it together otherwise.

use haversack_protocol::{
    EndBody, FrameKind, HelloBody, HintBody, LogRow, PageBody, decode_frames, encode_frame,
};

/// The frames of a sync reply, for tests of the wire itself.
#[derive(Clone, Debug)]
pub struct Answer {
    /// First frame.
    pub hello: HelloBody,
    /// Pages of the log.
    pub pages: Vec<PageBody>,
    /// What became of the push.
    pub hints: Option<HintBody>,
    /// Last frame.
    pub end: EndBody,
}

impl Answer {
    /// Reads a reply of the real server; `None` for anything that is not a whole one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let frames = decode_frames(bytes).ok()?;
        let first = |kind| frames.iter().find(|frame| frame.kind == kind);
        let pages = frames.iter().filter(|frame| frame.kind == FrameKind::Page);
        Some(Self {
            hello: first(FrameKind::Hello)?.read().ok()?,
            pages: pages.map(|frame| frame.read().ok()).collect::<Option<_>>()?,
            hints: match first(FrameKind::Hints) {
                Some(frame) => Some(frame.read().ok()?),
                None => None,
            },
            end: first(FrameKind::End)?.read().ok()?,
        })
    }

    /// Writes it with sound checksums.
    ///
    /// # Panics
    /// When a test made a frame of it larger than the wire allows.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(FrameKind::Hello, &self.hello, &mut bytes).expect("as large as what a server sends");
        for page in &self.pages {
            encode_frame(FrameKind::Page, page, &mut bytes).expect("as large as what a server sends");
        }
        if let Some(hints) = &self.hints {
            encode_frame(FrameKind::Hints, hints, &mut bytes).expect("as large as what a server sends");
        }
        encode_frame(FrameKind::End, &self.end, &mut bytes).expect("as large as what a server sends");
        bytes
    }

    /// Every log row of every page, to be changed in place.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut LogRow> {
        self.pages.iter_mut().flat_map(|page| &mut page.rows)
    }
}
