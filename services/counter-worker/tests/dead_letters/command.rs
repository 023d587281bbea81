//! Runs the command.

use std::process::{Child, Command, Stdio};

/// How a command has ended.
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    success: bool,
}

impl Ended {
    /// Its standard output; it must have succeeded.
    pub fn succeeded(self) -> String {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its standard error; it must have failed.
    pub fn failed(self) -> String {
        assert!(!self.success, "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs `counter-worker dead-letters` to its end. It must print no address, which holds the password.
pub async fn dead_letters(url: &str, args: &[&str]) -> Ended {
    let child = spawn_dead_letters(url, args);
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = waiting.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ended =
        Ended { stdout: text(output.stdout), stderr: text(output.stderr), success: output.status.success() };
    let password = url.split(['/', ':', '@']).nth(4).filter(|password| !password.is_empty());
    let said = [&ended.stdout, &ended.stderr];
    assert!(!said.into_iter().any(|said| password.is_some_and(|password| said.contains(password))));
    ended
}

pub fn spawn_dead_letters(url: &str, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_counter-worker"))
        .arg("dead-letters")
        .args(args)
        .env_clear()
        .env("AMQP_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
