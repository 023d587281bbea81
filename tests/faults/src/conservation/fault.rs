//! What can happen to the product and to what it depends on.

use std::fmt;
use std::time::Duration;

use crate::Outage;

/// A server or service, counted from 0 where there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A counter worker.
    Worker(usize),
    /// A replica of snippets.
    Replica(usize),
    /// The broker.
    RabbitMq,
    /// The database.
    Postgres,
}

/// A connection's way from a service to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Who connects.
    pub from: Node,
    /// To whom.
    pub to: Node,
}

/// What a fault befalls, of which it is the only one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A server or service.
    Node(Node),
    /// The way between two.
    Way(Way),
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is killed, or frozen.
    Away(Node, Outage),
    /// Connections are closed, and new ones refused; what was under way is lost.
    Cut(Way),
    /// Connections stay open, and what is sent on them is lost.
    Silent(Way),
    /// What is asked is so long on its way.
    Slow(Way, Duration),
    /// What is answered is so long on its way.
    SlowAnswers(Way, Duration),
    /// There is no room left for Postgres's data.
    DiskFull,
}

impl Way {
    /// Both workers' and replicas' ways to the broker, and the workers' to the database.
    pub const ALL: [Self; 6] = [
        Self { from: Node::Replica(0), to: Node::RabbitMq },
        Self { from: Node::Replica(1), to: Node::RabbitMq },
        Self { from: Node::Worker(0), to: Node::RabbitMq },
        Self { from: Node::Worker(1), to: Node::RabbitMq },
        Self { from: Node::Worker(0), to: Node::Postgres },
        Self { from: Node::Worker(1), to: Node::Postgres },
    ];
}

impl Fault {
    /// What it befalls.
    pub fn target(self) -> Target {
        match self {
            Self::Away(node, _) => Target::Node(node),
            Self::DiskFull => Target::Node(Node::Postgres),
            Self::Cut(way) | Self::Silent(way) | Self::Slow(way, _) | Self::SlowAnswers(way, _) => {
                Target::Way(way)
            }
        }
    }

    /// How long its target needs after the end until the next fault finds it at work, and not still coming up.
    pub fn recovery(self) -> Duration {
        match self {
            Self::Away(Node::RabbitMq, Outage::Killed) => Duration::from_secs(6),
            Self::Away(Node::Postgres, Outage::Killed) | Self::DiskFull => Duration::from_secs(2),
            _ => Duration::from_secs(1),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(index) => write!(out, "counter-worker-{}", index + 1),
            Self::Replica(index) => write!(out, "snippets-{}", index + 1),
            Self::RabbitMq => out.write_str("rabbitmq"),
            Self::Postgres => out.write_str("postgres"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {}", self.from, self.to)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(node, Outage::Killed) => write!(out, "{node}: killed"),
            Self::Away(node, Outage::Paused) => write!(out, "{node}: paused"),
            Self::Cut(way) => write!(out, "{way}: cut"),
            Self::Silent(way) => write!(out, "{way}: silent"),
            Self::Slow(way, by) => write!(out, "{way}: slow by {by:?}"),
            Self::SlowAnswers(way, by) => write!(out, "{way}: answers slow by {by:?}"),
            Self::DiskFull => out.write_str("postgres: disk full"),
        }
    }
}
