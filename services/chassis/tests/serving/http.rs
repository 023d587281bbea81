//! Clients of plain HTTP/1.1: what they are told, and what they can't do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{PATIENCE, Server, until};

async fn ask(server: &Server, head: &str) -> String {
    let mut stream = server.tcp().await;
    stream.write_all(format!("{head}host: test\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    rest(stream).await
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
    answer
}

#[tokio::test]
async fn a_failure_is_told_in_http() {
    let server = Server::start(&["--request-timeout=200ms"]).await;
    for (head, status) in [
        ("GET /nowhere HTTP/1.1\r\n", "404"),
        ("GET /hang HTTP/1.1\r\n", "504"),
        ("GET /panic HTTP/1.1\r\n", "500"),
        ("GET /error HTTP/1.1\r\n", "412"),
    ] {
        let text = ask(&server, head).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("content-type: text/plain; charset=utf-8\r\n"), "{text}");
        assert!(!text.contains("grpc-status") && !text.contains("passwd"), "{text}");
        let json = ask(&server, &format!("{head}accept: application/json\r\n")).await;
        assert!(json.starts_with(&format!("HTTP/1.1 {status} ")), "{json}");
        assert!(json.contains("google.rpc.ErrorInfo"), "{json}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn who_is_too_many_is_told_in_http() {
    let server = Server::start(&["--max-in-flight=1"]).await;
    let waiting = server.call("wait");
    let second = async {
        server.handler.waiting.notified().await;
        let refused = ask(&server, "GET /nowhere HTTP/1.1\r\n").await;
        server.handler.released.notify_one();
        refused
    };
    let (_, refused) = tokio::join!(waiting, second);
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    server.stopped().await;
}

#[tokio::test]
async fn a_head_that_comes_in_drops_is_not_waited_for() {
    let server = Server::start(&["--handshake-timeout=200ms"]).await;
    let mut slow = server.tcp().await;
    slow.write_all(b"GET /nowhere HTTP/1.1\r\nhost: test\r\nx-long: ").await.unwrap();
    let dripping = async { while slow.write_all(b"x").await.is_ok() && !is_closed(&slow).await {} };
    timeout(PATIENCE, dripping).await.expect("it is closed");
    server.stopped().await;
}

/// Whether the server has closed it, or does so in the next moment.
async fn is_closed(stream: &TcpStream) -> bool {
    let peek = timeout(Duration::from_millis(20), stream.peek(&mut [0])).await;
    matches!(peek, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn who_takes_no_answer_loses_it_at_the_deadline() {
    let server = Server::start(&["--max-in-flight=1", "--request-timeout=1s"]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.addr).await.unwrap();
    client.write_all(b"GET /flood HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    timeout(PATIENCE, client.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(server.call("ok").await.is_err(), "its place is taken");
    until("there is room again", async || server.call("ok").await.is_ok()).await;
    let mut taken = Vec::new();
    let end = timeout(PATIENCE, client.read_to_end(&mut taken)).await.expect("an end");
    assert!(end.is_err() || taken.len() < crate::support::FLOOD_BYTES, "{end:?}");
    server.stopped().await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let server = Server::start(&["--max-in-flight=1", "--request-timeout=300ms"]).await;
    let mut client = server.tcp().await;
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    let answer = timeout(PATIENCE, rest(client)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    server.call("ok").await.unwrap();
    server.stopped().await;
}

#[tokio::test]
async fn who_is_refused_while_it_sends_is_told_that_the_connection_ends() {
    let server = Server::start(&[]).await;
    let mut client = server.tcp().await;
    let head = "POST /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 10000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(client).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("connection: close\r\n"), "{answer}");
    server.stopped().await;
}

async fn kept_alive(server: &Server) -> TcpStream {
    let mut client = server.tcp().await;
    for _ in 0..2 {
        client
            .write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let read = timeout(PATIENCE, client.read_buf(&mut answer)).await.expect("an answer").unwrap();
            assert!(read > 0, "it was closed after {answer:?}");
        }
    }
    client
}

#[tokio::test]
async fn a_connection_is_kept_for_further_requests_but_not_for_ever() {
    let server = Server::start(&["--handshake-timeout=500ms"]).await;
    let client = kept_alive(&server).await;
    assert_eq!(rest(client).await, "", "closed without a word");
    server.stopped().await;
}

#[tokio::test]
async fn an_idle_connection_is_not_waited_for_when_draining() {
    let server = Server::start(&["--handshake-timeout=1h", "--drain-timeout=1h"]).await;
    let client = kept_alive(&server).await;
    server.stop.cancel();
    assert_eq!(rest(client).await, "", "closed without a word");
    server.ended().await.unwrap();
}
