//! Attacks on the wire, against the server as a process of its own: each request gets a typed answer or a closed line, and
//! after each attack the server runs, took at most 64 MiB more, and serves its users as before.

mod bodies;
mod frames;
mod lines;
mod requests;

use haversack_protocol::{Code, FrameKind, SyncRequest, encode_frame};

use crate::support::{Phone, Response, TENANT, post_head};

const SYNC: u8 = FrameKind::SyncRequest as u8;

fn sync_path() -> String {
    format!("/v1/t/{TENANT}/sync")
}

/// A whole HTTP request with this body.
fn posting(phone: &Phone, body: &[u8]) -> Vec<u8> {
    let head = post_head(&sync_path(), &phone.token, &format!("content-length: {}\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

fn framed(request: &SyncRequest) -> Vec<u8> {
    let mut frames = Vec::new();
    encode_frame(FrameKind::SyncRequest, request, &mut frames).expect("small");
    frames
}

/// What is no frame of ours, or not within the limits: one of the codes for it, with its status.
fn is_refused(response: &Response) -> bool {
    matches!(
        (response.status, response.code()),
        (400, Some(Code::Malformed)) | (413, Some(Code::Limit)) | (426, Some(Code::Upgrade))
    )
}
