//! Two replicas, the callers, and snippets in each state.

use std::time::{Duration, SystemTime};

use e2e::{ADMIN_KEY, Client, NewKey, PATIENCE};
use rpc::snippets::v1::{
    Account, CreateApiKeyRequest, GetCallerRequest, RevokeApiKeyRequest, Snippet, Tier, Visibility,
};
use stack::{Database, Product, until};
use tempfile::NamedTempFile;
use tokio::time::sleep;

pub const BODY: &str = "let it = be;";
pub const LANGUAGE: &str = "rust";

/// An id that no snippet has.
pub const MISSING: &str = "00000000000";

/// Long enough to read a snippet before it expires, and short enough for that copy not to be thrown away before.
const TTL: Duration = Duration::from_millis(400);
/// Rules by which nothing of ours is limited.
const NO_LIMITS: &str =
    "domain: elsewhere\ndescriptors: [{key: caller, rate_limit: {unit: hour, requests_per_unit: 1}}]\n";

/// Somebody who calls the first replica.
#[derive(Clone)]
pub struct Caller {
    /// As the tables name them.
    pub kind: &'static str,
    pub name: &'static str,
    pub key: Option<String>,
    pub client: Client,
}

/// Where a snippet was read lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Nowhere.
    Nowhere,
    /// By another replica, which has left a copy in the cache that they share.
    InRedis,
    /// By the replica that is called, which has a copy of its own.
    Here,
}

impl Copies {
    pub const ALL: [Self; 3] = [Self::Nowhere, Self::InRedis, Self::Here];
}

pub struct Scene {
    pub product: Product,
    pub callers: Vec<Caller>,
    database: Database,
    owner: Client,
    elsewhere: Client,
    _rules: NamedTempFile,
}

impl Scene {
    pub async fn start() -> Self {
        let rules = NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(rules.path(), NO_LIMITS).unwrap();
        let backends = e2e::backends().await;
        let database = Database::at(&backends.database_url);
        let path = rules.path().to_str().unwrap();
        let product = e2e::product(&backends).workers(1).env_of("ratelimit", "RATELIMIT_RULES", path);
        let product = product.start().await.unwrap();
        let [here, elsewhere] = [&product.snippets[0], &product.snippets[1]];
        let (here, elsewhere) = (Client::to(here).await.unwrap(), Client::to(elsewhere).await.unwrap());
        let (owner_key, callers) = callers(&here).await;
        let [owner, elsewhere] = [&here, &elsewhere].map(|client| client.with_key(&owner_key));
        Self { product, callers, database, owner, elsewhere, _rules: rules }
    }

    /// A snippet of the owner in that state, found by a tag that no other has.
    pub async fn snippet(&self, state: &str, tag: &str, copies: Copies) -> Snippet {
        let snippet = self.owner.create(in_state(state, tag)).await.unwrap();
        match copies {
            Copies::Nowhere => {}
            Copies::InRedis => drop(self.elsewhere.look(&snippet.id).await),
            Copies::Here => drop(self.owner.look(&snippet.id).await),
        }
        match state {
            "burnt" => drop(self.callers[0].client.get(&snippet.id).await.unwrap()),
            "expired" => sleep(until_over(&snippet)).await,
            "missing" => self.owner.delete(&snippet.id).await.unwrap(),
            _ => {}
        }
        snippet
    }

    /// Waits until all views so far are counted, and gives those of each snippet that has any.
    pub async fn views(&self) -> Vec<(String, u64)> {
        let reader = &self.callers[0].client;
        let marker = self.owner.create(in_state("unlisted", "marker")).await.unwrap().id;
        reader.get(&marker).await.unwrap();
        // A replica tells its views in order.
        e2e::until_views(reader, &marker, 1).await.unwrap();
        let rows = "SELECT snippet_id, sum(views) FROM views.totals GROUP BY snippet_id";
        let rows = self.database.execute(rows).await.unwrap();
        let rows = rows.lines().filter_map(|row| row.split_once('|'));
        rows.map(|(id, views)| (id.to_owned(), views.parse().unwrap())).collect()
    }
}

fn in_state(state: &str, tag: &str) -> Snippet {
    let visibility = match state {
        "private" => Visibility::Private,
        "unlisted" | "burnt" => Visibility::Unlisted,
        _ => Visibility::Public,
    };
    Snippet {
        body: BODY.into(),
        language: LANGUAGE.into(),
        tags: vec![tag.to_owned()],
        visibility: visibility.into(),
        ttl: (state == "expired").then(|| TTL.try_into().unwrap()),
        max_views: (state == "burnt").into(),
        ..Snippet::default()
    }
}

fn until_over(snippet: &Snippet) -> Duration {
    let end = SystemTime::try_from(snippet.expire_time.unwrap()).unwrap();
    end.duration_since(SystemTime::now()).unwrap_or_default() + Duration::from_millis(1)
}

/// The owner's key, and everybody who calls.
async fn callers(anonymous: &Client) -> (String, Vec<Caller>) {
    let owner = anonymous.new_key(Tier::Free).await.unwrap();
    let mut callers =
        vec![Caller { kind: "anonymous", name: "nobody", key: None, client: anonymous.clone() }];
    let mut add = |kind, name, key: String| {
        let client = anonymous.with_key(&key);
        callers.push(Caller { kind, name, key: Some(key), client });
    };
    add("owner", "the owner", owner.secret.clone());
    add("other", "another account", anonymous.new_key(Tier::Free).await.unwrap().secret);
    add("other", "a premium account", anonymous.new_key(Tier::Premium).await.unwrap().secret);
    add("admin", "an admin's account", anonymous.new_key(Tier::Admin).await.unwrap().secret);
    add("admin", "the bootstrap admin", ADMIN_KEY.to_owned());
    for (name, secret) in no_good(anonymous, &owner.account).await {
        until_refused(&anonymous.with_key(&secret)).await;
        add("no_good", name, secret);
    }
    (owner.secret, callers)
}

/// Further keys of the owner that are none any more, and that of an account which is disabled.
async fn no_good(anonymous: &Client, owner: &Account) -> [(&'static str, String); 4] {
    let mut admin = anonymous.as_admin().accounts();
    let mut request = CreateApiKeyRequest { account_id: owner.id.clone(), ..CreateApiKeyRequest::default() };
    let revoked = admin.create_api_key(request.clone()).await.unwrap().into_inner();
    admin.revoke_api_key(RevokeApiKeyRequest { id: revoked.api_key.unwrap().id }).await.unwrap();
    request.expire_time = Some((SystemTime::now() + Duration::from_secs(1)).into());
    let expired = admin.create_api_key(request).await.unwrap().into_inner();
    let disabled = Account { display_name: "gone".into(), disabled: true, ..Account::default() };
    let NewKey { secret: disabled, .. } = anonymous.new_key_of(disabled).await.unwrap();
    let unknown = format!("snip_{}", "0".repeat(43));
    [
        ("a revoked key", revoked.secret),
        ("an expired key", expired.secret),
        ("an unknown key", unknown),
        ("a disabled account", disabled),
    ]
}

async fn until_refused(caller: &Client) {
    let refused = async || caller.accounts().get_caller(GetCallerRequest {}).await.is_err();
    until("the key is refused", PATIENCE, refused).await.unwrap();
}
