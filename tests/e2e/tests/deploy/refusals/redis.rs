//! Users of both Redis.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::servers::Servers;

const OF_THE_CACHE: [&str; 15] = [
    "ACL LIST",
    "CONFIG GET *",
    "DEL snippets:v1:x",
    "EVAL return 0",
    "FLUSHALL",
    "FLUSHDB",
    "GET elsewhere",
    "GET rl:x",
    "KEYS *",
    "PUBLISH x x",
    "SCRIPT FLUSH",
    "SELECT 1",
    "SET elsewhere x",
    "SHUTDOWN",
    "SUBSCRIBE x",
];

const OF_THE_COUNTERS: [&str; 14] = [
    "ACL LIST",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "DEL elsewhere",
    "EVAL return 0",
    "FLUSHALL",
    "FLUSHDB",
    "GET snippets:v1:x",
    "KEYS *",
    "MGET snippets:v1:x",
    "SCRIPT FLUSH",
    "SELECT 1",
    "SET elsewhere x",
    "SHUTDOWN",
];

/// Demands that each user is refused what it does not need, and that nobody else is let in.
pub async fn of_redis(servers: &Servers) {
    let users = [
        ("redis-cache:6379", "snippets", &OF_THE_CACHE[..]),
        ("redis-counters:6379", "ratelimit", &OF_THE_COUNTERS),
    ];
    for (host, user, refused) in users {
        let mut session = Session::open(servers.addr(host)).await;
        assert_refused("nobody", "PING", &session.ask("PING").await, "-NOAUTH");
        for other in ["default default", "default local-only", "snippets password-of-ratelimit"] {
            let reply = session.ask(&format!("AUTH {other}")).await;
            assert_refused(other, "log in", &reply, "-WRONGPASS");
        }
        let password = password(&servers.url("redis", user)).to_owned();
        assert_eq!(session.ask(&format!("AUTH {user} {password}")).await, "+OK");
        // What the healthcheck asks.
        assert_eq!(session.ask("PING").await, "+PONG");
        for command in refused {
            assert_refused(user, command, &session.ask(command).await, "-NOPERM");
        }
    }
}

fn assert_refused(user: &str, command: &str, reply: &str, reason: &str) {
    assert!(reply.starts_with(reason), "{user} may {command}: {reply}");
}

/// The one in `redis://USER:PASSWORD@ADDRESS/`.
fn password(url: &str) -> &str {
    let (credentials, _) = url.rsplit_once('@').unwrap();
    credentials.rsplit_once(':').unwrap().1
}

struct Session(BufReader<TcpStream>);

impl Session {
    async fn open(addr: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(addr).await.unwrap()))
    }

    /// The first line of the reply, which is all of it when it is an error.
    async fn ask(&mut self, command: &str) -> String {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).await.unwrap();
        reply.trim_end().to_owned()
    }
}
