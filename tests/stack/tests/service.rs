//! A service as a child process, and a proxy in front of a server.

use std::io;
use std::time::{Duration, Instant};

use stack::{Proxy, Service, http_get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn tiny_service() -> anyhow::Result<Service> {
    let program = stack::binary("examples/tiny_service")?;
    Service::builder("tiny", program).env("GREETING", "hello").start().await
}

#[tokio::test]
async fn a_service_is_started_read_killed_and_terminated() -> anyhow::Result<()> {
    let service = tiny_service().await?;
    assert!(service.log().contains("greeting is hello, home database is \"\""), "{}", service.log());
    assert!((service.metric("calls_total{code=\"ok\"}").await? - 2.0).abs() < f64::EPSILON);
    assert!((service.metric("calls_total").await? - 3.0).abs() < f64::EPSILON);

    service.kill();
    assert!(service.metrics().await.is_err(), "a killed service answered");
    assert_eq!(service.pid(), None);
    service.restart().await?;
    service.metrics().await?;

    // It has no handler for SIGTERM.
    let status = service.terminate(Duration::from_secs(5)).await?;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    Ok(())
}

#[tokio::test]
async fn a_service_that_ends_while_starting_shows_its_log() {
    let failing = Service::builder("shell", "/bin/sh".into()).arg("-c").arg("echo oh dear; exit 3");
    let error = failing.start().await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("oh dear"), "{error}");
}

#[test]
fn a_binary_that_is_missing_says_how_to_build_it() {
    let error = stack::binary("no-such-service").unwrap_err().to_string();
    assert!(error.contains("cargo build --workspace --bins"), "{error}");
}

#[tokio::test]
async fn a_proxy_is_cut_restored_and_slowed() -> anyhow::Result<()> {
    let service = tiny_service().await?;
    let proxy = Proxy::start(service.admin_addr()).await?;
    assert_eq!(http_get(proxy.addr(), "/livez").await?.status, 200);

    let mut open = TcpStream::connect(proxy.addr()).await?;
    open.write_all(b"GET ").await?;
    proxy.cut().await;
    let ended = open.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "a cut connection went on: {ended:?}");
    let refused = TcpStream::connect(proxy.addr()).await.map_err(|error| error.kind());
    assert!(matches!(refused, Err(io::ErrorKind::ConnectionRefused)), "{refused:?}");

    proxy.restore().await?;
    assert_eq!(http_get(proxy.addr(), "/livez").await?.status, 200);

    proxy.delay(Duration::from_millis(200));
    let begin = Instant::now();
    http_get(proxy.addr(), "/livez").await?;
    assert!(begin.elapsed() >= Duration::from_millis(200));
    Ok(())
}
