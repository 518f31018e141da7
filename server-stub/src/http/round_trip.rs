//! The round trip itself, whoever carries it: what is checked before anything is decided, and what is answered.

use haversack_protocol::limits::CHANGE_SETS_PER_PUSH_MAX;
use haversack_protocol::{
    Code, DeviceId, DeviceReply, DeviceRequest, EndBody, FrameKind, HelloBody, HintBody, PackedFrame,
    ProtocolRange, SyncRequest, UnixMillis, encode_frame,
};

use super::auth::Bearer;
use super::problem::Problem;
use crate::admission::{Answer, Job, Law, PushJob};
use crate::log::{Asked, open_cursor, read_pages};
use crate::metrics::Metrics;
use crate::store::Readers;

/// Bytes the last frame takes.
const END_BYTES: usize = 32;

/// What a round trip stands on.
pub(crate) struct Ground<'a> {
    pub(crate) law: &'a Law,
    pub(crate) readers: &'a Readers,
    pub(crate) metrics: &'a Metrics,
}

/// A request whose sender, size, versions and cursor are in order.
pub(crate) struct Opened {
    /// What the writer is asked, if anything.
    pub(crate) job: Option<Job>,
    /// What the writer is asked first: to keep a receipt for erasures that is news.
    pub(crate) receipt: Option<Job>,
    hello: HelloBody,
    asked: Asked,
}

impl Ground<'_> {
    /// Checks everything about a request before anything in it is decided.
    pub(crate) fn open(
        &self,
        bearer: Bearer,
        request: SyncRequest,
        now: UnixMillis,
    ) -> Result<Opened, Problem> {
        let ours = self.law.schema.version;
        let protocol = common_version(request.protocol)?;
        if request.principal != bearer.principal {
            return Err(Problem::new(Code::Tenant, "the token speaks for another principal"));
        }
        if request.push.len() > CHANGE_SETS_PER_PUSH_MAX || request.withdraw.len() > CHANGE_SETS_PER_PUSH_MAX
        {
            return Err(Problem::new(Code::Limit, "too many change sets in one push"));
        }
        let device = request.device;
        let (after, receipt) = self.readers.read(|reader| {
            if reader.principal_of(device)?.as_ref() != Some(&bearer.principal) {
                return Err(Problem::new(Code::DeviceRevoked, "the device is not one of this principal"));
            }
            let kept = reader.receipt_of(device)?;
            let news = request.erased_position.filter(|position| *position > kept);
            let receipt = news.map(|position| Job::Receipt { device, position });
            match &request.cursor {
                Some(cursor) => Ok((open_cursor(&self.law.identity, reader, cursor)?, receipt)),
                None => Ok((0, receipt)),
            }
        })?;
        let asked = Asked {
            device,
            after,
            page_bytes_max: usize::try_from(request.page_bytes_max).unwrap_or(usize::MAX),
            echo_in_full: request.echo_in_full,
            reply_bytes_taken: 0,
        };
        let has_work = !request.push.is_empty() || !request.withdraw.is_empty();
        let hello = HelloBody { protocol, now, schema_version: ours, role: bearer.role };
        let job = PushJob {
            device,
            principal: bearer.principal,
            role: bearer.role,
            push_ordinal: request.push_ordinal,
            device_now: request.now,
            skew_ms: now.0.saturating_sub(request.now.0),
            push: request.push,
            withdraw: request.withdraw,
        };
        Ok(Opened { job: has_work.then(|| Job::Push(Box::new(job))), receipt, hello, asked })
    }

    /// The frame that tells what became of the push; no bytes where there was none.
    pub(crate) fn hints(&self, answer: Option<Answer>) -> Result<Vec<u8>, Problem> {
        let mut frame = Vec::new();
        if let Some(answer) = answer {
            let answers: HintBody = answer.pushed().ok_or_else(answered_otherwise)?;
            self.metrics.pushed(&answers);
            encode_frame(FrameKind::Hints, &answers, &mut frame)?;
        }
        Ok(frame)
    }

    /// The frames of the whole reply.
    pub(crate) fn reply(&self, opened: Opened, hints: &[u8]) -> Result<Vec<u8>, Problem> {
        let Opened { hello, mut asked, .. } = opened;
        let mut frames = Vec::new();
        encode_frame(FrameKind::Hello, &hello, &mut frames)?;
        asked.reply_bytes_taken = frames.len() + hints.len() + END_BYTES;
        let (identity, metrics) = (&self.law.identity, self.metrics);
        let pages = self.readers.read(|reader| read_pages(identity, reader, asked).map_err(Problem::from))?;
        metrics.pages.add(pages.count);
        metrics.page_bytes.add(pages.frames.len() as u64);
        frames.extend(pages.frames);
        frames.extend(hints);
        encode_frame(FrameKind::End, &EndBody { more: pages.more }, &mut frames)?;
        metrics.reply_bytes.add(frames.len() as u64);
        Ok(frames)
    }
}

/// What the writer is asked at first contact.
pub(crate) fn registration(bearer: &Bearer, request: &DeviceRequest) -> Result<Job, Problem> {
    common_version(request.protocol)?;
    Ok(Job::Register { installation: request.installation, principal: bearer.principal.clone() })
}

/// The reply to a first contact.
pub(crate) fn registered(bearer: Bearer, answer: &Answer) -> Result<Vec<u8>, Problem> {
    let (device, push_ordinal): (DeviceId, u64) = answer.registered().ok_or_else(answered_otherwise)?;
    let reply = DeviceReply { device, principal: bearer.principal, role: bearer.role, push_ordinal };
    let mut frames = Vec::new();
    encode_frame(FrameKind::DeviceReply, &reply, &mut frames)?;
    Ok(frames)
}

/// The one frame a request holds; nothing is decompressed when there is more than one, or one of another kind.
pub(crate) fn only_frame(bytes: &[u8], kind: FrameKind) -> Result<PackedFrame<'_>, Problem> {
    let packed = PackedFrame::only(bytes)?;
    let other = Problem::new(Code::Malformed, "the message is not the one expected here");
    if packed.kind() == kind { Ok(packed) } else { Err(other) }
}

/// The protocol version both sides speak.
fn common_version(theirs: ProtocolRange) -> Result<u16, Problem> {
    let common = theirs.highest_common(ProtocolRange::OURS);
    common.ok_or(Problem::new(Code::Upgrade, "no protocol version in common"))
}

fn answered_otherwise() -> Problem {
    Problem::internal("the writer answered something else")
}
