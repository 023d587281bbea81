//! What a snippet, an account and a caller are, and who may do what. No I/O crate is used here.

mod access;
mod account;
mod api_key;
mod caller;
mod clock;
mod content;
mod id;
mod lifetime;
mod list;
mod page_token_key;
mod snippet;
mod stats;
mod tags;
mod version;
mod violation;

pub use access::{Action, Denial, authorize, demand_account, may_read};
pub use account::{Account, AccountId, AccountPatch, DisplayName, Tier};
pub use api_key::{API_KEYS_MAX, ApiKey, ApiKeyId, ApiKeyName, ApiKeySecret, KeyHash};
pub use caller::{Caller, Identity};
pub use clock::{from_unix, now, to_micros};
pub use content::{Body, Language, Title};
pub use id::SnippetId;
pub use lifetime::{MaxViews, expiry};
pub use list::{ListOrder, ListPosition, ListScope, Listed, SnippetList};
pub use page_token_key::PageTokenKey;
pub use snippet::{NewSnippet, Snippet, SnippetMetadata, SnippetPatch, Visibility};
pub use stats::{Granularity, Period, StatsRange, ViewStats};
pub use tags::{Tag, Tags};
pub use version::{Etag, Version};
pub use violation::{Violation, Violations};
