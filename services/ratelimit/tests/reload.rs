//! Rules that change while they are in force.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use rpc::ratelimit::v1::{CheckRequest, ListRulesRequest};
use stack::Service;
use support::service::{Client, ask, check, client, count, shared};
use tokio::task::JoinSet;

/// How long a change may go unnoticed, and as much again for busy machines.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

fn rules(limit: u64) -> String {
    format!(
        "domain: shop\ndescriptors:\n  - {{key: caller, limits: [{{name: calls, limit: {limit}, period: 1h}}]}}\n"
    )
}

/// A service whose rules are at that path.
struct Rig {
    service: Service,
    client: Client,
}

impl Rig {
    async fn start(path: &Path) -> Self {
        let path = path.display().to_string();
        let service = shared(&stack::unique("reload")).env("RATELIMIT_RULES", path).start().await.unwrap();
        let client = client(&service).await;
        Self { service, client }
    }

    async fn version(&self) -> String {
        self.client.clone().list_rules(ListRulesRequest::default()).await.unwrap().into_inner().version
    }

    /// The limit of that caller, as a look tells it.
    async fn limit(&self, caller: &str) -> Option<u64> {
        let look = CheckRequest { peek: true, ..check("shop", &[("caller", caller)]) };
        ask(&mut self.client.clone(), &look).await.statuses.first().map(|status| status.limit)
    }

    async fn until_limit(&self, limit: Option<u64>) {
        stack::until("the limit is another", NOTICED_WITHIN, async || self.limit("ann").await == limit)
            .await
            .unwrap();
    }

    async fn reloads(&self, outcome: &str) -> u64 {
        let selector = format!("ratelimit_rules_reloads_total{{outcome=\"{outcome}\"}}");
        count(&self.service, &selector).await
    }

    async fn until_refused(&self, refused: u64) {
        stack::until("they are refused", NOTICED_WITHIN, async || self.reloads("refused").await == refused)
            .await
            .unwrap();
    }

    async fn are_valid(&self) -> bool {
        count(&self.service, "ratelimit_rules_valid").await == 1
    }
}

/// Puts a file there as editors and configuration management do: written aside, and renamed.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("tmp");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_or_replaced_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules(1)).unwrap();
    let rig = Rig::start(&path).await;
    let first = rig.version().await;
    assert_eq!(rig.limit("ann").await, Some(1));

    fs::write(&path, rules(2)).unwrap();
    rig.until_limit(Some(2)).await;
    assert_ne!(rig.version().await, first);
    replace(&path, &rules(3));
    rig.until_limit(Some(3)).await;
    fs::write(&path, rules(1)).unwrap();
    rig.until_limit(Some(1)).await;
    assert_eq!(rig.version().await, first, "the version is that of the rules");
    assert_eq!((rig.reloads("accepted").await, rig.reloads("refused").await), (3, 0));
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_noticed() {
    // As Kubernetes mounts a ConfigMap: `rules.yaml -> ..data/rules.yaml`, and `..data` is the link that is replaced.
    let folder = tempfile::tempdir().unwrap();
    let (data, path) = (folder.path().join("..data"), folder.path().join("rules.yaml"));
    for version in [1, 2] {
        let version_path = folder.path().join(format!("..{version}"));
        fs::create_dir(&version_path).unwrap();
        fs::write(version_path.join("rules.yaml"), rules(version)).unwrap();
    }
    symlink("..1", &data).unwrap();
    symlink("..data/rules.yaml", &path).unwrap();
    let rig = Rig::start(&path).await;
    assert_eq!(rig.limit("ann").await, Some(1));
    let aside = folder.path().join("..data_tmp");
    symlink("..2", &aside).unwrap();
    fs::rename(&aside, &data).unwrap();
    rig.until_limit(Some(2)).await;
}

#[tokio::test]
async fn files_that_come_to_a_folder_and_leave_it_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), rules(1)).unwrap();
    let rig = Rig::start(folder.path()).await;
    let other = rules(7).replace("domain: shop", "domain: blog");
    fs::write(folder.path().join("blog.yaml"), other).unwrap();
    let blog = async || {
        let look = CheckRequest { peek: true, ..check("blog", &[("caller", "ann")]) };
        ask(&mut rig.client.clone(), &look).await.statuses.len() == 1
    };
    stack::until("there is a blog", NOTICED_WITHIN, blog).await.unwrap();
    fs::remove_file(folder.path().join("shop.yaml")).unwrap();
    rig.until_limit(None).await;
    assert!(blog().await);
}

#[tokio::test]
async fn invalid_rules_are_refused_with_their_place_and_the_last_good_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules(5)).unwrap();
    let rig = Rig::start(&path).await;
    let version = rig.version().await;
    let passes = async || ask(&mut rig.client.clone(), &check("shop", &[("caller", "ann")])).await.allowed;
    assert!(passes().await && rig.are_valid().await);

    fs::write(&path, rules(5).replace("limit: 5", "limit: five")).unwrap();
    rig.until_refused(1).await;
    assert!(passes().await && !rig.are_valid().await);
    assert_eq!(rig.version().await, version);
    let log = rig.service.log();
    assert!(log.contains("rules.yaml:3:") && log.contains("five"), "{log}");

    rig.service.hang_up();
    rig.until_refused(2).await;
    fs::remove_file(&path).unwrap();
    rig.until_refused(3).await;
    assert!(passes().await, "the process lives on, also without a file");

    fs::write(&path, rules(6)).unwrap();
    rig.until_limit(Some(6)).await;
    assert!(rig.are_valid().await);
}

#[tokio::test]
async fn a_limit_that_is_changed_goes_on_from_what_was_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules(5)).unwrap();
    let rig = Rig::start(&path).await;
    let pass = async || {
        let mut passed = 0;
        while ask(&mut rig.client.clone(), &check("shop", &[("caller", "ann")])).await.allowed {
            passed += 1;
        }
        passed
    };
    assert_eq!(pass().await, 5);
    fs::write(&path, rules(8)).unwrap();
    rig.until_limit(Some(8)).await;
    assert_eq!(pass().await, 3, "a denial that is remembered is that of the old limit");
    fs::write(&path, rules(2)).unwrap();
    rig.until_limit(Some(2)).await;
    assert_eq!(pass().await, 0);
}

/// 3,000 Checks by 64 callers at once; how many passed.
async fn flood(client: &Client) -> usize {
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let mut client = client.clone();
        callers.spawn(async move {
            let mut passed = 0;
            for _ in 0..3000 / 64 + usize::from(caller < 3000 % 64) {
                passed += usize::from(ask(&mut client, &check("shop", &[("caller", "flood")])).await.allowed);
            }
            passed
        });
    }
    callers.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_flood_a_change_lets_not_one_pass_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, rules(1000)).unwrap();
    let rig = Rig::start(&path).await;
    let mut passed = 0;
    for change in 1..=20 {
        let other = format!("  - {{key: other, limits: [{{limit: {change}, period: 1h}}]}}\n");
        fs::write(&path, rules(1000) + &other).unwrap();
        rig.service.hang_up();
        passed += flood(&rig.client).await;
    }
    assert_eq!(passed, 1000);
    assert!(rig.reloads("accepted").await >= 10);
}
