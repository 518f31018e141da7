//! A courier between one store and a server: one exchange at a time, so that a story can stop between any two steps.

use std::net::SocketAddr;

use haversack::{ChangeSetId, Store};
use haversack_protocol::limits::PAGE_BYTES_TARGET;
use haversack_protocol::{
    DeviceReply, DeviceRequest, FrameKind, MEDIA_TYPE, ProtocolRange, SyncRequest, UnixMillis,
    decode_only_frame, encode_frame,
};
use haversack_store::PageOutcome;

use haversack_testing::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The tenant of test servers.
const TENANT: &str = "north";

/// Exchanges after which an outbox that still holds work will never drain.
const EXCHANGES_MAX: usize = 256;

/// Carries requests of one principal.
pub struct Courier {
    server: SocketAddr,
    token: String,
}

impl Courier {
    /// A courier to a server, with a principal's token.
    pub fn to(server: SocketAddr, token: String) -> Self {
        Self { server, token }
    }

    async fn post(&self, verb: &str, body: Vec<u8>) -> Vec<u8> {
        let head = format!(
            "POST /v1/t/{TENANT}/{verb} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {MEDIA_TYPE}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.server,
            self.token,
            body.len()
        );
        let mut stream = TcpStream::connect(self.server).await.expect("a server");
        stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        answer.split_off(end + 4)
    }

    /// Registers a store, which keeps the server under this name.
    pub async fn register(&self, store: &Store, name: &str) {
        let installation = store.identity().expect("read").installation;
        let request = DeviceRequest { protocol: ProtocolRange::OURS, installation };
        let mut body = Vec::new();
        encode_frame(FrameKind::DeviceRequest, &request, &mut body).expect("small");
        let answer = self.post("device", body).await;
        let reply: DeviceReply = decode_only_frame(&answer).expect("a frame").read().expect("registered");
        store.bind(name, &reply).expect("bound");
    }

    /// Leases so many change sets and gives the request that carries them.
    pub fn lease(&self, store: &Store, change_sets_max: usize, withdraw: Option<ChangeSetId>) -> SyncRequest {
        let identity = store.identity().expect("read");
        let leased = store.lease_batch(change_sets_max, withdraw).expect("leased");
        SyncRequest {
            erased_position: store.sweep_erased().expect("swept"),
            protocol: ProtocolRange::OURS,
            device: identity.device.expect("registered"),
            principal: identity.principal.expect("registered"),
            push_ordinal: leased.push_ordinal,
            now: UnixMillis(1_800_000_000_000),
            schema_version: store.schema().version,
            cursor: store.cursor().expect("read"),
            page_bytes_max: u32::try_from(PAGE_BYTES_TARGET).expect("small"),
            echo_in_full: false,
            push: leased.push,
            withdraw: leased.withdraw,
        }
    }

    /// Sends a request and gives the answer, of which the store knows nothing yet.
    pub async fn send(&self, request: &SyncRequest) -> Answer {
        let mut body = Vec::new();
        encode_frame(FrameKind::SyncRequest, request, &mut body).expect("within limits");
        Answer::read(&self.post("sync", body).await).expect("frames of ours")
    }

    /// One exchange of at most so many change sets. True when there is more to read.
    pub async fn exchange(
        &self,
        store: &Store,
        change_sets_max: usize,
        withdraw: Option<ChangeSetId>,
    ) -> bool {
        let answer = self.send(&self.lease(store, change_sets_max, withdraw)).await;
        store.set_role(answer.hello.role).expect("stored");
        for page in &answer.pages {
            if store.apply_page(page).expect("applied").outcome == PageOutcome::ReadAnew {
                return true;
            }
        }
        if let Some(hints) = &answer.hints {
            store.note_hints(hints).expect("noted");
        }
        answer.end.more
    }

    /// Sends and reads until nothing is on its way and nothing is left to read.
    pub async fn drain(&self, store: &Store) {
        for _ in 0..EXCHANGES_MAX {
            let has_more = self.exchange(store, 256, None).await;
            let counts = store.counts().expect("counted");
            if !has_more && counts.pending + counts.sending == 0 {
                return;
            }
        }
        panic!("the outbox does not drain: {:?}", store.counts());
    }

    /// Reads to the end of the log and sends nothing.
    pub async fn read(&self, store: &Store) {
        while self.exchange(store, 0, None).await {}
    }
}
