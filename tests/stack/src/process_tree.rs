//! Signals to a process and everything it started.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Sends SIGTERM to a process and to everything it started.
pub fn terminate_tree(root: u32) {
    let descendants = descendants(root);
    signal(root, Signal::TERM);
    for pid in descendants {
        signal(pid, Signal::TERM);
    }
}

/// Sends SIGKILL to a process and to everything it started; the process itself is the caller's to reap.
pub fn kill_tree(root: u32) {
    freeze(root);
    for pid in descendants(root) {
        signal(pid, Signal::KILL);
    }
    signal(root, Signal::KILL);
}

/// Stops a process and its descendants; they keep their memory, sockets and locks.
pub(crate) fn freeze(root: u32) {
    signal_group(root, Signal::STOP);
    for pid in descendants(root) {
        signal(pid, Signal::STOP);
    }
}

/// Lets a frozen process and its descendants go on.
pub(crate) fn thaw(root: u32) {
    for pid in descendants(root) {
        signal(pid, Signal::CONT);
    }
    signal_group(root, Signal::CONT);
}

/// Kills a process and its descendants. Postgres gives each backend a process group of its own, so the
/// group alone is not enough; the tree is frozen first, so that nothing is started while it is listed.
///
/// Returns the descendants, which are not ours to reap: see [`wait_until_gone`].
pub(crate) fn kill(root: u32) -> Vec<u32> {
    freeze(root);
    let descendants = descendants(root);
    signal_group(root, Signal::KILL);
    for &pid in &descendants {
        signal(pid, Signal::KILL);
    }
    descendants
}

/// Waits until none of these processes runs any more, for 5 seconds at most.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while pids.iter().any(|&pid| is_running(pid)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to one process; a process that is gone is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = to_pid(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Children first found, then theirs. Where there is no /proc the list is empty and the group must do.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = running().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|entry| entry.1 == parent).map(|entry| entry.0));
        next += 1;
    }
    found.split_off(1)
}

fn signal_group(leader: u32, signal: Signal) {
    if let Some(leader) = to_pid(leader) {
        let _ = kill_process_group(leader, signal);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

fn running() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

struct Stat {
    state: char,
    parent: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in brackets, and may itself hold spaces and brackets.
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    Some(Stat { state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}
