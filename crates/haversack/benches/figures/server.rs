//! What a created record costs the server while it holds a thousand, and while it holds a million.

use haversack::Schema;
use haversack_protocol::limits::{CHANGE_SETS_PER_PUSH_MAX, PAGE_BYTES_TARGET};
use haversack_protocol::{
    Cursor, DeviceReply, DeviceRequest, Frame, FrameKind, InstallationId, MEDIA_TYPE, PageBody,
    ProtocolRange, PushedChangeSet, SyncRequest, UnixMillis, decode_frames, encode_frame,
};

use crate::admission::author;
use crate::measure::micros;
use crate::report::Report;
use crate::workload::{Workload, schema};
use crate::world::{Outcome, World};

/// Sizes at which the cost is told, and over how many records before them it is taken.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SPAN: usize = 10;

/// A device that keeps nothing: it authors creations, sends them and reads what it is told.
struct Sender {
    schema: Schema,
    workload: Workload,
    reply: DeviceReply,
    cursor: Option<Cursor>,
    ordinal: u64,
}

/// Fills a server up to `records_max` and tells the cost of a record on the way. `tell` gets each size and its cost.
pub(crate) fn measure(
    report: &mut Report,
    records_max: usize,
    mut tell: impl FnMut(usize, f64, f64),
) -> Outcome<()> {
    let world = World::start()?;
    let mut sender = Sender::register(&world)?;
    let mut held = 0;
    for size in SIZES.into_iter().filter(|size| *size <= records_max) {
        sender.create(&world, size - size / SPAN - held)?;
        let (cpu, bytes) = (world.server_cpu()?, world.server_bytes()?);
        sender.create(&world, size / SPAN)?;
        let spent = micros(world.server_cpu()?.saturating_sub(cpu)) / (size / SPAN) as f64;
        let grown = world.server_bytes()?.saturating_sub(bytes) as f64 / (size / SPAN) as f64;
        report.note(format!("server that holds {size} records: CPU a create"), spent, "us");
        report.note(format!("server that holds {size} records: disk a create"), grown, "B");
        tell(size, spent, grown);
        held = size;
    }
    world.shutdown()
}

impl Sender {
    fn register(world: &World) -> Outcome<Self> {
        let request = DeviceRequest {
            protocol: ProtocolRange::OURS,
            installation: InstallationId::from_bytes([5; 16]),
        };
        let frames = send(world, "device", FrameKind::DeviceRequest, &request)?;
        let reply = read(&frames, FrameKind::DeviceReply)?;
        Ok(Self { schema: schema(&[])?, workload: Workload::new(), reply, cursor: None, ordinal: 0 })
    }

    fn create(&mut self, world: &World, count: usize) -> Outcome<()> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(CHANGE_SETS_PER_PUSH_MAX);
            self.push(world, batch)?;
            left -= batch;
        }
        Ok(())
    }

    fn push(&mut self, world: &World, count: usize) -> Outcome<()> {
        let push = (0..count).map(|_| self.creation()).collect::<Outcome<Vec<_>>>()?;
        self.ordinal += 1;
        let request = SyncRequest {
            erased_position: None,
            protocol: ProtocolRange::OURS,
            device: self.reply.device,
            principal: self.reply.principal.clone(),
            push_ordinal: self.ordinal,
            now: UnixMillis(0),
            schema_version: self.schema.version,
            cursor: self.cursor.take(),
            page_bytes_max: u32::try_from(PAGE_BYTES_TARGET)?,
            echo_in_full: false,
            push,
            withdraw: vec![],
        };
        let frames = send(world, "sync", FrameKind::SyncRequest, &request)?;
        let page: PageBody = read(&frames, FrameKind::Page)?;
        let told = page.rows.len();
        self.cursor = Some(page.cursor_after);
        if told < count { Err(format!("{told} of {count} were answered").into()) } else { Ok(()) }
    }

    fn creation(&mut self) -> Outcome<PushedChangeSet> {
        let creation = self.workload.creation();
        let part = author(&self.schema, self.reply.device, None, &creation)?;
        let (id, at, schema_version) = (creation.id, creation.at, creation.schema_version);
        Ok(PushedChangeSet { id, at, schema_version, after: vec![], parts: vec![part] })
    }
}

fn send<T: minicbor::Encode<()>>(
    world: &World,
    verb: &str,
    kind: FrameKind,
    request: &T,
) -> Outcome<Vec<Frame>> {
    let mut body = Vec::new();
    encode_frame(kind, request, &mut body)?;
    Ok(decode_frames(&world.post(verb, MEDIA_TYPE, body)?)?)
}

fn read<T: for<'b> minicbor::Decode<'b, ()>>(frames: &[Frame], kind: FrameKind) -> Outcome<T> {
    let frame = frames.iter().find(|frame| frame.kind == kind).ok_or("an answer of the kind asked for")?;
    Ok(frame.read()?)
}
