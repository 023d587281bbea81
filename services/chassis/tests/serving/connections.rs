//! What a connection may leave the server waiting for.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Server};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn is_closed(mut stream: TcpStream) -> bool {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn who_says_nothing_makes_room_for_others() {
    for said in [b"" as &[u8], &PREFACE[..10], b"GET / HTT"] {
        let server = Server::start(&["--max-connections=1", "--handshake-timeout=200ms"]).await;
        let mut silent = server.tcp().await;
        silent.write_all(said).await.unwrap();
        timeout(PATIENCE, server.call("ok")).await.expect("there is room by now").unwrap();
        assert!(is_closed(silent).await);
        server.stopped().await;
    }
}

#[tokio::test]
async fn who_took_its_time_to_speak_is_served() {
    let server = Server::start(&["--handshake-timeout=1m"]).await;
    let mut slow = server.tcp().await;
    for byte in PREFACE {
        slow.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // A frame of SETTINGS comes first.
    let mut frame = [0; 9];
    timeout(PATIENCE, slow.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4);
    drop(slow);
    server.stopped().await;
}

#[tokio::test]
async fn who_has_spoken_may_idle() {
    let server = Server::start(&["--handshake-timeout=100ms"]).await;
    let mut idle = server.tcp().await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    idle.write_all(&[PREFACE, &settings].concat()).await.unwrap();
    let end = timeout(Duration::from_millis(400), idle.read_to_end(&mut Vec::new())).await;
    assert!(end.is_err(), "{end:?}");
    drop(idle);
    server.stopped().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_looks_after_clients_that_vanished() {
    let server = Server::start(&[]).await;
    let client = server.tcp().await;
    let of_server = || socket(server.addr, client.local_addr().unwrap());
    crate::support::until("the connection is open", async || of_server().is_some()).await;
    assert!(of_server().unwrap().contains(" 02:"), "no keepalive timer: {:?}", of_server());
    drop(client);
    server.stopped().await;
}

/// The line of `/proc/net/tcp` of the socket with these ends.
fn socket(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let end = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            format!("{:08X}:{:04X}", u32::from_le_bytes(addr.ip().octets()), addr.port())
        }
        SocketAddr::V6(_) => unreachable!("tests use IPv4"),
    };
    let ends = format!("{} {}", end(local), end(remote));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find(|line| line.contains(&ends)).map(str::to_owned)
}

#[tokio::test]
async fn what_a_client_still_sends_does_not_reset_its_connection() {
    let server = Server::start(&[]).await;
    let mut client = server.tcp().await;
    let head = "POST /nowhere HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // Once there is an answer, the server wants no more.
    timeout(PATIENCE, client.peek(&mut [0])).await.expect("an answer").unwrap();
    for _ in 0..10 {
        client.write_all(&[b'x'; 1000]).await.expect("no reset");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().expect("no reset");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    drop(client);
    server.stopped().await;
}
