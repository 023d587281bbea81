//! Requests that are compressed, and those that only say so.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;

use e2e::{Client, PATIENCE};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, CreateSnippetRequest, GetCallerRequest, GetSnippetRequest, Snippet,
    UpdateSnippetRequest,
};
use stack::{Product, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};

const MEBIBYTE: usize = 1024 * 1024;
const CREATE: &str = "/snippets.v1.SnippetService/CreateSnippet";
const GET: &str = "/snippets.v1.SnippetService/GetSnippet";

async fn server() -> &'static Service {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || {
        let product = e2e::product(&e2e::backends().await).replicas(1).workers(0);
        product.env("TRUSTED_PROXIES", "127.0.0.1").start().await.unwrap()
    };
    &PRODUCT.get_or_init(start).await.snippets[0]
}

#[tokio::test]
async fn every_method_takes_compressed_requests() {
    let client = Client::to(server().await).await.unwrap().as_admin();
    for (encoding, body) in [(Gzip, "x".repeat(MEBIBYTE)), (Zstd, "small".to_owned())] {
        let api = client.snippets().accept_compressed(Gzip).accept_compressed(Zstd);
        let mut api = api.send_compressed(encoding);
        let snippet = Snippet { body: body.clone(), ..Snippet::default() };
        let request = CreateSnippetRequest { snippet: Some(snippet), ..CreateSnippetRequest::default() };
        let id = api.create_snippet(request).await.unwrap().into_inner().snippet.unwrap().id;
        let get = GetSnippetRequest { id: id.clone(), ..GetSnippetRequest::default() };
        let got = api.get_snippet(get).await.unwrap();
        // Most clients say that they could take it, whether they have any use for it or not.
        assert!(got.metadata().get("grpc-encoding").is_none());
        assert_eq!(got.into_inner().snippet.unwrap().body, body);
        let batch =
            BatchGetSnippetsRequest { ids: vec![id.clone(); 3], ..BatchGetSnippetsRequest::default() };
        assert_eq!(api.batch_get_snippets(batch).await.unwrap().into_inner().snippets.len(), 1);
        let edit = UpdateSnippetRequest {
            snippet: Some(Snippet { id, title: "t".into(), ..Snippet::default() }),
            update_mask: None,
        };
        // It has no owner who could.
        assert_eq!(api.update_snippet(edit).await.unwrap_err().code(), tonic::Code::PermissionDenied);
        let mut accounts = client.accounts().send_compressed(encoding);
        accounts.get_caller(GetCallerRequest {}).await.unwrap();
    }
}

/// What is answered to a message, over HTTP/1, in lower case.
async fn call(server: &Service, path: &str, encoding: &str, message: &[u8]) -> String {
    call_from("198.51.100.1", server, path, encoding, message).await
}

async fn call_from(address: &str, server: &Service, path: &str, encoding: &str, message: &[u8]) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\nconnection: close\r\n\
         x-forwarded-for: {address}\r\ngrpc-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
        message.len() + 5
    );
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let mut stream = TcpStream::connect(server.grpc_addr()).await.unwrap();
    let sent = [head.as_bytes(), &[1], &length, message].concat();
    let mut answer = String::new();
    let exchange = async {
        // The answer may come before all of it is sent.
        let _ = stream.write_all(&sent).await;
        stream.read_to_string(&mut answer).await
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap().unwrap();
    answer.to_lowercase()
}

#[tokio::test]
async fn an_encoding_that_is_not_there_is_told_with_those_that_are() {
    for path in [CREATE, GET] {
        let answer = call(server().await, path, "br", b"message").await;
        assert!(answer.contains("\r\ngrpc-status: 12\r\n"), "{answer}");
        assert!(answer.contains("\r\ngrpc-accept-encoding: gzip,zstd,identity\r\n"), "{answer}");
        assert!(answer.contains("\r\ngrpc-status-details-bin: "), "{answer}");
    }
}

#[tokio::test]
async fn what_can_not_be_decompressed_is_the_clients_mistake() {
    for path in [CREATE, GET] {
        for encoding in ["gzip", "zstd"] {
            let answer = call(server().await, path, encoding, b"message").await;
            assert!(answer.contains("\r\ngrpc-status: 3\r\n"), "{answer}");
            assert!(answer.contains("\r\ngrpc-status-details-bin: "), "{answer}");
        }
    }
}

/// 32,768 times as many zeros: blocks that say of a byte how often it comes, in a frame with a window of 128 MiB.
fn zstd_bomb(bytes: usize) -> Vec<u8> {
    const BLOCK_BYTES: u32 = 128 * 1024;
    let blocks = bytes / 4 - 2;
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (27 - 10) << 3];
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | (1 << 1) | (BLOCK_BYTES << 3);
        bomb.extend(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

/// 158 times as many zeros: a zero, and then the order to repeat it 258 times, over and over, in fixed Huffman codes.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut bits = Vec::new();
    let code = |bits: &mut Vec<bool>, code: &str| bits.extend(code.bytes().map(|bit| bit == b'1'));
    code(&mut bits, "110"); // The last block, with fixed codes.
    code(&mut bits, "00110000");
    for _ in 0..(bytes - 32) * 8 / 13 {
        code(&mut bits, "1100010100000");
    }
    code(&mut bits, "0000000");
    let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit)));
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(bytes);
    bomb.extend([0; 8]);
    bomb
}

/// The most memory that the process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes(server: &Service) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_bomb_is_refused_without_room_being_made_for_it() {
    // Of its own, so that nobody else's requests take memory.
    let product = e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    let server = &product.snippets[0];
    let body = "x".repeat(MEBIBYTE);
    Client::to(server).await.unwrap().create(Snippet { body, ..Snippet::default() }).await.unwrap();
    let before = peak_bytes(server);
    // As large as the methods take them before they are decompressed.
    for (path, bytes) in [(CREATE, MEBIBYTE), (GET, 16 * 1024)].repeat(4) {
        for (encoding, bomb) in [("gzip", gzip_bomb(bytes)), ("zstd", zstd_bomb(bytes))] {
            let answer = call(server, path, encoding, &bomb).await;
            assert!(answer.contains("decompressing"), "{answer}");
            assert!(answer.contains("\r\ngrpc-status: 11\r\n"), "{answer}");
            assert!(answer.contains("send%20a%20smaller%20message"), "{answer}");
            assert!(answer.contains("\r\ngrpc-status-details-bin: "), "{answer}");
        }
    }
    let grown = peak_bytes(server) - before;
    assert!(grown < 64 * MEBIBYTE, "{grown} bytes");
}

#[tokio::test]
async fn what_can_not_be_decompressed_is_charged_to_who_sends_it() {
    let mut last = String::new();
    for _ in 0..61 {
        last = call_from("198.51.100.2", server().await, CREATE, "zstd", b"message").await;
    }
    // The limit is sixty writes a minute.
    assert!(last.contains("\r\ngrpc-status: 8\r\n") && last.contains("\r\nretry-after: "), "{last}");
}
