//! Clients that mean no good: slow ones, and those that send what costs them little.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{PATH, PATIENCE, Server, message};

const KIBIBYTE: usize = 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames, their flags, and the error of the refusals.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;

/// `POST /` in HPACK: entries of the static table.
const REQUEST: &[u8] = &[0x83, 0x86, 0x84];

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = u32::try_from(stream).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// A connection of HTTP/2 that sends what no library would.
async fn raw(server: &Server) -> TcpStream {
    let mut stream = server.tcp().await;
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// The next frame of a type, and its payload; `None` if the connection ends before.
async fn next(stream: &mut TcpStream, wanted: u8) -> Option<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("a frame").ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        timeout(PATIENCE, stream.read_exact(&mut payload)).await.expect("a frame").ok()?;
        if head[3] == wanted {
            return Some(payload);
        }
    }
}

async fn serves_on(server: Server) {
    timeout(PATIENCE, server.call("ok")).await.expect("it serves others").unwrap();
    server.stopped().await;
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_not_waited_for() {
    let server = Server::start(&["--max-in-flight=1", "--request-timeout=300ms"]).await;
    let (requests, connection) = h2::client::handshake(server.tcp().await).await.unwrap();
    let mut driven = JoinSet::new();
    driven.spawn(async { connection.await.unwrap_or_default() });
    let request = Request::post(format!("http://test{PATH}")).header("content-type", "application/grpc");
    let mut requests = requests.ready().await.unwrap();
    let (mut answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    let dripping = async {
        for byte in message(&"x".repeat(1000)) {
            if body.send_data(Bytes::copy_from_slice(&[byte]), false).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = timeout(PATIENCE, &mut answer) => answer.expect("an answer").unwrap(),
        () = dripping => unreachable!("it drips for ever"),
    };
    assert_eq!(answer.headers()["grpc-status"], "4", "{answer:?}");
    serves_on(server).await;
}

#[tokio::test]
async fn a_form_that_comes_byte_by_byte_is_not_waited_for() {
    let server = Server::start(&["--max-in-flight=1", "--request-timeout=300ms"]).await;
    let (mut reader, mut writer) = server.tcp().await.into_split();
    let head = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\n";
    writer.write_all(head).await.unwrap();
    let mut dripping = JoinSet::new();
    dripping.spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = [0; 12];
    timeout(PATIENCE, reader.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    serves_on(server).await;
}

/// Headers that are more than a request may have: few large ones, and many small ones.
fn too_many_headers() -> [Vec<(String, String)>; 2] {
    [
        (0..25).map(|n| (format!("x-{n}"), "x".repeat(4 * KIBIBYTE))).collect(),
        (0..10_000).map(|n| (format!("x-{n}"), "1".to_owned())).collect(),
    ]
}

#[tokio::test]
async fn more_metadata_than_a_call_may_have_is_refused_and_the_connection_serves_on() {
    let server = Server::start(&[]).await;
    let (requests, connection) = h2::client::handshake(server.tcp().await).await.unwrap();
    let mut driven = JoinSet::new();
    driven.spawn(async { connection.await.unwrap_or_default() });
    for headers in too_many_headers() {
        let mut request =
            Request::post(format!("http://test{PATH}")).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut requests = requests.clone().ready().await.unwrap();
        let (answer, _) = requests.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = timeout(PATIENCE, answer).await.expect("an answer").unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let request = Request::post(format!("http://test{PATH}")).header("content-type", "application/grpc");
    let mut requests = requests.ready().await.unwrap();
    let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(message("ok").into(), true).unwrap();
    assert_eq!(timeout(PATIENCE, answer).await.expect("an answer").unwrap().status(), StatusCode::OK);
    serves_on(server).await;
}

#[tokio::test]
async fn more_headers_than_a_request_may_have_are_refused() {
    let server = Server::start(&[]).await;
    for headers in too_many_headers() {
        let mut client = server.tcp().await;
        let mut lines = vec!["GET /nowhere HTTP/1.1".to_owned(), "host: test".to_owned()];
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let request = lines.join("\r\n") + "\r\n\r\n";
        // It is not read to its end.
        let _ = client.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
    serves_on(server).await;
}

#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    let server = Server::start(&[]).await;
    let mut client = raw(&server).await;
    client.write_all(&frame(HEADERS, 0, 1, REQUEST)).await.unwrap();
    // A header that is never indexed: `x: y`.
    let more = frame(CONTINUATION, 0, 1, b"\x10\x01x\x01y");
    let flood = async { while client.write_all(&more).await.is_ok() {} };
    timeout(PATIENCE, flood).await.expect("it is closed");
    serves_on(server).await;
}

#[tokio::test]
async fn who_asks_and_takes_back_over_and_over_is_cut_off() {
    let server = Server::start(&[]).await;
    let mut client = raw(&server).await;
    let rapid = (0..1000).flat_map(|call| {
        let stream = 2 * call + 1;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        [frame(HEADERS, END_HEADERS, stream, REQUEST), reset].concat()
    });
    client.write_all(&rapid.collect::<Vec<_>>()).await.unwrap();
    let goaway = next(&mut client, GOAWAY).await.expect("to be told to go");
    assert_eq!(goaway[7], ENHANCE_YOUR_CALM, "{goaway:?}");
    serves_on(server).await;
}

#[tokio::test]
async fn calls_beyond_those_of_a_connection_are_refused() {
    let server = Server::start(&["--max-concurrent-streams=10"]).await;
    let mut client = raw(&server).await;
    let calls = (0..15).flat_map(|call| frame(HEADERS, END_HEADERS, 2 * call + 1, REQUEST));
    client.write_all(&calls.collect::<Vec<_>>()).await.unwrap();
    for _ in 0..5 {
        let reset = next(&mut client, RST_STREAM).await.expect("a refusal");
        assert_eq!(reset[3], REFUSED_STREAM, "{reset:?}");
    }
    drop(client);
    serves_on(server).await;
}
