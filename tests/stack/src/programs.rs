//! Where the programs are: the servers' and our own.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, anyhow, bail};

/// Finds one of the workspace's compiled binaries next to the running executable.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        anyhow!("no compiled `{name}` next to {}: run `cargo build --workspace --bins`", own.display())
    })
}

/// Finds an installed program by these folders, of which `*` may stand for one level, else on the PATH.
/// The PATH comes last because Debian puts wrappers there that insist on its own system-wide servers.
pub(crate) fn installed(name: &str, folders: &[&str]) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_folders = folders.iter().find_map(|pattern| newest_match(pattern, name));
    let found =
        in_folders.or_else(|| env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file()));
    found.ok_or_else(|| {
        anyhow!("{name} is not installed: run `scripts/install-packages.sh servers edge metrics`")
    })
}

/// Finds a program where `scripts/install-tools.sh` leaves it, else on the PATH.
pub(crate) fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let folder = |variable, below: &str| env::var_os(variable).map(|base| Path::new(&base).join(below));
    let tools = folder("TOOLS_DIR", "")
        .or_else(|| folder("XDG_CACHE_HOME", "snippets-tools"))
        .or_else(|| folder("HOME", ".cache/snippets-tools"));
    let bin = tools.unwrap_or_default().join("bin");
    let found = installed(name, &[&bin.to_string_lossy()]);
    found.map_err(|_| anyhow!("{name} is not installed: run `scripts/install-tools.sh {name}`"))
}

/// Runs a program to its end and gives its standard output; fails with what it said on standard error.
pub(crate) async fn run(command: Command) -> anyhow::Result<String> {
    run_with_input(command, "").await
}

/// As [`run`], with a standard input that fits in a pipe.
pub(crate) async fn run_with_input(mut command: Command, input: &str) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    // Its own group: a Ctrl-C that the stack handles in order must not end it half way.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    });
    let output = output.await?.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command that inherits nothing but what programs need to run at all, so that the developer's own
/// settings (a `DATABASE_URL`, a `PGHOST`) never reach a test.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    const KEPT: [&str; 6] = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE", "RUST_LOG", "LLVM_PROFILE_FILE"];
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    command.envs(KEPT.into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command
}

fn newest_match(pattern: &str, name: &str) -> Option<PathBuf> {
    let Some((parent, below)) = pattern.split_once("/*") else {
        return Some(Path::new(pattern).join(name)).filter(|path| path.is_file());
    };
    let mut folders: Vec<PathBuf> = fs::read_dir(parent).ok()?.flatten().map(|entry| entry.path()).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    let below = below.trim_start_matches('/');
    folders.into_iter().map(|folder| folder.join(below).join(name)).find(|path| path.is_file())
}

/// The digits in a folder's name, so that 9 sorts before 15.
fn version(folder: &Path) -> u64 {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}
