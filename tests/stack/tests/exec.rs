//! `stack exec` from the outside.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

const WITHIN: Duration = Duration::from_secs(20);

const VARIABLES: [&str; 6] = [
    stack::POSTGRES_URL,
    stack::CACHE_REDIS_URL,
    stack::COUNTERS_REDIS_URL,
    stack::AMQP_URL,
    stack::AMQP_CONTROL_ADDR,
    stack::AMQP_CONTROL_HOME,
];

/// `sh -c SCRIPT` under `stack exec`, in a shell that also ends when this test closes its input.
fn exec(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.args(["exec", "--", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("no output")?).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[test]
fn servers_that_are_named_already_are_used_and_the_status_is_passed_on() {
    let mut command = exec("echo $STACK_AMQP_URL; exit 7");
    command.envs(VARIABLES.map(|name| (name, "of-the-caller")));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "of-the-caller\n");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_signal_ends_the_command_and_what_it_started() {
    // The pipe stays open until the inner sleep, too, has ended.
    let mut command = exec("sh -c 'sleep 600; true' & echo started; wait");
    let mut child = command.envs(VARIABLES.map(|name| (name, "of-the-caller"))).spawn().unwrap();
    assert_eq!(first_line(&mut child).unwrap(), "started");
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
}

#[tokio::test]
async fn servers_end_with_the_command_and_also_when_killed() -> anyhow::Result<()> {
    let script = "echo $STACK_CACHE_REDIS_URL; read -r line";
    let mut ends = without_servers(exec(script)).spawn()?;
    let mut is_killed = without_servers(exec(script)).spawn()?;
    let (one, other) = (redis_addr(&first_line(&mut ends)?)?, redis_addr(&first_line(&mut is_killed)?)?);
    assert!(TcpStream::connect(one).is_ok() && TcpStream::connect(other).is_ok());

    drop(ends.stdin.take());
    ends.wait()?;
    assert!(TcpStream::connect(one).is_err(), "a server outlived its command");

    is_killed.kill()?;
    is_killed.wait()?;
    stack::until("the orphaned server is gone", WITHIN, async || TcpStream::connect(other).is_err()).await
}

fn without_servers(mut command: Command) -> Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

fn redis_addr(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.trim_start_matches("redis://").trim_end_matches('/').parse()?)
}
