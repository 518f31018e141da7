//! Frames cut, flipped, repeated, unknown, and of other versions.

use haversack_protocol::{Code, Cursor, ProtocolRange};

use super::{SYNC, framed, is_refused, posting, sync_path};
use crate::crafting::{frame_claiming, plain_frame};
use crate::support::{Phone, ServerProcess, answer_to, answer_to_cut, create, post_head, request, text};

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// A phone that has read everything, and a small push of it.
async fn with_push(server: &ServerProcess) -> (Phone, Vec<u8>) {
    let mut phone = server.phone("ola").await;
    phone.push(server.address(), &[create("team", &[("name", text("nord"))]).1]).await;
    let frozen = phone.freeze(&[create("team", &[("name", text("sør"))]).1]);
    let body = framed(&phone.sync_request(frozen));
    (phone, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_of_a_request_is_noticed_and_answered() {
    let server = ServerProcess::start().await;
    let (mut phone, whole) = with_push(&server).await;
    let watched = server.watch();
    for bit in 0..whole.len() * 8 {
        let response =
            request(server.address(), &sync_path(), Some(&phone.token), &flipped(&whole, bit)).await;
        assert!(is_refused(&response), "bit {bit}: {} {:?}", response.status, response.code());
    }
    watched.survived("flipped bits", &mut phone).await;
    assert_eq!(server.prove().records, 1, "nothing of it was decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_under_a_sound_checksum_is_a_typed_refusal_or_harms_nobody() {
    let server = ServerProcess::start().await;
    let (mut phone, _) = with_push(&server).await;
    let frozen = phone.freeze(&[create("team", &[("name", text("sør"))]).1]);
    let raw = minicbor::to_vec(phone.sync_request(frozen)).expect("writes");
    let watched = server.watch();
    for bit in 0..raw.len() * 8 {
        let body = plain_frame(SYNC, &flipped(&raw, bit));
        let response = request(server.address(), &sync_path(), Some(&phone.token), &body).await;
        let is_typed = response.status == 200 || response.code().is_some_and(|code| code != Code::Internal);
        assert!(is_typed, "bit {bit}: {} {:?}", response.status, response.code());
    }
    watched.survived("flipped bits under a checksum", &mut phone).await;
    let proof = server.prove();
    assert_eq!(proof.from_documents, proof.from_rows);
    assert_eq!(phone.digest(), proof.from_documents, "an honest phone agrees with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_of_a_head_is_answered_or_hung_up_on() {
    let server = ServerProcess::start().await;
    let (mut phone, _) = with_push(&server).await;
    let idle = posting(&phone, &framed(&phone.sync_request(vec![])));
    let head = idle.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let watched = server.watch();
    // Whatever length the flipped head states, enough follows, and then what is no request.
    let behind = [&[b'x'; 1000][..], b"\r\n\r\n"].concat();
    let mut answered = 0;
    for bit in 0..head * 8 {
        let response = answer_to(server.address(), &[flipped(&idle, bit), behind.clone()].concat()).await;
        assert!(response.as_ref().is_none_or(|response| response.status != 500), "bit {bit}");
        answered += usize::from(response.is_some());
    }
    assert!(answered * 10 > head * 8 * 9, "nearly all are answered: {answered} of {}", head * 8);
    watched.survived("flipped bits of the head", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cut_anywhere_is_refused_whether_it_states_its_length_or_not() {
    let server = ServerProcess::start().await;
    let (mut phone, whole) = with_push(&server).await;
    let lines = format!("content-length: {}\r\n", whole.len());
    let head = post_head(&sync_path(), &phone.token, &lines);
    let watched = server.watch();
    for at in 0..whole.len() {
        let response = request(server.address(), &sync_path(), Some(&phone.token), &whole[..at]).await;
        assert_eq!(response.problem(), (400, Code::Malformed), "{at}");
        let cut = [head.as_bytes(), &whole[..at]].concat();
        let response = answer_to_cut(server.address(), &cut).await;
        assert!(response.is_none_or(|response| response.status == 400), "{at}");
    }
    for at in 0..head.len() {
        let response = answer_to_cut(server.address(), &head.as_bytes()[..at]).await;
        assert!(response.is_none_or(|response| response.status == 400), "{at}");
    }
    watched.survived("cut requests", &mut phone).await;
    assert_eq!(server.prove().records, 1, "nothing of it was decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_are_refused_before_anything_is_read_or_unpacked() {
    let server = ServerProcess::start().await;
    let (mut phone, _) = with_push(&server).await;
    let raw = minicbor::to_vec(phone.sync_request(vec![])).expect("writes");
    let honest = u32::try_from(raw.len()).expect("small");
    let watched = server.watch();
    for (body_len, raw_len) in [
        (u32::MAX, honest),
        (honest, u32::MAX),
        (u32::MAX, u32::MAX),
        (honest + 1, honest),
        (honest - 1, honest - 1),
        (honest, honest + 1),
        (honest, honest - 1),
        (honest, 0),
        (0, honest),
        (1 << 20, 4 << 20),
    ] {
        for flags in [0, 1, 2, 3, 0x80, 0xff] {
            let body = frame_claiming(SYNC, flags, &raw, body_len, raw_len);
            let response = request(server.address(), &sync_path(), Some(&phone.token), &body).await;
            assert!(is_refused(&response), "{body_len} {raw_len} {flags}: {}", response.status);
        }
    }
    watched.survived("lying lengths", &mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_and_versions_this_server_does_not_speak_ask_for_another_and_decide_nothing() {
    let server = ServerProcess::start().await;
    let (mut phone, push) = with_push(&server).await;
    let address = server.address();
    let watched = server.watch();
    let raw = minicbor::to_vec(phone.sync_request(vec![])).expect("writes");
    for kind in 0..=u8::MAX {
        let body = plain_frame(kind, &raw);
        let response = request(address, &sync_path(), Some(&phone.token), &body).await;
        let expected = match kind {
            SYNC => (200, None),
            1..=9 => (400, Some(Code::Malformed)),
            _ => (426, Some(Code::Upgrade)),
        };
        assert_eq!((response.status, response.code()), expected, "kind {kind}");
        let beside = [push.clone(), body].concat();
        let response = request(address, &sync_path(), Some(&phone.token), &beside).await;
        assert_eq!(response.problem(), (400, Code::Malformed), "kind {kind} behind a request");
    }
    for (min, max) in [(0, 0), (2, 2), (2, u16::MAX), (2, 1), (1, 0), (u16::MAX, u16::MAX), (u16::MAX, 0)] {
        let mut body = phone.sync_request(vec![]);
        body.protocol = ProtocolRange { min, max };
        assert_eq!(phone.send(address, &body).await.problem(), (426, Code::Upgrade), "{min} to {max}");
    }
    watched.survived("other kinds and versions", &mut phone).await;
    assert_eq!(server.prove().records, 1, "nothing was decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_with_any_bit_flipped_or_any_byte_missing_is_reset() {
    let server = ServerProcess::start().await;
    let (mut phone, _) = with_push(&server).await;
    let bytes = phone.cursor.clone().expect("read something").as_bytes().to_vec();
    let cut = (0..bytes.len()).map(|at| bytes[..at].to_vec());
    let longer = [[&bytes[..], &[0]].concat(), vec![0xff; 1024], bytes.repeat(5)];
    let watched = server.watch();
    for forged in (0..bytes.len() * 8).map(|bit| flipped(&bytes, bit)).chain(cut).chain(longer) {
        let mut body = phone.sync_request(vec![]);
        body.cursor = Cursor::new(forged);
        assert_eq!(phone.send(server.address(), &body).await.problem(), (409, Code::CursorReset));
    }
    watched.survived("forged cursors", &mut phone).await;
}
