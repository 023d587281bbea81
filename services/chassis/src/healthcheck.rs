//! The `healthcheck` subcommand: asks the admin endpoint of this machine's service whether it is ready.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use clap::Args;

use crate::config::{ConfigError, Problems};

/// Whom to ask.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Address of the service's admin endpoint.
    #[arg(long, env = "ADMIN_ADDR", default_value = "0.0.0.0:9464")]
    pub admin_addr: String,
}

/// The service is not ready.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The address is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody answers within 3 s, or the answer says which dependency is missed.
    #[error("{0}")]
    NotReady(#[from] io::Error),
}

impl HealthcheckArgs {
    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// When the service is not ready.
    pub fn run(&self) -> Result<(), HealthcheckError> {
        let mut problems = Problems::default();
        let addr = problems.parse("ADMIN_ADDR", &self.admin_addr, "an address such as 0.0.0.0:9464");
        println!("{}", check(problems.finish(addr)?)?);
        Ok(())
    }
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// Returns what `/readyz` says.
fn check(admin_addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&loopback(admin_addr), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    if answer.starts_with("HTTP/1.1 200") { Ok(body) } else { Err(io::Error::other(body)) }
}

/// An address that listens on all interfaces is asked on the loopback one.
fn loopback(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, addr.port()).into(),
        _ => addr,
    }
}
