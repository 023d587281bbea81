//! Roles of Postgres.

use stack::Database;
use tokio::task::JoinSet;

use crate::servers::Servers;

/// What nobody may, whatever its role.
const FOR_ALL: [(&str, &str); 5] = [
    ("SELECT * FROM public.anything", "permission denied for schema public"),
    ("CREATE TABLE public.mine (id int)", "permission denied for schema public"),
    ("CREATE SCHEMA mine", "permission denied for database"),
    ("CREATE TEMP TABLE mine (id int)", "permission denied to create temporary tables"),
    ("SET ROLE postgres", "permission denied to set role"),
];

/// Role, statement, and the reason that Postgres is to give.
const REFUSED: [(&str, &str, &str); 23] = [
    (
        "snippets_app",
        "INSERT INTO views.totals_by_stripe (snippet_id, views) VALUES ('x', 1)",
        "permission denied for table totals_by_stripe",
    ),
    (
        "snippets_app",
        "UPDATE views.totals_by_stripe SET views = 1",
        "permission denied for table totals_by_stripe",
    ),
    ("snippets_app", "DELETE FROM views.totals_by_stripe", "permission denied for table totals_by_stripe"),
    ("snippets_app", "DELETE FROM views.hourly_by_stripe", "permission denied for table hourly_by_stripe"),
    (
        "snippets_app",
        "UPDATE views.daily_by_stripe SET views = 1",
        "permission denied for table daily_by_stripe",
    ),
    ("snippets_app", "DELETE FROM views.batches", "permission denied for table batches"),
    ("snippets_app", "TRUNCATE snippets.snippets", "permission denied for table snippets"),
    ("snippets_app", "ALTER TABLE snippets.snippets ADD COLUMN mine int", "must be owner of table snippets"),
    ("snippets_app", "DROP TABLE snippets.snippets", "must be owner of table snippets"),
    ("snippets_app", "CREATE TABLE snippets.mine (id int)", "permission denied for schema snippets"),
    ("snippets_app", "CREATE TABLE views.mine (id int)", "permission denied for schema views"),
    ("snippets_app", "SET ROLE snippets_owner", "permission denied to set role"),
    ("views_app", "SELECT * FROM snippets.snippets", "permission denied for schema snippets"),
    ("views_app", "SELECT * FROM snippets.accounts", "permission denied for schema snippets"),
    ("views_app", "SELECT * FROM snippets.api_keys", "permission denied for schema snippets"),
    ("views_app", "TRUNCATE views.totals_by_stripe", "permission denied for table totals_by_stripe"),
    ("views_app", "DROP TABLE views.totals_by_stripe", "must be owner of table totals_by_stripe"),
    ("views_app", "CREATE TABLE views.mine (id int)", "permission denied for schema views"),
    ("views_app", "SET ROLE views_owner", "permission denied to set role"),
    ("snippets_owner", "SELECT * FROM views.totals_by_stripe", "permission denied for schema views"),
    ("snippets_owner", "CREATE TABLE views.mine (id int)", "permission denied for schema views"),
    ("views_owner", "SELECT * FROM snippets.snippets", "permission denied for schema snippets"),
    ("views_owner", "CREATE TABLE snippets.mine (id int)", "permission denied for schema snippets"),
];

/// Demands that each role is refused what is not its own.
pub async fn of_postgres(servers: &Servers) {
    let roles = ["snippets_owner", "snippets_app", "views_owner", "views_app"];
    let for_all = roles.iter().flat_map(|role| FOR_ALL.map(|(sql, reason)| (*role, sql, reason)));
    let mut attempts = JoinSet::new();
    for (role, sql, reason) in for_all.chain(REFUSED) {
        let database = Database::at(servers.url("postgres", role));
        attempts.spawn(async move { (role, sql, reason, database.execute(sql).await) });
    }
    for (role, sql, reason, outcome) in attempts.join_all().await {
        let error = outcome.expect_err(&format!("{role} may {sql}"));
        let error = format!("{error:#}");
        assert!(error.contains(reason), "{role}: {sql}: {error}");
    }
}
