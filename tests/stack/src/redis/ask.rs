//! As much of a Redis client as setting a server up takes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A frozen server must not hold up whoever waits for something else of it.
const REPLY_WITHIN: Duration = Duration::from_secs(5);

type Stream = BufReader<TcpStream>;

/// Sends an inline command over a connection of its own and gives the elements of the reply, those of arrays in
/// arrays one after another. What the server refuses is an error that begins with its code.
pub(super) async fn ask(addr: SocketAddr, inline: &str) -> anyhow::Result<Vec<String>> {
    let exchange = async {
        let mut stream = BufReader::new(TcpStream::connect(addr).await?);
        stream.write_all(format!("{inline}\r\n").as_bytes()).await?;
        reply(&mut stream).await
    };
    timeout(REPLY_WITHIN, exchange).await.with_context(|| format!("{addr} did not answer `{inline}`"))?
}

async fn reply(stream: &mut Stream) -> anyhow::Result<Vec<String>> {
    let mut elements = Vec::new();
    let mut awaited: usize = 1;
    while awaited > 0 {
        awaited -= 1;
        let line = line(stream).await?;
        let (kind, rest) = line.split_at_checked(1).context("redis closed the connection")?;
        match kind {
            "+" | ":" => elements.push(rest.to_owned()),
            "$" => elements.push(bulk(stream, rest).await?),
            // Without elements if there is no array at all, which is -1.
            "*" => awaited += rest.parse::<usize>().unwrap_or_default(),
            "-" => bail!("{rest}"),
            _ => bail!("not a reply of redis: {line}"),
        }
    }
    Ok(elements)
}

/// Empty if there is none at all, which has the length -1.
async fn bulk(stream: &mut Stream, length: &str) -> anyhow::Result<String> {
    let Ok(length) = length.parse::<usize>() else { return Ok(String::new()) };
    let mut bytes = vec![0; length + "\r\n".len()];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn line(stream: &mut Stream) -> anyhow::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}
