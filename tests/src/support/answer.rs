//! A sync reply taken apart, for putting it together wrongly.

use haversack_protocol::{
    EndBody, FrameKind, HelloBody, HintBody, LogRow, PageBody, decode_frames, encode_frame,
};

/// The frames of a sync reply.
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
    /// Reads a reply of the real server.
    pub fn read(bytes: &[u8]) -> Self {
        let frames = decode_frames(bytes).expect("frames of ours");
        let first = |kind| frames.iter().find(|frame| frame.kind == kind);
        let pages = frames.iter().filter(|frame| frame.kind == FrameKind::Page);
        Self {
            hello: first(FrameKind::Hello).expect("a hello").read().expect("whole"),
            pages: pages.map(|frame| frame.read().expect("whole")).collect(),
            hints: first(FrameKind::Hints).map(|frame| frame.read().expect("whole")),
            end: first(FrameKind::End).expect("an end").read().expect("whole"),
        }
    }

    /// Writes it with sound checksums.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(FrameKind::Hello, &self.hello, &mut bytes).expect("small");
        for page in &self.pages {
            encode_frame(FrameKind::Page, page, &mut bytes).expect("small");
        }
        if let Some(hints) = &self.hints {
            encode_frame(FrameKind::Hints, hints, &mut bytes).expect("small");
        }
        encode_frame(FrameKind::End, &self.end, &mut bytes).expect("small");
        bytes
    }

    /// Every log row of every page, to be changed in place.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut LogRow> {
        self.pages.iter_mut().flat_map(|page| &mut page.rows)
    }
}

/// A well-formed reply that says nothing about anything.
pub fn empty_reply(bytes: &[u8]) -> Vec<u8> {
    let answer = Answer::read(bytes);
    Answer { pages: vec![], hints: None, end: EndBody { more: false }, ..answer }.write()
}
