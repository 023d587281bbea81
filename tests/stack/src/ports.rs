//! TCP ports on 127.0.0.1 that stay ours for as long as they are held.

use std::fs::{self, File, OpenOptions};

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::unique::random;

/// Below the ports that the kernel hands to outgoing connections. A server that is killed and restarted
/// needs its port again: from the kernel's own range any connection may have taken it in between, and a
/// client that dials a dead port of that range can even connect to itself.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;
const ATTEMPTS: u32 = 200;

/// A claimed port. The claim is a file lock, so it also holds against other test runs on this machine,
/// while no server listens, and ends with this value or with the process.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    /// Claims a free port.
    pub fn free() -> anyhow::Result<Self> {
        for _ in 0..ATTEMPTS {
            let offset = random() % u64::from(LAST - FIRST + 1);
            let candidate = FIRST + u16::try_from(offset)?;
            if let Some(port) = Self::claim(candidate)? {
                return Ok(port);
            }
        }
        bail!("no free port found between {FIRST} and {LAST} in {ATTEMPTS} attempts")
    }

    /// Claims this very port, or any free one when it is taken.
    pub fn preferred(number: u16) -> anyhow::Result<Self> {
        match Self::claim(number)? {
            Some(port) => Ok(port),
            None => Self::free(),
        }
    }

    /// Claims the first free port from this one upwards.
    pub fn first_from(number: u16) -> anyhow::Result<Self> {
        for candidate in number..number.saturating_add(100) {
            if let Some(port) = Self::claim(candidate)? {
                return Ok(port);
            }
        }
        bail!("the 100 ports from {number} are all taken")
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }

    fn claim(number: u16) -> anyhow::Result<Option<Self>> {
        let path = claims_dir()?.join(number.to_string());
        let claim = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let free = claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        Ok(free.then_some(Self { number, _claim: claim }))
    }
}

/// One folder per user: in a shared /tmp another user's files could not be locked.
fn claims_dir() -> anyhow::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("stack-ports-{user}"));
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
