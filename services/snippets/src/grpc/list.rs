//! Lists of snippets.

use rpc::snippets::v1 as pb;
use tonic::Request;

use super::{
    authenticate::caller,
    error::ApiError,
    messages,
    page::{Page, Position},
    page_token::List,
    snippets::{Snippets, both},
};
use crate::domain::{
    AccountId, Caller, Language, ListOrder, ListPosition, ListScope, Listed, SnippetId, SnippetList, Tag,
    Violation, Violations, Visibility,
};

/// What `owner` says of the caller's own.
const ME: &str = "me";

impl Snippets {
    pub(super) async fn list(
        &self,
        request: Request<pb::ListSnippetsRequest>,
    ) -> Result<pb::ListSnippetsResponse, ApiError> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        if request.owner == ME && caller.is_anonymous() {
            return Err(ApiError::KeyNeeded);
        }
        let tokens = &*self.page_tokens;
        let page =
            Page::parse(tokens, list_of(&request, &caller), request.page_size, &request.page_token).await;
        let (list, page) = both(snippet_list(request, &caller), page)?;
        // The admin that the service was started with has no account, and owns nothing.
        let Some(list) = list else { return Ok(pb::ListSnippetsResponse::default()) };
        let read = self.lists.page(&list, page.after, page.limit()).await?;
        let (listed, next_page_token) = page.cut(tokens, read, Listed::position).await?;
        let views = self.view_counts.get_many(listed.iter().map(|listed| listed.metadata.id)).await;
        let message = |Listed { metadata, .. }: &Listed| {
            messages::snippet(metadata, None, views.get(&metadata.id).copied().unwrap_or_default())
        };
        Ok(pb::ListSnippetsResponse { snippets: listed.iter().map(message).collect(), next_page_token })
    }
}

/// What a page token is bound to.
fn list_of(request: &pb::ListSnippetsRequest, caller: &Caller) -> List {
    List::new("ListSnippets", caller)
        .with(&request.owner)
        .with(&request.language)
        .with(&request.tag)
        .with(request.visibility.to_be_bytes())
        .with(request.order_by.to_be_bytes())
}

/// Validates which list a caller wants; reports everything that is wrong with it. None if it can have nothing in it.
fn snippet_list(
    request: pb::ListSnippetsRequest,
    caller: &Caller,
) -> Result<Option<SnippetList>, Violations> {
    let mut violations = Violations::default();
    let scope = violations.check("", scope(&request.owner, request.visibility, caller.account_id()));
    let language = violations.check("", Language::parse(request.language));
    let tag = Some(request.tag).filter(|tag| !tag.is_empty());
    let tag = violations.check("", tag.map(|tag| Tag::parse("tag", tag)).transpose());
    let order = violations.check("", order(request.order_by));
    match (scope, language, tag, order) {
        (Some(scope), Some(language), Some(tag), Some(order)) => {
            Ok(scope.map(|scope| SnippetList { scope, language, tag, order }))
        }
        _ => Err(violations),
    }
}

fn scope(owner: &str, visibility: i32, account: Option<AccountId>) -> Result<Option<ListScope>, Violations> {
    let mut violations = Violations::default();
    let visibility = violations.check("", self::visibility(visibility));
    match (owner, visibility) {
        ("", None | Some(None | Some(Visibility::Public))) => {
            violations.into_result().map(|()| Some(ListScope::Public))
        }
        ("", Some(Some(_))) => {
            Err(Violation::new("visibility", "must be PUBLIC or not set, unless owner is \"me\"").into())
        }
        (ME, visibility) => {
            violations.into_result()?;
            let visibility = visibility.flatten();
            Ok(account.map(|owner| ListScope::Own { owner, visibility }))
        }
        _ => {
            violations.push(Violation::new("owner", "must be \"me\" or empty"));
            Err(violations)
        }
    }
}

/// Where a new snippet would be UNLISTED, a list has any.
fn visibility(number: i32) -> Result<Option<Visibility>, Violation> {
    let any = number == i32::from(pb::Visibility::Unspecified);
    if any { Ok(None) } else { messages::visibility(number).map(Some) }
}

fn order(number: i32) -> Result<ListOrder, Violation> {
    match pb::ListOrder::try_from(number) {
        Ok(pb::ListOrder::Unspecified | pb::ListOrder::Newest) => Ok(ListOrder::Newest),
        Ok(pb::ListOrder::MostViewed) => Ok(ListOrder::MostViewed),
        Err(_) => Err(Violation::new("order_by", "must be NEWEST or MOST_VIEWED")),
    }
}

/// Views and microseconds, eight bytes each, and the id.
impl Position for ListPosition {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { views, create_time, id } = self;
        let micros = create_time.timestamp_micros();
        [&views.to_be_bytes()[..], &micros.to_be_bytes(), id.as_str().as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (views, bytes) = bytes.split_first_chunk()?;
        let (micros, id) = bytes.split_first_chunk()?;
        let id = SnippetId::parse(std::str::from_utf8(id).ok()?).ok()?;
        let create_time = chrono::DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
        Some(Self { views: u64::from_be_bytes(*views), create_time, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::now;

    #[test]
    fn a_position_reads_back_and_nothing_else_does() {
        let position = ListPosition { views: u64::MAX, create_time: now(), id: SnippetId::generate() };
        let bytes = position.to_bytes();
        assert_eq!(ListPosition::from_bytes(&bytes), Some(position));
        for length in 0..bytes.len() {
            assert_eq!(ListPosition::from_bytes(&bytes[..length]), None);
        }
        assert_eq!(ListPosition::from_bytes(&[&bytes[..], b"A"].concat()), None);
    }
}
