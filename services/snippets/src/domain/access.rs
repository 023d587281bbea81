//! Who may do what with a snippet.

use super::{Caller, Snippet, SnippetMetadata, Visibility};
use chrono::{DateTime, Utc};

/// What a caller wants to do with a snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See it.
    Read,
    /// Change it.
    Edit,
    /// Remove it.
    Delete,
    /// See when it was viewed.
    SeeStats,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// There is no such snippet, as far as the caller is to know.
    #[error("the snippet does not exist")]
    NotFound,
    /// It may see the snippet, but not do this.
    #[error("the caller may not do this to the snippet")]
    PermissionDenied,
    /// Nobody without a key may do this to any snippet.
    #[error("an API key is needed")]
    Unauthenticated,
}

/// Gives the snippet to a caller that may do `action` at `now`; `found` is what the store has under the id.
///
/// What has expired, and what a caller can't read, is denied exactly as if it were missing.
pub fn authorize(
    action: Action,
    found: Option<Snippet>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<Snippet, Denial> {
    demand_account(action, caller)?;
    let readable = found.filter(|snippet| may_read(&snippet.metadata, caller, now));
    let snippet = readable.ok_or(Denial::NotFound)?;
    let allowed = match action {
        Action::Read => true,
        Action::Edit => snippet.metadata.is_owned_by(caller.account_id()),
        Action::Delete | Action::SeeStats => {
            snippet.metadata.is_owned_by(caller.account_id()) || caller.is_admin()
        }
    };
    if allowed { Ok(snippet) } else { Err(Denial::PermissionDenied) }
}

/// The part of [`authorize`] that needs no snippet, so that a hopeless request costs no look-up: an anonymous
/// caller may only read, whether it exists or not.
pub fn demand_account(action: Action, caller: &Caller) -> Result<(), Denial> {
    let reads = action == Action::Read;
    if !reads && caller.is_anonymous() { Err(Denial::Unauthenticated) } else { Ok(()) }
}

/// The part of [`authorize`] that decides about reading.
pub fn may_read(snippet: &SnippetMetadata, caller: &Caller, now: DateTime<Utc>) -> bool {
    if snippet.has_expired(now) {
        return false;
    }
    match snippet.visibility {
        Visibility::Public | Visibility::Unlisted => true,
        Visibility::Private => snippet.is_owned_by(caller.account_id()) || caller.is_admin(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Account, AccountId, Body, DisplayName, Identity, Language, NewSnippet, SnippetId, Tags, Tier, Title,
        now,
    };
    use super::*;
    use Action::{Delete, Edit, Read, SeeStats};
    use Denial::{NotFound, PermissionDenied, Unauthenticated};
    use std::net::{IpAddr, Ipv4Addr};

    const OWNER: AccountId = AccountId(uuid::Uuid::from_u128(1));
    const OTHER: AccountId = AccountId(uuid::Uuid::from_u128(2));

    fn caller(identity: Identity) -> Caller {
        Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), identity }
    }

    fn account(id: AccountId, tier: Tier) -> Caller {
        let display_name = DisplayName::parse("someone").unwrap();
        caller(Identity::Account(Account { id, display_name, tier, disabled: false, create_time: now() }))
    }

    fn snippet(visibility: Visibility, owner: Option<AccountId>) -> Snippet {
        NewSnippet {
            title: Title::default(),
            language: Language::default(),
            body: Body::parse("x").unwrap(),
            tags: Tags::default(),
            visibility,
            owner,
            expire_time: None,
            max_views: None,
        }
        .with_id(SnippetId::generate(), now())
    }

    /// One row: the snippet, then what reading, editing and deleting it, and seeing its statistics, give.
    type Row = (Option<Snippet>, [Option<Denial>; 4]);

    fn check(name: &str, caller: &Caller, rows: [Row; 5]) {
        for (row, (found, expected)) in rows.into_iter().enumerate() {
            for (action, expected) in [Read, Edit, Delete, SeeStats].into_iter().zip(expected) {
                let denied = authorize(action, found.clone(), caller, now()).err();
                assert_eq!(denied, expected, "{name}, row {row}, {action:?}");
            }
        }
    }

    /// A public, an unlisted and a private snippet of `OWNER`, a public one of nobody, and none at all.
    fn table(expected: [[Option<Denial>; 4]; 5]) -> [Row; 5] {
        let snippets = [
            Some(snippet(Visibility::Public, Some(OWNER))),
            Some(snippet(Visibility::Unlisted, Some(OWNER))),
            Some(snippet(Visibility::Private, Some(OWNER))),
            Some(snippet(Visibility::Public, None)),
            None,
        ];
        let mut expected = expected.into_iter();
        snippets.map(|snippet| (snippet, expected.next().unwrap()))
    }

    #[test]
    fn what_has_expired_is_missing_for_everybody() {
        let mut expired = snippet(Visibility::Public, Some(OWNER));
        let end = expired.metadata.create_time;
        expired.metadata.expire_time = Some(end);
        let read = |at| authorize(Read, Some(expired.clone()), &account(OWNER, Tier::Admin), at).err();
        assert_eq!(read(end - chrono::TimeDelta::microseconds(1)), None);
        assert_eq!(read(end), Some(NotFound));
    }

    #[test]
    fn anonymous_callers_read_what_is_open_and_change_nothing() {
        let no = Some(Unauthenticated);
        let (open, hidden) = ([None, no, no, no], [Some(NotFound), no, no, no]);
        check("anonymous", &caller(Identity::Anonymous), table([open, open, hidden, open, hidden]));
    }

    #[test]
    fn owners_do_everything_with_their_own() {
        let (own, missing) = ([None; 4], [Some(NotFound); 4]);
        let no = Some(PermissionDenied);
        let open = [None, no, no, no];
        check("owner", &account(OWNER, Tier::Free), table([own, own, own, open, missing]));
        check("admin owner", &account(OWNER, Tier::Admin), {
            table([own, own, own, [None, no, None, None], missing])
        });
    }

    #[test]
    fn other_accounts_only_read_what_is_open() {
        let no = Some(PermissionDenied);
        let (open, hidden) = ([None, no, no, no], [Some(NotFound); 4]);
        for tier in [Tier::Free, Tier::Premium] {
            check("other", &account(OTHER, tier), table([open, open, hidden, open, hidden]));
        }
    }

    #[test]
    fn admins_read_and_delete_anything_see_its_statistics_and_edit_nothing() {
        let any = [None, Some(PermissionDenied), None, None];
        let missing = [Some(NotFound); 4];
        check("admin", &account(OTHER, Tier::Admin), table([any, any, any, any, missing]));
        check("bootstrap", &caller(Identity::BootstrapAdmin), table([any, any, any, any, missing]));
    }
}
