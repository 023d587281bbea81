//! `stack exec`

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use stack::{PostgresOptions, Shared, SharedServers, kill_tree, terminate_tree};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::interrupt::Interrupt;

/// How long an interrupted command may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Arguments {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen()?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    if Shared::from_env().is_ok() {
        return run_command(command, &mut interrupt).await;
    }
    let servers = tokio::select! {
        servers = SharedServers::start(PostgresOptions::default()) => servers?,
        code = interrupt.received() => return Ok(code),
    };
    command.envs(servers.variables());
    run_command(command, &mut interrupt).await
}

async fn run_command(mut command: Command, interrupt: &mut Interrupt) -> anyhow::Result<ExitCode> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    let pid = child.id();
    let mut ended = wait(child);
    let interrupted = tokio::select! {
        status = &mut ended => return Ok(exit_code(status??)),
        code = interrupt.received() => code,
    };
    terminate_tree(pid);
    if timeout(GRACE, &mut ended).await.is_err() {
        kill_tree(pid);
        ended.await??;
    }
    // Whatever the command made of it: it was not let finish, so this is no success.
    Ok(interrupted)
}

fn wait(mut child: Child) -> JoinHandle<std::io::Result<ExitStatus>> {
    tokio::task::spawn_blocking(move || child.wait())
}

/// As shells do it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
