//! Each private server starts, answers, falls silent, dies, comes back with its data, and ends.

mod amqp;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use stack::{Postgres, RabbitMq, Redis, RedisPolicy};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a paused server is watched for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);
const DISK_BYTES: u64 = 128 << 20;

#[tokio::test]
async fn postgres_survives_kill_and_pause() -> anyhow::Result<()> {
    let server = Postgres::start().await?;
    let database = server.database().await?;
    database.execute("CREATE TABLE kept (id int)").await?;
    database.execute("INSERT INTO kept VALUES (42)").await?;

    server.pause();
    let mut answer = pin!(database.execute("SELECT id FROM kept"));
    assert!(timeout(SILENCE, &mut answer).await.is_err(), "a paused server answered");
    server.resume();
    assert_eq!(answer.await?, "42");

    server.kill();
    assert!(database.execute("SELECT 1").await.is_err(), "a killed server answered");
    server.restart().await?;
    assert_eq!(database.execute("SELECT id FROM kept").await?, "42");

    let addr = addr_of(server.url())?;
    drop(server);
    assert!(TcpStream::connect(addr).await.is_err(), "a dropped server listens");
    Ok(())
}

#[tokio::test]
async fn postgres_survives_a_full_disk() -> anyhow::Result<()> {
    let server = match Postgres::start_on_small_disk(DISK_BYTES).await {
        Err(error) if format!("{error:#}").contains("mount a disk") => {
            println!("not tried: {error:#}");
            return Ok(());
        }
        started => started?,
    };
    let database = server.database().await?;
    database.execute("CREATE TABLE kept AS SELECT 42 AS id").await?;
    server.fill_disk().await?;
    let more = "CREATE TABLE more AS SELECT generate_series(1, 1000000)";
    let refused = database.execute(more).await.expect_err("there is room on a full disk").to_string();
    assert!(refused.contains("No space left") || refused.contains("closed"), "{refused}");
    server.free_disk().await?;
    database.execute(more).await?;
    assert_eq!(database.execute("SELECT id FROM kept").await?, "42");
    Ok(())
}

#[tokio::test]
async fn postgres_databases_are_apart() -> anyhow::Result<()> {
    let server = Postgres::start().await?;
    let (one, other) = tokio::try_join!(server.database(), server.database())?;
    one.execute("CREATE TABLE mine (id int)").await?;
    assert!(other.execute("SELECT * FROM mine").await.is_err(), "a table is seen from another database");
    Ok(())
}

#[tokio::test]
async fn counters_redis_survives_kill_and_pause() -> anyhow::Result<()> {
    let server = Redis::start(RedisPolicy::Counters).await?;
    let url = server.url().to_owned();
    assert_eq!(redis(&url, "SET kept 42").await?, "+OK");

    server.pause();
    let mut answer = pin!(redis(&url, "INCR kept"));
    assert!(timeout(SILENCE, &mut answer).await.is_err(), "a paused server answered");
    server.resume();
    assert_eq!(answer.await?, ":43");

    server.kill();
    assert!(redis(&url, "PING").await.is_err(), "a killed server answered");
    server.restart().await?;
    assert_eq!(redis(&url, "INCR kept").await?, ":44");

    drop(server);
    assert!(TcpStream::connect(addr_of(&url)?).await.is_err(), "a dropped server listens");
    Ok(())
}

#[tokio::test]
async fn cache_redis_forgets_when_restarted() -> anyhow::Result<()> {
    let server = Redis::start(RedisPolicy::Cache).await?;
    assert_eq!(redis(server.url(), "SET forgotten 1").await?, "+OK");
    server.restart().await?;
    assert_eq!(redis(server.url(), "EXISTS forgotten").await?, ":0");
    Ok(())
}

#[tokio::test]
async fn rabbitmq_survives_kill_and_pause() -> anyhow::Result<()> {
    let server = RabbitMq::start().await?;
    let (vhost, other) = tokio::try_join!(server.vhost(), server.vhost())?;
    amqp::open(vhost.url()).await?;
    amqp::open(other.url()).await?;
    assert!(amqp::open(&format!("{}x", vhost.url())).await.is_err(), "a vhost that nobody made was opened");

    server.pause();
    let mut opened = pin!(amqp::open(vhost.url()));
    assert!(timeout(SILENCE, &mut opened).await.is_err(), "a paused broker answered");
    server.resume();
    opened.await?;

    server.kill();
    assert!(amqp::open(vhost.url()).await.is_err(), "a killed broker answered");
    server.restart().await?;
    amqp::open(vhost.url()).await?;

    let addr = addr_of(vhost.url())?;
    drop(server);
    assert!(TcpStream::connect(addr).await.is_err(), "a dropped broker listens");
    Ok(())
}

/// Sends an inline command and gives the first line of the reply.
async fn redis(url: &str, command: &str) -> anyhow::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(addr_of(url)?).await?);
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut reply = String::new();
    stream.read_line(&mut reply).await?;
    Ok(reply.trim_end().to_owned())
}

/// The address in `scheme://user:password@ADDRESS/path`.
fn addr_of(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, rest) = url.split_once("://").context("no scheme")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let (_, addr) = authority.rsplit_once('@').unwrap_or(("", authority));
    Ok(addr.parse()?)
}
