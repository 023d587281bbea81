//! The servers of docker-compose.yml, each with what `deploy/` makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use stack::{Database, Postgres, RabbitMq, RabbitMqOptions, Redis, RedisOptions, RedisPolicy};
use tempfile::TempDir;

use crate::fill_in::fill_in;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// As in docker-compose.yml. No two users have the same, lest one is let in as another.
const PASSWORDS: [(&str, &str); 8] = [
    ("SNIPPETS_OWNER_PASSWORD", "password-of-snippets_owner"),
    ("SNIPPETS_APP_PASSWORD", "password-of-snippets_app"),
    ("VIEWS_OWNER_PASSWORD", "password-of-views_owner"),
    ("VIEWS_APP_PASSWORD", "password-of-views_app"),
    ("SNIPPETS_CACHE_PASSWORD", "password-of-snippets-at-the-cache"),
    ("RATELIMIT_COUNTERS_PASSWORD", "password-of-ratelimit"),
    ("SNIPPETS_AMQP_PASSWORD", "password-of-snippets-at-the-broker"),
    ("COUNTER_WORKER_AMQP_PASSWORD", "password-of-counter-worker"),
];

/// Servers that know nobody but the users that `deploy/` tells them of.
pub struct Servers {
    postgres: Postgres,
    cache: Redis,
    counters: Redis,
    rabbitmq: RabbitMq,
    compose: String,
    _dir: TempDir,
}

impl Servers {
    /// Starts them side by side.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let users = |file| Some(fill_in(file, &PASSWORDS, dir.path()));
        let cache =
            RedisOptions { acl_file: users("redis/cache.acl"), ..RedisOptions::of(RedisPolicy::Cache) };
        let counters =
            RedisOptions { acl_file: users("redis/counters.acl"), ..RedisOptions::of(RedisPolicy::Counters) };
        let (postgres, cache, counters, rabbitmq) = tokio::try_join!(
            Postgres::start(),
            Redis::start_with(cache),
            Redis::start_with(counters),
            RabbitMq::start_with(rabbitmq_options(dir.path())),
        )
        .unwrap();
        initialize(&postgres).await;
        let compose = fs::read_to_string(Path::new(ROOT).join("docker-compose.yml")).unwrap();
        Self { postgres, cache, counters, rabbitmq, compose, _dir: dir }
    }

    /// The URL that docker-compose.yml has for that user, at the address and with the password that hold here.
    pub fn url(&self, scheme: &str, user: &str) -> String {
        let start = format!("{scheme}://{user}:${{");
        let (_, rest) =
            self.compose.split_once(&start).unwrap_or_else(|| panic!("{start} is not in compose"));
        let (variable, rest) = rest.split_once(":-local-only}@").unwrap();
        let (host, rest) = rest.split_once('/').unwrap();
        let path = rest.lines().next().unwrap();
        format!("{scheme}://{user}:{}@{}/{path}", password(variable), self.addr(host))
    }

    /// `ADDRESS:PORT` of the server that goes by that name in docker-compose.yml.
    pub fn addr(&self, host: &str) -> &str {
        let url = match host {
            "postgres:5432" => self.postgres.url(),
            "redis-cache:6379" => self.cache.url(),
            "redis-counters:6379" => self.counters.url(),
            "rabbitmq:5672" => self.rabbitmq.url(),
            _ => panic!("docker-compose.yml has no {host}"),
        };
        let (_, rest) = url.split_once("://").unwrap();
        let (authority, _) = rest.split_once('/').unwrap();
        authority.rsplit_once('@').map_or(authority, |(_, addr)| addr)
    }

    /// Demands that the logs tell of no user that wanted more than it may. That of Redis tells of none in any case.
    pub fn assert_nobody_was_refused(&self) {
        for log in [self.postgres.log(), self.rabbitmq.log()] {
            let is_refusal = |line: &&str| {
                let line = line.to_lowercase();
                ["permission denied", "must be owner", "refused"].iter().any(|words| line.contains(words))
            };
            let refusals: Vec<&str> = log.lines().filter(is_refusal).collect();
            assert!(refusals.is_empty(), "{refusals:#?}");
        }
    }
}

/// The path of a file of `deploy/`.
pub fn deploy(file: &str) -> PathBuf {
    Path::new(ROOT).join("deploy").join(file)
}

/// As the image's entrypoint does it, in the database that `POSTGRES_DB` names.
async fn initialize(postgres: &Postgres) {
    let superuser = Database::at(postgres.url());
    superuser.execute("CREATE DATABASE snippets").await.unwrap();
    let (server, _) = postgres.url().rsplit_once('/').unwrap();
    let database = Database::at(format!("{server}/snippets"));
    database.execute_file(&deploy("postgres/init.sql"), PASSWORDS).await.unwrap();
}

/// rabbitmq.conf as it is, but for where the definitions are.
fn rabbitmq_options(dir: &Path) -> RabbitMqOptions {
    let definitions = fill_in("rabbitmq/definitions.json", &PASSWORDS, dir);
    let settings = fs::read_to_string(deploy("rabbitmq/rabbitmq.conf")).unwrap();
    let in_container = "/tmp/definitions.json";
    assert!(settings.contains(in_container), "{settings}");
    RabbitMqOptions { settings: settings.replace(in_container, &definitions.display().to_string()) }
}

fn password(variable: &str) -> &'static str {
    let (_, password) = PASSWORDS.iter().find(|(name, _)| *name == variable).unwrap();
    password
}
