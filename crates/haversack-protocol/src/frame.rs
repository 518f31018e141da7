//! Frames: the only form in which bytes cross the wire.
//!
//! ```text
//! magic "HVSK" | kind u8 | flags u8 | body length u32 LE | raw length u32 LE | CRC-32C u32 LE | body
//! ```
//! The checksum covers kind, flags, both lengths and the body. Flag 1 says the body is zstd. A body is CBOR. A message
//! is one or more frames end to end. A captive portal's page fails at the first four bytes.

use crate::limits::{BODY_COMPRESSED_BYTES_MAX, BODY_RAW_BYTES_MAX, MESSAGE_RAW_BYTES_MAX};

/// Media type of requests and replies.
pub const MEDIA_TYPE: &str = "application/vnd.haversack";

const MAGIC: [u8; 4] = *b"HVSK";
const HEADER_BYTES: usize = 18;
const FLAG_ZSTD: u8 = 1;
/// Bodies below this size do not gain from compression.
const COMPRESS_FROM_BYTES: usize = 160;
/// On synthetic visits level 3 is within 4 % of level 9 and several times faster.
const ZSTD_LEVEL: i32 = 3;
/// Frames in one message.
const FRAMES_MAX: usize = 64;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// `DeviceRequest`.
    DeviceRequest = 1,
    /// `DeviceReply`.
    DeviceReply = 2,
    /// `SyncRequest`.
    SyncRequest = 3,
    /// `HelloBody`.
    Hello = 4,
    /// `PageBody`.
    Page = 5,
    /// `HintBody`.
    Hints = 6,
    /// `EndBody`.
    End = 7,
    /// `ProblemBody`.
    Problem = 8,
    /// `PokeBody`.
    Poke = 9,
}

impl FrameKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::DeviceRequest,
            2 => Self::DeviceReply,
            3 => Self::SyncRequest,
            4 => Self::Hello,
            5 => Self::Page,
            6 => Self::Hints,
            7 => Self::End,
            8 => Self::Problem,
            9 => Self::Poke,
            _ => return None,
        })
    }
}

/// Frame kinds from this number on may be skipped by a reader that does not know them.
const FIRST_OPTIONAL_KIND: u8 = 0x80;

/// Why bytes are not frames of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameRefusal {
    /// Does not begin as our frames do: a captive portal, a proxy, another service.
    #[error("the answer is not from a Haversack server (a captive portal or proxy may have answered)")]
    NotOurs,
    /// Ends in the middle of a frame.
    #[error("the message was cut off")]
    CutOff,
    /// Checksum does not match.
    #[error("the message was damaged on the way")]
    Damaged,
    /// Larger than the limits, or claims to be.
    #[error("the message exceeds the size limits")]
    TooLarge,
    /// Not the CBOR the kind demands.
    #[error("the message does not hold what its kind demands")]
    Malformed,
    /// A frame kind this build must understand but does not.
    #[error("the message needs a newer protocol (frame kind {0})")]
    UnknownKind(u8),
}

/// One frame, decompressed and checked; its body is still CBOR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: FrameKind,
    /// CBOR bytes.
    pub body: Vec<u8>,
}

impl Frame {
    /// Reads the body as `T`; bytes left over are refused.
    ///
    /// # Errors
    /// [`FrameRefusal::Malformed`].
    pub fn read<'b, T: minicbor::Decode<'b, ()>>(&'b self) -> Result<T, FrameRefusal> {
        let mut decoder = minicbor::Decoder::new(&self.body);
        let value = decoder.decode().map_err(|_| FrameRefusal::Malformed)?;
        if decoder.position() != self.body.len() {
            return Err(FrameRefusal::Malformed);
        }
        Ok(value)
    }
}

fn checksum(kind: u8, flags: u8, lengths: &[u8], body: &[u8]) -> u32 {
    let header = crc32c::crc32c_append(crc32c::crc32c(&[kind, flags]), lengths);
    crc32c::crc32c_append(header, body)
}

/// Appends one frame holding `value` to `out`.
///
/// # Errors
/// [`FrameRefusal::TooLarge`] when the body exceeds the limits.
pub fn encode_frame<T: minicbor::Encode<()>>(
    kind: FrameKind,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), FrameRefusal> {
    let raw = minicbor::to_vec(value).map_err(|_| FrameRefusal::Malformed)?;
    if raw.len() > BODY_RAW_BYTES_MAX {
        return Err(FrameRefusal::TooLarge);
    }
    let packed = if raw.len() >= COMPRESS_FROM_BYTES {
        zstd::bulk::compress(&raw, ZSTD_LEVEL).ok().filter(|packed| packed.len() < raw.len())
    } else {
        None
    };
    let (flags, body) = match &packed {
        Some(packed) => (FLAG_ZSTD, packed.as_slice()),
        None => (0, raw.as_slice()),
    };
    if body.len() > BODY_COMPRESSED_BYTES_MAX {
        return Err(FrameRefusal::TooLarge);
    }
    let length = |n: usize| u32::try_from(n).map_err(|_| FrameRefusal::TooLarge);
    let mut lengths = length(body.len())?.to_le_bytes().to_vec();
    lengths.extend(length(raw.len())?.to_le_bytes());
    out.extend(MAGIC);
    out.extend([kind as u8, flags]);
    out.extend(&lengths);
    out.extend(checksum(kind as u8, flags, &lengths, body).to_le_bytes());
    out.extend(body);
    Ok(())
}

/// Splits a message into frames. Frames of unknown optional kinds are left out.
///
/// # Errors
/// [`FrameRefusal`]; no body is decompressed beyond the length its header states, nor beyond the limits of a frame and
/// of a message.
pub fn decode_frames(mut bytes: &[u8]) -> Result<Vec<Frame>, FrameRefusal> {
    let mut frames = Vec::new();
    let mut raw_bytes = 0;
    while !bytes.is_empty() {
        let (packed, rest) = Packed::split(bytes)?;
        raw_bytes += packed.raw_len;
        if frames.len() == FRAMES_MAX || raw_bytes > MESSAGE_RAW_BYTES_MAX {
            return Err(FrameRefusal::TooLarge);
        }
        bytes = rest;
        match FrameKind::from_byte(packed.kind) {
            Some(kind) => frames.push(Frame { kind, body: packed.unpack()? }),
            None if packed.kind >= FIRST_OPTIONAL_KIND => {}
            None => return Err(FrameRefusal::UnknownKind(packed.kind)),
        }
    }
    if frames.is_empty() {
        return Err(FrameRefusal::NotOurs);
    }
    Ok(frames)
}

/// Reads a message that is one frame, as requests are.
///
/// # Errors
/// [`FrameRefusal`]; nothing is decompressed when more follows.
pub fn decode_only_frame(bytes: &[u8]) -> Result<Frame, FrameRefusal> {
    PackedFrame::only(bytes)?.unpack()
}

/// The one frame of a message, its checksum checked and its body as it came: a reader can make room before it unpacks.
#[derive(Clone, Copy, Debug)]
pub struct PackedFrame<'a> {
    kind: FrameKind,
    packed: Packed<'a>,
}

impl<'a> PackedFrame<'a> {
    /// Reads the header of a message that is one frame.
    ///
    /// # Errors
    /// [`FrameRefusal`].
    pub fn only(bytes: &'a [u8]) -> Result<Self, FrameRefusal> {
        let (packed, rest) = Packed::split(bytes)?;
        if !rest.is_empty() {
            return Err(FrameRefusal::Malformed);
        }
        let kind = FrameKind::from_byte(packed.kind).ok_or(FrameRefusal::UnknownKind(packed.kind))?;
        Ok(Self { kind, packed })
    }

    /// What it holds.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Bytes its body takes once unpacked: never more, whatever is inside.
    pub const fn raw_bytes(&self) -> usize {
        self.packed.raw_len
    }

    /// Decompresses the body.
    ///
    /// # Errors
    /// [`FrameRefusal::Malformed`].
    pub fn unpack(&self) -> Result<Frame, FrameRefusal> {
        Ok(Frame { kind: self.kind, body: self.packed.unpack()? })
    }
}

/// A frame whose checksum holds, its body as it came.
#[derive(Clone, Copy, Debug)]
struct Packed<'a> {
    kind: u8,
    flags: u8,
    raw_len: usize,
    body: &'a [u8],
}

impl<'a> Packed<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FrameRefusal> {
        let begin = &bytes[..bytes.len().min(MAGIC.len())];
        if begin.is_empty() || begin != &MAGIC[..begin.len()] {
            return Err(FrameRefusal::NotOurs);
        }
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(FrameRefusal::CutOff)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (kind, flags) = (header[4], header[5]);
        let (body_len, raw_len) = (number(6) as usize, number(10) as usize);
        if body_len > BODY_COMPRESSED_BYTES_MAX || raw_len > BODY_RAW_BYTES_MAX {
            return Err(FrameRefusal::TooLarge);
        }
        let (body, rest) = rest.split_at_checked(body_len).ok_or(FrameRefusal::CutOff)?;
        if checksum(kind, flags, &header[6..14], body) != number(14) {
            return Err(FrameRefusal::Damaged);
        }
        Ok((Self { kind, flags, raw_len, body }, rest))
    }

    fn unpack(&self) -> Result<Vec<u8>, FrameRefusal> {
        let raw = match self.flags {
            0 => self.body.to_vec(),
            FLAG_ZSTD => {
                zstd::bulk::decompress(self.body, self.raw_len).map_err(|_| FrameRefusal::Malformed)?
            }
            _ => return Err(FrameRefusal::Malformed),
        };
        if raw.len() == self.raw_len { Ok(raw) } else { Err(FrameRefusal::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndBody, ProblemBody};
    use quickcheck::quickcheck;

    fn message(detail: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let problem = ProblemBody { code: crate::Code::Busy, detail: detail.to_owned() };
        encode_frame(FrameKind::Problem, &problem, &mut out).expect("small");
        encode_frame(FrameKind::End, &EndBody { more: true }, &mut out).expect("small");
        out
    }

    quickcheck! {
        fn frames_round_trip(detail: String) -> bool {
            let frames = decode_frames(&message(&detail)).expect("ours");
            let problem: ProblemBody = frames[0].read().expect("a problem");
            problem.detail == detail && frames[1].read() == Ok(EndBody { more: true })
        }

        fn a_message_cut_anywhere_is_refused_or_shorter(detail: String, at: usize) -> bool {
            let whole = message(&detail);
            let at = at % whole.len();
            decode_frames(&whole[..at]).map_or(true, |frames| frames.len() == 1)
        }

        fn a_flipped_bit_is_always_noticed(detail: String, bit: usize) -> bool {
            let mut bytes = message(&detail);
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            decode_frames(&bytes).is_err()
        }
    }

    #[test]
    fn a_captive_portal_is_not_mistaken_for_a_server() {
        for page in ["<!DOCTYPE html><html>Sign in</html>", "", "{}", "H"] {
            let refusal = decode_frames(page.as_bytes()).expect_err("not ours");
            assert!(matches!(refusal, FrameRefusal::NotOurs | FrameRefusal::CutOff), "{page}");
        }
    }

    #[test]
    fn a_body_that_inflates_beyond_its_stated_length_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0u8; 3 * 1024 * 1024], 3).expect("compresses");
        let mut lengths = u32::try_from(bomb.len()).expect("small").to_le_bytes().to_vec();
        lengths.extend(1000u32.to_le_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend([FrameKind::Page as u8, FLAG_ZSTD]);
        bytes.extend(&lengths);
        bytes.extend(checksum(FrameKind::Page as u8, FLAG_ZSTD, &lengths, &bomb).to_le_bytes());
        bytes.extend(&bomb);
        assert_eq!(decode_frames(&bytes), Err(FrameRefusal::Malformed));
    }

    #[test]
    fn an_unknown_critical_kind_asks_for_an_upgrade_and_an_optional_one_is_skipped() {
        let mut unknown = message("x");
        unknown[4] = 0x70;
        let crc = checksum(0x70, unknown[5], &unknown[6..14], &unknown[18..18 + unknown[6] as usize]);
        unknown[14..18].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_frames(&unknown), Err(FrameRefusal::UnknownKind(0x70)));
        unknown[4] = 0x90;
        let crc = checksum(0x90, unknown[5], &unknown[6..14], &unknown[18..18 + unknown[6] as usize]);
        unknown[14..18].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_frames(&unknown).map(|frames| frames.len()), Ok(1));
    }

    /// A frame of zeros, which compresses a thousandfold.
    fn bulky(raw_len: usize) -> Vec<u8> {
        let packed = zstd::bulk::compress(&vec![0u8; raw_len], 3).expect("compresses");
        let mut lengths = u32::try_from(packed.len()).expect("small").to_le_bytes().to_vec();
        lengths.extend(u32::try_from(raw_len).expect("small").to_le_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend([FrameKind::Page as u8, FLAG_ZSTD]);
        bytes.extend(&lengths);
        bytes.extend(checksum(FrameKind::Page as u8, FLAG_ZSTD, &lengths, &packed).to_le_bytes());
        bytes.extend(&packed);
        bytes
    }

    #[test]
    fn frames_that_add_up_beyond_a_message_are_refused() {
        let four = bulky(BODY_RAW_BYTES_MAX).repeat(4);
        assert_eq!(decode_frames(&four).map(|frames| frames.len()), Ok(4));
        assert_eq!(decode_frames(&bulky(BODY_RAW_BYTES_MAX).repeat(5)), Err(FrameRefusal::TooLarge));
    }

    #[test]
    fn a_message_of_one_frame_holds_no_other() {
        let one = bulky(1000);
        assert_eq!(decode_only_frame(&one).map(|frame| frame.body.len()), Ok(1000));
        assert_eq!(decode_only_frame(&one.repeat(2)), Err(FrameRefusal::Malformed));
        assert_eq!(decode_only_frame(b""), Err(FrameRefusal::NotOurs));
    }
}
