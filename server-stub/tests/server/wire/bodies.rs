//! Bodies that inflate, lie, nest, or hold far too much of something.

use haversack_protocol::limits::BODY_RAW_BYTES_MAX;
use haversack_protocol::{ChangeSetId, Code};

use super::{SYNC, is_refused, posting, sync_path};
use crate::crafting::{bombs, lying_cbor, packed_frame, plain_frame, zstd_run};
use crate::support::{Phone, ServerProcess, answer_to, request};

const RAW_MAX: u32 = BODY_RAW_BYTES_MAX as u32;
/// Keys of a sync request.
const CURSOR: u8 = 6;
const PUSH: u8 = 9;
const WITHDRAW: u8 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_compression_bomb_of_any_make_is_refused_and_costs_no_memory() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    for (what, packed, raw_len) in bombs(RAW_MAX) {
        let watched = server.watch();
        let body = packed_frame(SYNC, &packed, raw_len);
        assert!(body.len() < 1 << 20, "{what}: {} bytes", body.len());
        let response = request(server.address(), &sync_path(), Some(&phone.token), &body).await;
        assert_eq!(response.problem(), (400, Code::Malformed), "{what}");
        watched.survived(what, &mut phone).await;
    }
    let over = packed_frame(SYNC, &zstd_run(0, RAW_MAX + 1, 13 << 3, None), RAW_MAX + 1);
    let response = request(server.address(), &sync_path(), Some(&phone.token), &over).await;
    assert_eq!(response.problem(), (413, Code::Limit));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_bombs_at_once_cost_no_more_than_a_few() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    let body = packed_frame(SYNC, &zstd_run(0, RAW_MAX, 13 << 3, None), RAW_MAX);
    let bytes = posting(&phone, &body);
    let watched = server.watch();
    let address = server.address();
    let attackers: Vec<_> = (0..200)
        .map(|_| {
            let bytes = bytes.clone();
            tokio::spawn(async move { answer_to(address, &bytes).await })
        })
        .collect();
    for attacker in attackers {
        let response = attacker.await.expect("no panic").expect("answered");
        assert!(matches!(response.code(), Some(Code::Malformed | Code::Busy)), "{}", response.status);
    }
    watched.survived("two hundred bombs", &mut phone).await;
}

/// The frame as it is sent, compressed by hand where it is too large to go plain.
fn frame_of(raw: &[u8]) -> Vec<u8> {
    plain_frame(SYNC, raw)
}

async fn is_answered(
    server: &ServerProcess,
    phone: &mut Phone,
    what: &str,
    raw: &[u8],
) -> (u16, Option<Code>) {
    let watched = server.watch();
    let response = request(server.address(), &sync_path(), Some(&phone.token), &frame_of(raw)).await;
    watched.survived(what, phone).await;
    (response.status, response.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn cbor_that_lies_or_nests_is_refused_wherever_it_stands() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    phone.read_all(server.address()).await;
    let honest = minicbor::to_vec(phone.sync_request(vec![])).expect("writes");
    for (what, value) in lying_cbor() {
        let alone = is_answered(&server, &mut phone, what, &value).await;
        assert_eq!(alone, (400, Some(Code::Malformed)), "{what} alone");
        for key in 0..=WITHDRAW {
            let raw = with_last_member(&honest, key, &value);
            let response = request(server.address(), &sync_path(), Some(&phone.token), &frame_of(&raw)).await;
            assert!(is_refused(&response), "{what} under key {key}: {}", response.status);
        }
        let raw = with_unknown_member(&honest, &value);
        let unknown = is_answered(&server, &mut phone, what, &raw).await;
        assert!(
            matches!(unknown, (200, None) | (400, Some(Code::Malformed))),
            "{what} under a key nobody knows: {unknown:?}"
        );
    }
}

/// An array of so many times the same bytes.
fn array_of(count: usize, one: &[u8]) -> Vec<u8> {
    let count32 = u32::try_from(count).expect("small").to_be_bytes();
    [&[0x9a][..], &count32, &one.repeat(count)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_of_anything_than_a_push_may_hold_is_refused_without_paying_for_it() {
    let server = ServerProcess::start().await;
    let mut phone = server.phone("ola").await;
    phone.read_all(server.address()).await;
    let honest = minicbor::to_vec(phone.sync_request(vec![])).expect("writes");
    let id = [&[0x50][..], &[7; 16]].concat();
    let empty_set = [&[0x85][..], &id, &[0, 1, 0x80, 0x80]].concat();
    let part = [&[0x85][..], &id, &[0xf6, 0, 0x40, 0x80]].concat();
    let set_with =
        |after: &[u8], parts: &[u8]| [&[0x81, 0x85][..], &id, &[0, 1], after, parts, &[10, 0x80]].concat();
    let no_withdrawals = [10, 0x80];
    let hash = [&[0x58, 32][..], &[9; 32]].concat();
    let part_with_deps = [&[0x81, 0x85][..], &id, &[0xf6, 0, 0x40], &array_of(20_000, &hash)].concat();
    let whole_requests = [
        ("change sets", PUSH, [&array_of(30_000, &empty_set)[..], &no_withdrawals].concat()),
        ("withdrawals", WITHDRAW, array_of(10_000, &id)),
        ("many more withdrawals", WITHDRAW, array_of(55_000, &id)),
        ("257 change sets", PUSH, [&array_of(257, &empty_set)[..], &no_withdrawals].concat()),
    ];
    for (what, key, value) in whole_requests {
        let answer = is_answered(&server, &mut phone, what, &with_last_member(&honest, key, &value)).await;
        assert_eq!(answer, (413, Some(Code::Limit)), "{what}");
    }
    let settled = [
        ("parts", set_with(&[0x80], &array_of(45_000, &part))),
        ("33 parts", set_with(&[0x80], &array_of(33, &part))),
        ("change sets to stand after", set_with(&array_of(55_000, &id), &[0x80])),
        ("dependencies", set_with(&[0x80], &part_with_deps)),
        ("no part", set_with(&[0x80], &[0x80])),
    ];
    let mut told = 0;
    for (what, value) in settled {
        let answer = is_answered(&server, &mut phone, what, &with_last_member(&honest, PUSH, &value)).await;
        assert_eq!(answer, (200, None), "{what}: an answer of its own");
        told += 1;
    }
    assert_eq!(told, 5);
    let reply = phone.sync_withdrawing(server.address(), ChangeSetId::from_bytes([7; 16])).await;
    assert!(reply.hints.is_empty(), "the one id of them all was refused for good");
    assert_eq!(server.prove().records, 0);
    let cursor = [&[0x59, 0xff, 0xff][..], &[0; 0xffff]].concat();
    let answer =
        is_answered(&server, &mut phone, "a cursor", &with_last_member(&honest, CURSOR, &cursor)).await;
    assert_eq!(answer, (400, Some(Code::Malformed)));
}

/// A map of the members of this one, and one more under a key nobody knows.
fn with_unknown_member(map: &[u8], value: &[u8]) -> Vec<u8> {
    let small = 0xa0..0xb7;
    assert!(small.contains(&map[0]), "a map of few members");
    [&[map[0] + 1], &map[1..], &[0x18, 99], value].concat()
}

/// A map of the members of this one up to that key, which is given another value; the rest is cut off.
fn with_last_member(map: &[u8], key: u8, value: &[u8]) -> Vec<u8> {
    let mut decoder = minicbor::Decoder::new(map);
    let count = decoder.map().expect("a map").expect("of a stated length");
    for _ in 0..count {
        if decoder.u8().expect("a key") == key {
            let before = &map[..decoder.position()];
            return [before, value].concat();
        }
        decoder.skip().expect("a value");
    }
    panic!("no member {key}");
}
