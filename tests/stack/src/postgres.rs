//! A private Postgres server and the databases in it.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::disk::Disk;
use crate::ports::Port;
use crate::programs::{clean_command, installed, run};
use crate::server::{Probe, Server, probe, temp_dir};
use crate::unique::{random, unique};
use crate::wait::{eventually, until};

/// What a server's log of changes may take of a disk of its own.
const SMALL_WAL: &str = "max_wal_size=32MB";
/// How long a server may take to answer again once there is room on its disk.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How long a standby may take to replay what its primary has.
const REPLAYED_WITHIN: Duration = Duration::from_secs(30);

/// How a Postgres server is run.
#[derive(Debug, Default)]
pub struct PostgresOptions {
    /// Waits for the disk at each commit, as in production. Off by default: a killed server loses nothing
    /// that it has handed to the operating system, and only a power cut would tell the difference.
    pub fsync: bool,
    /// The port; a free one if None.
    pub port: Option<Port>,
}

/// A Postgres server in a folder of its own; ends when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    disk: Option<Disk>,
    url: String,
    port: Port,
}

impl Postgres {
    /// Starts a server with default options.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(PostgresOptions::default()).await
    }

    /// Starts a server.
    pub async fn start_with(options: PostgresOptions) -> anyhow::Result<Self> {
        Self::start_on(None, options).await
    }

    /// Starts a server whose data is on a disk of its own of that size, 128 MiB at least, in memory, which can be
    /// [filled](Self::fill_disk). Only root can have one.
    pub async fn start_on_small_disk(disk_bytes: u64) -> anyhow::Result<Self> {
        Self::start_on(Some(disk_bytes), PostgresOptions::default()).await
    }

    async fn start_on(disk_bytes: Option<u64>, options: PostgresOptions) -> anyhow::Result<Self> {
        let port = options.port.map_or_else(Port::free, Ok)?;
        let programs = Programs::find()?;
        let dir = temp_dir("postgres")?;
        programs.give_to_owner(dir.path())?;
        let disk = match disk_bytes {
            Some(bytes) => Some(programs.mount(dir.path(), bytes).await?),
            None => None,
        };
        let password = format!("{:016x}", random());
        programs.initdb(dir.path(), &password, disk.is_some()).await?;

        let mut command = programs.postgres(dir.path(), port.number(), options.fsync);
        if disk.is_some() {
            command.args(["-c", SMALL_WAL]);
        }
        let server = Server::start("postgres", dir, command, programs.probe(port.number())).await?;
        let url = format!("postgres://postgres:{password}@{}/postgres", port.addr());
        Ok(Self { server, disk, url, port })
    }

    /// Starts a standby of this server, which streams its log of changes. Roles and passwords are the same.
    pub async fn standby(&self) -> anyhow::Result<Self> {
        let (port, programs) = (Port::free()?, Programs::find()?);
        let dir = temp_dir("standby")?;
        programs.give_to_owner(dir.path())?;
        programs.base_backup(dir.path(), &self.url).await?;
        let command = programs.postgres(dir.path(), port.number(), false);
        let server = Server::start("standby", dir, command, programs.probe(port.number())).await?;
        let url = at_port(&self.url, &port)?;
        Ok(Self { server, disk: None, url, port })
    }

    /// The URL of a database of this server's primary, as it is on this standby.
    pub fn copy_of(&self, database: &Database) -> anyhow::Result<Database> {
        Ok(Database::at(at_port(&database.url, &self.port)?))
    }

    /// Waits until this standby has replayed all that its primary has now.
    pub async fn until_replayed(&self, primary: &Self) -> anyhow::Result<()> {
        let at = execute(&primary.url, "SELECT pg_current_wal_lsn()").await?;
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'");
        let replayed = async || execute(&self.url, &reached).await.is_ok_and(|reached| reached == "t");
        until("the standby has what its primary has", REPLAYED_WITHIN, replayed).await
    }

    /// The superuser's URL of the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a fresh, empty database.
    pub async fn database(&self) -> anyhow::Result<Database> {
        Database::create(&self.url).await
    }

    /// Ends the server and its backends with SIGKILL; returns when they are gone.
    pub fn kill(&self) {
        self.server.kill();
        // The pid in it may soon be another process's, and Postgres would then refuse to start.
        let _ = fs::remove_file(data_dir(self.server.dir()).join("postmaster.pid"));
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Starts the server again, killing it first if it runs: same port, same data.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.kill();
        self.server.restart().await
    }

    /// Leaves no byte free on the server's own disk. A server that needs room for its log of changes panics then, starts
    /// anew by itself, and gives up if that takes room, too.
    pub async fn fill_disk(&self) -> anyhow::Result<()> {
        self.disk()?.fill().await
    }

    /// Ends a [`fill_disk`](Self::fill_disk), and starts the server again if it has given up meanwhile; tells whether it had.
    pub async fn free_disk(&self) -> anyhow::Result<bool> {
        self.disk()?.free()?;
        let mut had_given_up = false;
        let answers = eventually(ANSWERS_WITHIN, async || {
            if self.server.has_ended() {
                had_given_up = true;
                self.restart().await?;
            }
            execute(&self.url, "SELECT 1").await
        });
        answers.await?;
        Ok(had_given_up)
    }

    fn disk(&self) -> anyhow::Result<&Disk> {
        self.disk.as_ref().context("the server has no disk of its own")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The folder is removed together with the server, and can't be while a disk is mounted in it.
        self.server.kill();
        self.disk = None;
    }
}

/// A database of its own. It goes away with its server, not when dropped: whoever kept its URL may go on.
#[derive(Debug)]
pub struct Database {
    url: String,
}

impl Database {
    /// Creates an empty database on the server that `admin_url` leads to.
    pub(crate) async fn create(admin_url: &str) -> anyhow::Result<Self> {
        let name = unique("test");
        // template1 can't be copied while anybody else is connected to it; template0 always can.
        execute(admin_url, &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        let (server, _) = admin_url.rsplit_once('/').ok_or_else(|| anyhow!("no database in the URL"))?;
        Ok(Self { url: format!("{server}/{name}") })
    }

    /// A database that exists, in the name of the role in the URL.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// Its URL: the superuser's, of a database that was created here.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL through psql and gives its output: one line a row, columns separated by `|`.
    pub async fn execute(&self, sql: &str) -> anyhow::Result<String> {
        execute(&self.url, sql).await
    }

    /// Runs a pgbench script over and over on so many connections for that long, and gives its transactions a second.
    pub async fn pgbench(&self, script: &str, connections: u32, seconds: u32) -> anyhow::Result<f64> {
        let dir = temp_dir("pgbench")?;
        let file = dir.path().join("script.sql");
        fs::write(&file, script)?;
        let mut command = clean_command(Programs::find()?.path("pgbench"));
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
        command.arg(format!("--client={connections}")).arg(format!("--time={seconds}"));
        command.arg("--file").arg(&file).arg(&self.url);
        let said = run(command).await?;
        // `tps = 1234.567890 (without initial connection time)`
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| anyhow!("pgbench told no rate: {said}"))
    }

    /// Runs a script through psql, to which `\getenv` gives these variables.
    pub async fn execute_file<'a>(
        &self,
        path: &Path,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> anyhow::Result<()> {
        let mut command = psql(&self.url)?;
        command.envs(variables).arg("--file").arg(path);
        run(command).await?;
        Ok(())
    }
}

async fn execute(url: &str, sql: &str) -> anyhow::Result<String> {
    let mut command = psql(url)?;
    command.args(["--command", sql]);
    Ok(run(command).await?.trim_end().to_owned())
}

fn psql(url: &str) -> anyhow::Result<Command> {
    let mut command = clean_command(Programs::find()?.path("psql"));
    // --no-psqlrc: the developer's own file must not change what a test sees.
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
    command.args(["--dbname", url]);
    Ok(command)
}

#[derive(Debug, Clone)]
struct Programs {
    bin: PathBuf,
    /// User and group to run as: Postgres refuses to run as root.
    owner: Option<(u32, u32)>,
}

impl Programs {
    fn find() -> anyhow::Result<Self> {
        let initdb = installed("initdb", &["/usr/lib/postgresql/*/bin", "/usr/pgsql/*/bin"])?;
        let bin = initdb.parent().ok_or_else(|| anyhow!("initdb is in no folder"))?.to_owned();
        let owner = if rustix::process::geteuid().is_root() { Some(postgres_user()?) } else { None };
        Ok(Self { bin, owner })
    }

    fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    fn give_to_owner(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    async fn initdb(&self, dir: &Path, password: &str, small_segments: bool) -> anyhow::Result<()> {
        let password_file = dir.join("password");
        fs::write(&password_file, password)?;
        self.give_to_owner(&password_file)?;
        let mut command = self.as_owner("initdb", dir);
        // Clear text over loopback: keeps other users of this machine out without a slow key derivation
        // for each of a test run's many connections.
        command.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C.UTF-8"]);
        command.args(["--no-sync", "--no-instructions"]);
        // A server on a full disk notices when it begins a new segment of its log of changes.
        if small_segments {
            command.arg("--wal-segsize=1");
        }
        command.arg("--pgdata").arg(data_dir(dir)).arg("--pwfile").arg(&password_file);
        run(command).await.context("initdb failed")?;
        fs::remove_file(&password_file)?;
        Ok(())
    }

    /// Copies a running server into `dir`, to be its standby.
    async fn base_backup(&self, dir: &Path, url: &str) -> anyhow::Result<()> {
        let mut command = self.as_owner("pg_basebackup", dir);
        command.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        command.arg("--dbname").arg(url).arg("--pgdata").arg(data_dir(dir));
        run(command).await.context("pg_basebackup failed").map(drop)
    }

    async fn mount(&self, dir: &Path, bytes: u64) -> anyhow::Result<Disk> {
        let owner = self.owner.context("only root can mount a disk")?;
        let data_dir = data_dir(dir);
        fs::create_dir(&data_dir)?;
        Disk::mount(&data_dir, bytes, owner).await
    }

    fn postgres(&self, dir: &Path, port: u16, fsync: bool) -> Command {
        let mut command = self.as_owner("postgres", dir);
        command.arg("-D").arg(data_dir(dir)).arg("-k").arg(dir).arg("-p").arg(port.to_string());
        let fsync = if fsync { "fsync=on" } else { "fsync=off" };
        for setting in ["listen_addresses=127.0.0.1", "max_connections=300", fsync] {
            command.args(["-c", setting]);
        }
        command
    }

    /// Whether a server answers at that port.
    fn probe(&self, port: u16) -> Probe {
        let programs = self.clone();
        probe(move || {
            let command = programs.pg_isready(port);
            async move { run(command).await.is_ok() }
        })
    }

    fn pg_isready(&self, port: u16) -> Command {
        let mut command = clean_command(self.path("pg_isready"));
        command.args(["--host=127.0.0.1", "--port", &port.to_string()]);
        command
    }

    fn as_owner(&self, program: &str, dir: &Path) -> Command {
        let mut command = clean_command(self.path(program));
        command.current_dir(dir);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

/// The same URL, of a server at another port of this machine.
fn at_port(url: &str, port: &Port) -> anyhow::Result<String> {
    let (login, rest) = url.split_once('@').ok_or_else(|| anyhow!("nobody logs in by the URL"))?;
    let (_, name) = rest.split_once('/').ok_or_else(|| anyhow!("no database in the URL"))?;
    Ok(format!("{login}@{}/{name}", port.addr()))
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn postgres_user() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let entry = users.lines().find(|line| line.starts_with("postgres:"));
    let entry = entry.ok_or_else(|| anyhow!("running as root, and there is no user postgres to run as"))?;
    let fields: Vec<&str> = entry.split(':').collect();
    match fields[..] {
        [_, _, user, group, ..] => Ok((user.parse()?, group.parse()?)),
        _ => Err(anyhow!("the entry of postgres in /etc/passwd has too few fields")),
    }
}
