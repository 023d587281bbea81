//! Things to store.

use chrono::{DateTime, Utc};
use snippets::{
    domain::{
        Account, AccountId, ApiKey, ApiKeyId, ApiKeyName, Body, DisplayName, Language, MaxViews, NewSnippet,
        Snippet, SnippetId, Tags, Tier, Title, Version, Visibility, now,
    },
    ports::CreateRequest,
};
use uuid::Uuid;

pub fn snippet() -> Snippet {
    NewSnippet {
        title: Title::parse("Wörld 🌍").unwrap(),
        language: Language::parse("rust").unwrap(),
        body: Body::parse("fn main() {\r\n\t\"quoted\" 'text' \\ ü\n}").unwrap(),
        tags: Tags::parse(vec!["a".into(), "b\"c".into(), "{d}".into()]).unwrap(),
        visibility: Visibility::Public,
        owner: None,
        expire_time: None,
        max_views: None,
    }
    .with_id(SnippetId::generate(), now())
}

pub fn visible(visibility: Visibility) -> Snippet {
    let mut snippet = snippet();
    snippet.metadata.visibility = visibility;
    snippet
}

pub fn limited(max_views: i64) -> Snippet {
    let mut snippet = snippet();
    snippet.metadata.max_views = MaxViews::new(max_views);
    snippet
}

pub fn expiring(expire_time: DateTime<Utc>) -> Snippet {
    let mut snippet = snippet();
    snippet.metadata.expire_time = Some(expire_time);
    snippet
}

pub fn create_request(caller: &str) -> CreateRequest {
    CreateRequest { caller: caller.to_owned(), id: Uuid::now_v7(), payload_hash: [7; 32] }
}

pub fn snippet_of(owner: AccountId, visibility: Visibility) -> Snippet {
    let mut snippet = visible(visibility);
    snippet.metadata.owner = Some(owner);
    snippet
}

pub fn at_version(snippet: &Snippet, version: i64) -> Snippet {
    let mut metadata = snippet.metadata.clone();
    metadata.version = Version::new(version);
    Snippet { metadata, body: Body::parse(format!("body of version {version}")).unwrap() }
}

pub fn account(tier: Tier) -> Account {
    let display_name = DisplayName::parse("Ada").unwrap();
    Account { id: AccountId::generate(), display_name, tier, disabled: false, create_time: now() }
}

pub fn api_key(account: &Account) -> ApiKey {
    ApiKey {
        id: ApiKeyId::generate(),
        account_id: account.id,
        display_name: ApiKeyName::parse("laptop").unwrap(),
        create_time: now(),
        expire_time: None,
        revoke_time: None,
    }
}
