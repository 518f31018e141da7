//! Refusals of whole requests, and what an idle round trip costs.

use haversack_protocol::limits::BODY_COMPRESSED_BYTES_MAX;
use haversack_protocol::{
    Code, Cursor, DeviceId, FrameKind, MEDIA_TYPE, PrincipalId, ProtocolRange, Role, encode_frame,
};

use haversack_core::Intent;

use crate::support::{Reply, TENANT, TestServer, create, edit, raw, request, text};

fn sync_path() -> String {
    format!("/v1/t/{TENANT}/sync")
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_asked_for_anew() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let right = phone.token.clone();
    for path in [sync_path(), format!("/v1/t/{TENANT}/device"), "/v1/t/elsewhere/sync".to_owned()] {
        let response = request(server.address(), &path, None, b"").await;
        assert_eq!(response.problem(), (401, Code::TokenExpired), "{path}");
    }
    for wrong in ["guess", "", &right[1..], &format!("{right}x")] {
        phone.token = wrong.to_owned();
        let response = phone.send(server.address(), &phone.sync_request(vec![])).await;
        assert_eq!(response.problem(), (401, Code::TokenExpired));
    }
}

#[tokio::test]
async fn another_tenant_principal_or_device_is_forbidden() {
    let server = TestServer::start().await;
    let address = server.address();
    let ola = server.phone("ola", Role::Mentor).await;
    let kari = server.phone("kari", Role::Coordinator).await;
    for tenant in ["elsewhere", "rotary2"] {
        let response = request(address, &format!("/v1/t/{tenant}/sync"), Some(&ola.token), b"").await;
        assert_eq!(response.problem(), (403, Code::Tenant));
    }
    let mut body = ola.sync_request(vec![]);
    body.principal = PrincipalId::new("kari").expect("plain");
    assert_eq!(ola.send(address, &body).await.problem(), (403, Code::Tenant));
    let mut body = ola.sync_request(vec![]);
    for device in [kari.device, DeviceId::from_bytes([7; 8])] {
        body.device = device;
        assert_eq!(ola.send(address, &body).await.problem(), (403, Code::DeviceRevoked));
    }
}

#[tokio::test]
async fn a_cursor_that_is_forged_or_of_another_server_is_reset() {
    let server = TestServer::start().await;
    let elsewhere = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    let mut stranger = elsewhere.phone("ola", Role::Mentor).await;
    phone.read_all(server.address()).await;
    stranger.read_all(elsewhere.address()).await;
    let own = phone.cursor.clone().expect("read something");
    let mut forged = own.as_bytes().to_vec();
    forged[3] ^= 1;
    let cursors = [
        Cursor::new(forged).expect("short"),
        stranger.cursor.clone().expect("read something"),
        Cursor::new(vec![]).expect("short"),
        Cursor::new(vec![0; 64]).expect("short"),
    ];
    for cursor in cursors {
        let sets = [create("team", &[("name", text("nord"))]).1];
        let frozen = phone.freeze(&sets);
        let mut body = phone.sync_request(frozen);
        body.cursor = Some(cursor);
        assert_eq!(phone.send(server.address(), &body).await.problem(), (409, Code::CursorReset));
    }
    assert_eq!(server.prove().records, 0, "nothing is decided when the cursor is refused");
    assert!(!phone.sync(server.address(), vec![]).await.more);
}

#[tokio::test]
async fn bytes_that_are_no_frame_of_ours_are_malformed() {
    let server = TestServer::start().await;
    let phone = server.phone("ola", Role::Mentor).await;
    let mut whole = Vec::new();
    encode_frame(FrameKind::SyncRequest, &phone.sync_request(vec![]), &mut whole).expect("small");
    let mut wrong_kind = Vec::new();
    encode_frame(FrameKind::DeviceRequest, &phone.sync_request(vec![]), &mut wrong_kind).expect("small");
    let mut damaged = whole.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let bodies: [&[u8]; 6] = [
        b"<!DOCTYPE html><html>Sign in</html>",
        b"",
        b"{}",
        &whole[..whole.len() - 1],
        &wrong_kind,
        &damaged,
    ];
    for body in bodies {
        let response = request(server.address(), &sync_path(), Some(&phone.token), body).await;
        assert_eq!(response.problem(), (400, Code::Malformed));
    }
    let nowhere = request(server.address(), "/v1/t/rotary/else", Some(&phone.token), &whole).await;
    assert_eq!(nowhere.problem(), (404, Code::Malformed));
    let response =
        raw(server.address(), b"GET /v1/t/rotary/sync HTTP/1.1\r\nconnection: close\r\nhost: x\r\n\r\n", b"")
            .await;
    assert_eq!(response.problem(), (405, Code::Malformed));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    let server = TestServer::start().await;
    let phone = server.phone("ola", Role::Mentor).await;
    let common = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n",
        sync_path(),
        phone.token
    );
    let stated = format!("{common}content-length: {}\r\n\r\n", 1u64 << 40);
    let response = raw(server.address(), stated.as_bytes(), b"").await;
    assert_eq!(response.problem(), (413, Code::Limit));
    let length = BODY_COMPRESSED_BYTES_MAX + 4096;
    let chunked = format!("{common}transfer-encoding: chunked\r\n\r\n{length:x}\r\n");
    let response = raw(server.address(), chunked.as_bytes(), &vec![b'H'; length]).await;
    assert_eq!(response.problem(), (413, Code::Limit));
}

#[tokio::test]
async fn too_many_change_sets_or_a_newer_protocol_refuse_the_request() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let sets = [create("team", &[("name", text("nord"))]).1];
    let one = phone.freeze(&sets);
    let many = phone.sync_request(vec![one[0].clone(); 257]);
    assert_eq!(phone.send(address, &many).await.problem(), (413, Code::Limit));
    let mut body = phone.sync_request(vec![]);
    body.protocol = ProtocolRange { min: 7, max: 9 };
    assert_eq!(phone.send(address, &body).await.problem(), (426, Code::Upgrade));
    assert_eq!(server.prove().records, 0);
}

#[tokio::test]
async fn a_change_set_of_a_newer_schema_waits_undecided_and_takes_only_what_stands_on_it_along() {
    let server = TestServer::start().await;
    let address = server.address();
    let mut phone = server.phone("ola", Role::Mentor).await;
    let (record, creation) = create("team", &[("name", text("nord"))]);
    let rename = Intent::Set { field: "name".into(), value: text("sør") };
    let sets = [creation, edit("team", record, vec![rename]), create("team", &[("name", text("øst"))]).1];
    let mut push = phone.freeze(&sets);
    push[0].schema_version = 4;
    let reply = Reply::read(&phone.send(address, &phone.sync_request(push)).await);
    assert_eq!(reply.hint(sets[0].id).code, Code::Upgrade);
    let behind = reply.hint(sets[1].id);
    assert_eq!((behind.code, behind.by), (Code::Blocked, Some(sets[0].id)));
    assert!(reply.is_accepted(sets[2].id), "what is beside it is decided");
    let proof = server.prove();
    assert_eq!((proof.records, proof.rejected), (1, 0), "nothing of it is stored");
}

#[tokio::test]
async fn resuming_with_nothing_new_costs_at_most_700_bytes_both_ways() {
    let server = TestServer::start().await;
    let mut phone = server.phone("ola", Role::Mentor).await;
    phone.read_all(server.address()).await;
    let response = phone.send(server.address(), &phone.sync_request(vec![])).await;
    assert_eq!(response.status, 200);
    assert!(response.head.contains(MEDIA_TYPE) && !response.head.contains("server:"));
    assert!(response.traffic <= 700, "{} bytes", response.traffic);
    let kinds: Vec<_> = response.frames().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [FrameKind::Hello, FrameKind::End]);
}

#[tokio::test]
async fn health_and_readiness_are_answered_without_a_token() {
    let server = TestServer::start().await;
    for (path, needle) in [("healthz", "ok"), ("readyz", "\"ready\":true")] {
        let head = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let response = raw(server.address(), head.as_bytes(), b"").await;
        assert_eq!(response.status, 200);
        assert!(String::from_utf8_lossy(&response.body).contains(needle));
    }
}
