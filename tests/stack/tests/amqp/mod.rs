//! The AMQP 0-9-1 handshake, as far as opening a virtual host.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TUNE: [u8; 4] = [0, 10, 0, 30];
const OPEN_OK: [u8; 4] = [0, 10, 0, 41];

/// Logs in and opens the virtual host of `amqp://USER:PASSWORD@ADDR/VHOST`.
pub async fn open(url: &str) -> anyhow::Result<()> {
    let (credentials, rest) = url.trim_start_matches("amqp://").split_once('@').context("no credentials")?;
    let (user, password) = credentials.split_once(':').context("no password")?;
    let (addr, vhost) = rest.split_once('/').context("no vhost")?;

    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    receive(&mut stream).await?;
    let response = format!("\0{user}\0{password}");
    let start_ok = [&[0, 10, 0, 11, 0, 0, 0, 0, 5][..], b"PLAIN", &long(&response)?, b"\x05en_US"].concat();
    send(&mut stream, &start_ok).await?;
    let tune = receive(&mut stream).await?;
    ensure!(tune.starts_with(&TUNE), "not let in: {tune:?}");

    // Accepts what the broker proposed.
    let tune_ok = [&[0, 10, 0, 31], &tune[4..]].concat();
    send(&mut stream, &tune_ok).await?;
    let length = u8::try_from(vhost.len())?;
    let open = [&[0, 10, 0, 40, length][..], vhost.as_bytes(), &[0, 0]].concat();
    send(&mut stream, &open).await?;
    let answer = receive(&mut stream).await?;
    ensure!(answer.starts_with(&OPEN_OK), "not opened: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn long(text: &str) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(text.len())?;
    Ok([&length.to_be_bytes(), text.as_bytes()].concat())
}

async fn send(stream: &mut TcpStream, method: &[u8]) -> anyhow::Result<()> {
    let length = u32::try_from(method.len())?.to_be_bytes();
    stream.write_all(&[&[1, 0, 0][..], &length, method, &[0xCE]].concat()).await?;
    Ok(())
}

async fn receive(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut header = [0; 7];
    stream.read_exact(&mut header).await?;
    let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = vec![0; usize::try_from(length)? + 1];
    stream.read_exact(&mut payload).await?;
    payload.pop();
    Ok(payload)
}
