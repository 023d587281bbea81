//! What a process uses, as the kernel tells in `/proc` (see proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Processor time of all threads of a process, in user and kernel mode, since its start.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).with_context(|| format!("no times in {stat:?}"))?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// Memory of a process that is in RAM, in KiB.
pub(crate) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    resident(&status).with_context(|| format!("no VmRSS in {status:?}"))
}

/// `utime` and `stime`, fields 14 and 15, together. Field 2 is the program's name in parentheses, and may hold
/// spaces and parentheses itself.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 511 0 0 0 170 30 0 0 20 0 5 0 1203 1 2 3";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("42 (a"), None);
        assert_eq!(resident("Name:\ta\nVmRSS:\t   11000 kB\nThreads:\t5\n"), Some(11_000));
    }

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        assert!(resident_kib(own).unwrap() > 0);
        cpu_time(own).unwrap();
    }
}
