//! What a proxy does to the connections through it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use stack::{Proxy, Redis, RedisPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(300);
const WITHIN: Duration = Duration::from_secs(10);

/// Long enough to be told from an answer that was not held.
const HELD: Duration = Duration::from_millis(500);

async fn redis_and_proxy() -> anyhow::Result<(Redis, Proxy)> {
    let redis = Redis::start(RedisPolicy::Cache).await?;
    let (proxy, _) = Proxy::before_url(redis.url()).await?;
    Ok((redis, proxy))
}

/// Sends a command and gives what comes back first.
async fn ask(stream: &mut TcpStream, command: &str) -> anyhow::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    receive(stream).await
}

async fn receive(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut answer = [0; 100];
    let length = timeout(WITHIN, stream.read(&mut answer)).await.context("no answer")??;
    Ok(String::from_utf8_lossy(&answer[..length]).trim_end().to_owned())
}

#[tokio::test]
async fn an_answer_is_held_while_the_server_has_done_the_work() -> anyhow::Result<()> {
    let (redis, proxy) = redis_and_proxy().await?;
    let mut open = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(ask(&mut open, "INCR calls").await?, ":1");

    proxy.delay_answers(HELD);
    let begin = Instant::now();
    open.write_all(b"INCR calls\r\n").await?;
    stack::until("the server has done the work", WITHIN, async || {
        redis.ask("GET calls").await.is_ok_and(|calls| calls == ["2"])
    })
    .await?;
    assert_eq!(receive(&mut open).await?, ":2");
    assert!(begin.elapsed() >= HELD, "answered after {:?}", begin.elapsed());

    proxy.delay_answers(Duration::ZERO);
    assert_eq!(ask(&mut open, "INCR calls").await?, ":3");
    Ok(())
}

#[tokio::test]
async fn what_is_no_longer_held_does_not_overtake_what_was() -> anyhow::Result<()> {
    let (redis, proxy) = redis_and_proxy().await?;
    let mut open = TcpStream::connect(proxy.addr()).await?;
    proxy.delay(HELD);
    let begin = Instant::now();
    open.write_all(b"APPEND order 1\r\n").await?;
    let early = timeout(HELD / 5, receive(&mut open)).await;
    assert!(early.is_err() || begin.elapsed() >= HELD, "it was not held");
    proxy.delay(Duration::ZERO);
    open.write_all(b"APPEND order 2\r\nQUIT\r\n").await?;
    timeout(WITHIN, open.read_to_end(&mut Vec::new())).await??;
    assert_eq!(redis.ask("GET order").await?, ["12"]);
    Ok(())
}

#[tokio::test]
async fn a_black_hole_accepts_and_says_nothing() -> anyhow::Result<()> {
    let (redis, proxy) = redis_and_proxy().await?;
    let mut used = TcpStream::connect(proxy.addr()).await?;
    let mut idle = TcpStream::connect(proxy.addr()).await?;
    assert_eq!(ask(&mut used, "PING").await?, "+PONG");
    assert_eq!(ask(&mut idle, "PING").await?, "+PONG");

    proxy.black_hole();
    let mut new = TcpStream::connect(proxy.addr()).await?;
    for stream in [&mut used, &mut new] {
        assert!(timeout(SILENCE, ask(stream, "SET swallowed 1")).await.is_err(), "it said something");
    }
    assert_eq!(redis.ask("EXISTS swallowed").await?, ["0"]);

    proxy.restore().await?;
    assert_eq!(ask(&mut TcpStream::connect(proxy.addr()).await?, "PING").await?, "+PONG");
    assert_eq!(ask(&mut idle, "PING").await?, "+PONG");
    assert!(timeout(SILENCE, ask(&mut used, "PING")).await.is_err(), "what was lost came back");

    // Nobody can tell from its silence that there is no server behind it.
    redis.kill();
    proxy.black_hole();
    let mut unserved = TcpStream::connect(proxy.addr()).await?;
    assert!(timeout(SILENCE, ask(&mut unserved, "PING")).await.is_err(), "it said something");
    Ok(())
}
