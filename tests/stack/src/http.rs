//! As much of an HTTP client as reading an admin port or asking a proxy takes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Debug, Default)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl HttpAnswer {
    /// The value of the first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// `GET path` over a connection of its own.
pub async fn http_get(addr: SocketAddr, path: &str) -> anyhow::Result<HttpAnswer> {
    http_get_with(addr, path, &[]).await
}

/// [`http_get`] with further headers.
pub async fn http_get_with(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<HttpAnswer> {
    let mut stream = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut received = Vec::new();
    loop {
        let has_ended = stream.read_buf(&mut received).await? == 0;
        // A server need not close the connection at once, or at all.
        if let Some(answer) = parse(&received, has_ended) {
            return Ok(answer);
        }
        if has_ended {
            bail!("{addr}{path} did not answer in HTTP");
        }
    }
}

/// The answer, if all of it was received.
fn parse(received: &[u8], has_ended: bool) -> Option<HttpAnswer> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let answer = HttpAnswer { status, headers: headers.collect(), body: String::new() };
    let body = body(&answer, &received[end + 4..], has_ended)?;
    Some(HttpAnswer { body: String::from_utf8_lossy(&body).into_owned(), ..answer })
}

fn body(answer: &HttpAnswer, received: &[u8], has_ended: bool) -> Option<Vec<u8>> {
    match (answer.header("transfer-encoding"), answer.header("content-length")) {
        (Some("chunked"), _) => unchunk(received),
        (_, Some(length)) => received.get(..length.parse().ok()?).map(<[u8]>::to_vec),
        _ => has_ended.then(|| received.to_vec()),
    }
}

/// What is in chunks, each after a line with its length, the last of which is empty.
fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n")?;
        let line = str::from_utf8(&body[..end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        let (chunk, rest) = body[end + 2..].split_at_checked(length)?;
        whole.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_in_chunks_is_whole_once_the_empty_one_has_come() {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1 \r\n\r\n1;x=y\r\n2\r\n0\r\n\r\n";
        let answer = parse(chunked.as_bytes(), false).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "1 \r\n2"));
        assert!(parse(&chunked.as_bytes()[..chunked.len() - 5], false).is_none());
    }

    #[test]
    fn a_length_tells_the_end_else_the_end_of_the_connection() {
        let sized = b"HTTP/1.0 429 No\r\nContent-Length: 2\r\n\r\nhello";
        let answer = parse(sized, false).unwrap();
        assert_eq!((answer.header("content-length"), answer.body.as_str()), (Some("2"), "he"));
        let unsized_answer = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert!(parse(unsized_answer, false).is_none());
        assert_eq!(parse(unsized_answer, true).unwrap().body, "hello");
    }
}
