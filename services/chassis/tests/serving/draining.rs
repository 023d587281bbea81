//! How a server stops.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chassis::{Background, Health, ServeError};
use tokio::{io::AsyncReadExt as _, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::{
    answers::Stingy,
    support::{PATIENCE, Server},
};

#[tokio::test]
async fn draining_finishes_what_was_begun_and_takes_nothing_new() {
    let server = Server::start(&[]).await;
    let waiting = server.call("wait");
    let drain = async {
        server.handler.waiting.notified().await;
        server.stop.cancel();
        while tokio::net::TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.handler.released.notify_one();
    };
    let (first, ()) = tokio::join!(waiting, drain);
    assert!(first.is_ok(), "{first:?}");
    server.stopped().await;
}

#[tokio::test]
async fn silent_connections_are_not_waited_for() {
    let server = Server::start(&["--drain-timeout=1h"]).await;
    let silent = server.tcp().await;
    server.call("ok").await.unwrap();
    server.stopped().await;
    drop(silent);
}

#[tokio::test]
async fn open_streams_are_not_waited_for() {
    let server = Server::start(&["--drain-timeout=1h"]).await;
    let (requests, received) = mpsc::channel(1);
    let list = MessageRequest::ListServices(String::new());
    requests
        .send(ServerReflectionRequest { host: String::new(), message_request: Some(list) })
        .await
        .unwrap();
    let mut client = ServerReflectionClient::new(server.channel().await);
    let stream = client.server_reflection_info(ReceiverStream::new(received)).await.unwrap();
    let mut answers = stream.into_inner();
    answers.message().await.unwrap().unwrap();
    server.stop.cancel();
    let end = timeout(PATIENCE, answers.message()).await.expect("the stream ends");
    assert_eq!(end.unwrap(), None, "and ends well");
    server.ended().await.unwrap();
    drop(requests);
}

#[tokio::test]
async fn whatever_the_calls_do_the_background_has_time_to_finish() {
    let finished = Arc::new(AtomicBool::new(false));
    let mut background = Background::default();
    let finishing = finished.clone();
    background.start("flusher", |stop| async move {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        finishing.store(true, Ordering::SeqCst);
    });
    let flags = ["--drain-timeout=2s", "--request-timeout=1h"];
    let server = Server::start_with(&flags, Health::new(), background).await;
    let mut client = Stingy::connect(&server, 0).await;
    let answer = client.call("mebibyte").await;
    server.stopped().await;
    assert!(finished.load(Ordering::SeqCst), "it was aborted");
    drop(answer);
}

#[tokio::test]
async fn a_background_task_that_dies_ends_the_server() {
    let mut background = Background::default();
    let (die, death) = tokio::sync::oneshot::channel::<()>();
    background.start("short-lived", |_| async move { death.await.unwrap_or_default() });
    let server = Server::start_with(&[], Health::new(), background).await;
    let waiting = server.call("wait");
    let dying = async {
        server.handler.waiting.notified().await;
        die.send(()).unwrap();
        while tokio::net::TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.handler.released.notify_one();
    };
    let (call, ()) = tokio::join!(waiting, dying);
    assert!(call.is_ok(), "what was begun is finished: {call:?}");
    let error = server.ended().await.unwrap_err();
    assert!(matches!(error, ServeError::Background(_)), "{error}");
    assert!(error.to_string().contains("short-lived"), "{error}");
}

#[tokio::test]
async fn who_is_already_in_the_kernels_queue_is_served() {
    for _ in 0..8 {
        let server = Server::start(&[]).await;
        // Nothing is accepted while this does not wait for anything.
        let connect = |_| {
            let mut client = std::net::TcpStream::connect(server.addr).unwrap();
            client.write_all(b"GET /nowhere HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
            client.set_nonblocking(true).unwrap();
            tokio::net::TcpStream::from_std(client).unwrap()
        };
        let clients: Vec<_> = (0..5).map(connect).collect();
        server.stop.cancel();
        for mut client in clients {
            let mut answer = String::new();
            timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        }
        server.ended().await.unwrap();
    }
}
