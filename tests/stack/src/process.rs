//! One child process that never outlives its owner.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::process_tree;

/// A running child in its own process group, killed with all that it started when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    reaper: Reaper,
}

impl Process {
    /// Starts the command. `dir` is removed if this process ends without having stopped the child.
    pub(crate) fn spawn(command: &mut Command, dir: &Path) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        match Reaper::spawn(child.id(), dir) {
            Ok(reaper) => Ok(Self { child, reaper }),
            Err(error) => {
                process_tree::kill(child.id());
                child.wait()?;
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(crate) fn pause(&self) {
        process_tree::freeze(self.id());
    }

    pub(crate) fn resume(&self) {
        process_tree::thaw(self.id());
    }

    pub(crate) fn hang_up(&self) {
        process_tree::signal(self.id(), Signal::HUP);
    }

    /// Asks the process to end; its descendants are its own business.
    pub(crate) fn terminate(&self) {
        process_tree::signal(self.id(), Signal::TERM);
    }

    fn kill(&mut self) {
        // Once reaped, the pid may be somebody else's.
        if let Ok(None) = self.child.try_wait() {
            let descendants = process_tree::kill(self.child.id());
            let _ = self.child.wait();
            process_tree::wait_until_gone(&descendants);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.reaper.release();
    }
}

/// A shell that sleeps until its standard input closes. That happens whatever ends this process, so also
/// after SIGKILL, Ctrl-C, or for a server in a `static`, which is never dropped.
#[derive(Debug)]
struct Reaper(Child);

const REAPER: &str = r#"
read -r word || word=orphaned
[ "$word" = released ] && exit 0
children=$(grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | cut -d/ -f3)
kill -s KILL -- "-$1" $children
sleep 1
for disk in $(grep -s " $2/" /proc/mounts | cut -d' ' -f2); do umount -l "$disk"; done
rm -rf -- "$2"
"#;

impl Reaper {
    fn spawn(group: u32, dir: &Path) -> io::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", REAPER, "stack-reaper", &group.to_string()])
            .arg(dir)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Sends the shell home: the child has ended and its pid may be reused.
    fn release(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"released\n");
        }
        let _ = self.0.wait();
    }
}
