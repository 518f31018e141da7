//! The one round trip: hello, push and pull.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use haversack_protocol::limits::CHANGE_SETS_PER_PUSH_MAX;
use haversack_protocol::{Code, EndBody, FrameKind, HelloBody, HintBody, SyncRequest, encode_frame};

use super::auth::Bearer;
use super::body::{Arrived, Read, common_version};
use super::problem::Problem;
use super::{Service, framed_as, now, off_the_reactor};
use crate::admission::{Answer, Job, PushJob};
use crate::log::{Asked, open_cursor, read_pages};

/// Bytes the last frame takes.
const END_BYTES: usize = 32;

pub(super) async fn sync(State(service): State<Arc<Service>>, arrived: Arrived) -> Result<Response, Problem> {
    let Read { bearer, request, room } = arrived.read(&service, FrameKind::SyncRequest).await?;
    let opened = off_the_reactor({
        let service = Arc::clone(&service);
        move || open(&service, bearer, request)
    })
    .await?;
    let Opened { hello, job, receipt, mut asked } = opened;
    if let Some(position) = receipt {
        service.writer.run(Job::Receipt { device: asked.device, position }).await?;
    }
    let mut hints = Vec::new();
    if let Some(job) = job {
        let answers = push(&service, job).await?;
        encode_frame(FrameKind::Hints, &answers, &mut hints)?;
    }
    drop(room);
    let room = service.rooms.leaving().await?;
    let frames = off_the_reactor(move || {
        let mut frames = Vec::new();
        encode_frame(FrameKind::Hello, &hello, &mut frames)?;
        asked.reply_bytes_taken = frames.len() + hints.len() + END_BYTES;
        let (identity, metrics) = (&service.law.identity, &service.metrics);
        let pages =
            service.readers.read(|reader| read_pages(identity, reader, asked).map_err(Problem::from))?;
        metrics.pages.add(pages.count);
        metrics.page_bytes.add(pages.frames.len() as u64);
        frames.extend(pages.frames);
        frames.extend(hints);
        encode_frame(FrameKind::End, &EndBody { more: pages.more }, &mut frames)?;
        metrics.reply_bytes.add(frames.len() as u64);
        Ok(frames)
    })
    .await?;
    Ok(framed_as(room.body(frames)))
}

async fn push(service: &Service, job: PushJob) -> Result<HintBody, Problem> {
    match service.writer.run(Job::Push(Box::new(job))).await? {
        Answer::Pushed(answers) => {
            service.metrics.pushed(&answers);
            Ok(answers)
        }
        _ => Err(Problem::internal("the writer answered something else")),
    }
}

/// A request whose sender, size, versions and cursor are in order.
struct Opened {
    hello: HelloBody,
    job: Option<PushJob>,
    /// A receipt for erasures that is news.
    receipt: Option<u64>,
    asked: Asked,
}

/// Checks everything about a request before anything in it is decided.
fn open(service: &Service, bearer: Bearer, request: SyncRequest) -> Result<Opened, Problem> {
    let ours = service.law.schema.version;
    let protocol = common_version(request.protocol)?;
    if request.principal != bearer.principal {
        return Err(Problem::new(Code::Tenant, "the token speaks for another principal"));
    }
    if request.push.len() > CHANGE_SETS_PER_PUSH_MAX || request.withdraw.len() > CHANGE_SETS_PER_PUSH_MAX {
        return Err(Problem::new(Code::Limit, "too many change sets in one push"));
    }
    let (after, receipt) = service.readers.read(|reader| {
        if reader.principal_of(request.device)?.as_ref() != Some(&bearer.principal) {
            return Err(Problem::new(Code::DeviceRevoked, "the device is not one of this principal"));
        }
        let kept = reader.receipt_of(request.device)?;
        let receipt = request.erased_position.filter(|position| *position > kept);
        match &request.cursor {
            Some(cursor) => Ok((open_cursor(&service.law.identity, reader, cursor)?, receipt)),
            None => Ok((0, receipt)),
        }
    })?;
    let now = now();
    let asked = Asked {
        device: request.device,
        after,
        page_bytes_max: usize::try_from(request.page_bytes_max).unwrap_or(usize::MAX),
        echo_in_full: request.echo_in_full,
        reply_bytes_taken: 0,
    };
    let has_work = !request.push.is_empty() || !request.withdraw.is_empty();
    let hello = HelloBody { protocol, now, schema_version: ours, role: bearer.role };
    let job = has_work.then(|| PushJob {
        device: request.device,
        principal: bearer.principal,
        role: bearer.role,
        push_ordinal: request.push_ordinal,
        device_now: request.now,
        skew_ms: now.0.saturating_sub(request.now.0),
        push: request.push,
        withdraw: request.withdraw,
    });
    Ok(Opened { hello, job, receipt, asked })
}
