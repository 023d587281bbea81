//! Virtual hosts and limits, set over the broker's Erlang distribution port.

use std::process::Command;

use anyhow::{Context, anyhow, bail};

use crate::programs::{clean_command, installed, run_with_input};
use crate::rabbitmq::USER;
use crate::unique::unique;

/// How to reach the inside of a broker: its distribution port, and the home with its Erlang cookie.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) addr: String,
    pub(crate) home: String,
}

impl Control {
    /// Sets the memory from which on the broker blocks publishers, in Erlang's words.
    pub(crate) async fn set_memory_limit(&self, limit: &str) -> anyhow::Result<()> {
        let call = format!("ok = vm_memory_monitor:set_vm_memory_high_watermark({limit}), set.\n");
        let answer = run_with_input(erl_call(self)?, &call).await.context("cannot set the memory limit")?;
        if !answer.contains("{ok, set}") {
            bail!("cannot set the memory limit: the broker answered {answer}");
        }
        Ok(())
    }
}

/// A virtual host of its own. It goes away with its broker.
#[derive(Debug)]
pub struct Vhost {
    url: String,
}

impl Vhost {
    /// Creates a virtual host and gives the broker's one user all permissions on it. `erl_call` needs
    /// 35 ms for it, `rabbitmqctl` 1 s.
    pub(crate) async fn create(any_url: &str, control: &Control) -> anyhow::Result<Self> {
        let name = unique("test");
        let answer = run_with_input(erl_call(control)?, &creation(&name))
            .await
            .context("cannot create a virtual host")?;
        if !answer.contains("{ok, created}") {
            bail!("cannot create a virtual host: the broker answered {answer}");
        }
        let (broker, _) = any_url.rsplit_once('/').ok_or_else(|| anyhow!("no virtual host in the URL"))?;
        Ok(Self { url: format!("{broker}/{name}") })
    }

    /// `amqp://USER:PASSWORD@127.0.0.1:PORT/VHOST`
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn creation(name: &str) -> String {
    format!(
        "ok = rabbit_vhost:add(<<\"{name}\">>, <<\"{USER}\">>), \
         ok = rabbit_auth_backend_internal:set_permissions(<<\"{USER}\">>, <<\"{name}\">>, \
                  <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"{USER}\">>), \
         created.\n"
    )
}

fn erl_call(control: &Control) -> anyhow::Result<Command> {
    let folders = ["/usr/lib/erlang/*/bin", "/usr/lib/erlang/lib/*/bin", "/usr/local/lib/erlang/*/bin"];
    let mut command = clean_command(installed("erl_call", &folders)?);
    command.env("HOME", &control.home).args(["-address", &control.addr, "-timeout", "30", "-e"]);
    // A broker refuses a second caller of the same name, and `-r` draws its names from the clock's seconds.
    command.args(["-h", &unique("caller")]);
    Ok(command)
}
