//! Each call that is about one snippet, and what its caller is told.

use std::net::SocketAddr;

use e2e::{Client, assert_explained, visible};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, DeleteSnippetRequest, GetSnippetRequest, GetViewStatsRequest,
    ListSnippetsRequest, Snippet, SnippetView, UpdateSnippetRequest, Visibility,
};
use stack::http_get_with;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::scene::{BODY, Caller, LANGUAGE};

/// How a snippet is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Get(SnippetView),
    IfNoneMatch,
    Batch(SnippetView),
    Http { accept: &'static str, path: &'static str },
    List,
    Mine,
    Stats,
    Update,
    Delete,
}

/// What a caller was told: in the words of the tables, and all that it sees of a failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub outcome: &'static str,
    pub seen: String,
}

/// The calls that a line of the table is about.
pub fn of_line(line: &str) -> Vec<Call> {
    let http = |accept, path| Call::Http { accept, path };
    match line {
        "full" => vec![
            Call::Get(SnippetView::Full),
            Call::Get(SnippetView::Unspecified),
            Call::IfNoneMatch,
            Call::Batch(SnippetView::Full),
            http("application/json", ""),
            http("*/*", "/raw"),
        ],
        "basic" => {
            vec![Call::Get(SnippetView::Basic), Call::Batch(SnippetView::Basic), http("text/html", "")]
        }
        "list" => vec![Call::List],
        "mine" => vec![Call::Mine],
        "stats" => vec![Call::Stats],
        "update" => vec![Call::Update],
        "delete" => vec![Call::Delete],
        other => panic!("no such line: {other}"),
    }
}

impl Call {
    /// Calls for a snippet, of which `known` has the id, the etag, the visibility and the tag.
    pub async fn make(self, caller: &Caller, addr: SocketAddr, known: &Snippet) -> Told {
        let client = &caller.client;
        let done = match self {
            Self::Get(view) => get(client, known, view).await,
            Self::IfNoneMatch => if_none_match(client, known).await,
            Self::Batch(view) => batch(client, known, view).await,
            Self::Http { accept, path } => {
                return http(caller, addr, accept, &format!("/s/{}{path}", known.id)).await;
            }
            Self::List => list(client, known).await,
            Self::Mine => mine(client, known).await,
            Self::Stats => stats(client, known).await,
            Self::Update => update(client, known).await,
            Self::Delete => delete(client, known).await,
        };
        done.map_or_else(|status| failed(&status), |outcome| Told { outcome, seen: String::new() })
    }
}

type Outcome = Result<&'static str, Status>;

async fn get(client: &Client, known: &Snippet, view: SnippetView) -> Outcome {
    let request = GetSnippetRequest { id: known.id.clone(), view: view.into(), ..Default::default() };
    let answer = client.snippets().get_snippet(request).await?.into_inner();
    assert!(!answer.not_modified);
    assert_is(&answer.snippet.unwrap(), known, view != SnippetView::Basic);
    Ok("seen")
}

async fn if_none_match(client: &Client, known: &Snippet) -> Outcome {
    let (id, if_none_match) = (known.id.clone(), known.etag.clone());
    let request = GetSnippetRequest { id, if_none_match, ..GetSnippetRequest::default() };
    let answer = client.snippets().get_snippet(request).await?.into_inner();
    assert!(answer.not_modified);
    assert_is(&answer.snippet.unwrap(), known, false);
    Ok("seen")
}

async fn batch(client: &Client, known: &Snippet, view: SnippetView) -> Outcome {
    let request = BatchGetSnippetsRequest { ids: vec![known.id.clone()], view: view.into() };
    let answer = client.snippets().batch_get_snippets(request).await?.into_inner();
    if let [snippet] = &answer.snippets[..] {
        assert_is(snippet, known, view == SnippetView::Full);
        assert!(answer.missing_ids.is_empty());
        return Ok("seen");
    }
    assert!(answer.snippets.is_empty());
    assert_eq!(answer.missing_ids, [known.id.as_str()]);
    Ok("nothing")
}

fn assert_is(snippet: &Snippet, known: &Snippet, whole: bool) {
    assert_eq!((&snippet.id, &snippet.etag, &snippet.tags), (&known.id, &known.etag, &known.tags));
    assert_eq!(snippet.body, if whole { BODY } else { "" });
}

async fn list(client: &Client, known: &Snippet) -> Outcome {
    let any = list_of(client, known, "", Visibility::Unspecified).await?;
    assert_eq!(list_of(client, known, "", Visibility::Public).await?, any);
    Ok(any)
}

async fn mine(client: &Client, known: &Snippet) -> Outcome {
    let any = list_of(client, known, "me", Visibility::Unspecified).await?;
    for visibility in [Visibility::Public, Visibility::Unlisted, Visibility::Private] {
        let expected = if visibility == known.visibility() { any } else { "hidden" };
        assert_eq!(list_of(client, known, "me", visibility).await?, expected, "{visibility:?}");
    }
    Ok(any)
}

/// Whether it is there, the same with its language and without.
async fn list_of(client: &Client, known: &Snippet, owner: &str, visibility: Visibility) -> Outcome {
    let (owner, tag) = (owner.to_owned(), known.tags[0].clone());
    let visibility = visibility.into();
    let by_tag = ListSnippetsRequest { owner, tag, visibility, ..ListSnippetsRequest::default() };
    let by_both = ListSnippetsRequest { language: LANGUAGE.into(), ..by_tag.clone() };
    let listed = client.snippets().list_snippets(by_tag).await?.into_inner().snippets;
    assert_eq!(client.snippets().list_snippets(by_both).await?.into_inner().snippets, listed);
    let Some(snippet) = listed.first() else { return Ok("hidden") };
    assert_eq!(listed.len(), 1);
    assert_is(snippet, known, false);
    Ok("shown")
}

async fn stats(client: &Client, known: &Snippet) -> Outcome {
    let request = GetViewStatsRequest { id: known.id.clone(), ..GetViewStatsRequest::default() };
    client.view_stats(request).await.map(|_| "done")
}

async fn update(client: &Client, known: &Snippet) -> Outcome {
    let snippet = Some(Snippet { id: known.id.clone(), title: "changed".into(), ..Snippet::default() });
    let edited =
        client.snippets().update_snippet(UpdateSnippetRequest { snippet, update_mask: None }).await?;
    assert_eq!(edited.into_inner().snippet.unwrap().title, "changed");
    Ok("done")
}

async fn delete(client: &Client, known: &Snippet) -> Outcome {
    let request = DeleteSnippetRequest { id: known.id.clone(), ..DeleteSnippetRequest::default() };
    client.snippets().delete_snippet(request).await.map(|_| "done")
}

async fn http(caller: &Caller, addr: SocketAddr, accept: &str, path: &str) -> Told {
    let mut headers = vec![("accept", accept)];
    headers.extend(caller.key.as_deref().map(|key| ("x-api-key", key)));
    let mut answer = http_get_with(addr, path, &headers).await.unwrap();
    answer.headers.retain(|(name, _)| name != "date");
    let outcome = match answer.status {
        200 => "seen",
        404 => "nothing",
        401 => "refused",
        other => panic!("{other}: {answer:?}"),
    };
    assert!(outcome != "seen" || accept == "text/html" || answer.body.contains(BODY), "{answer:?}");
    Told { outcome, seen: if outcome == "seen" { String::new() } else { format!("{answer:?}") } }
}

/// In the words of the tables.
pub fn failed(status: &Status) -> Told {
    assert_explained(status);
    let reason = status.get_details_error_info().unwrap().reason;
    let outcome = match (status.code(), reason.as_str()) {
        (Code::NotFound, "SNIPPET_NOT_FOUND") => "nothing",
        (Code::PermissionDenied, "NOT_THE_OWNER" | "ADMINS_ONLY") => "denied",
        (Code::Unauthenticated, "API_KEY_NEEDED") => "login",
        (Code::Unauthenticated, "API_KEY_INVALID") => "refused",
        _ => panic!("{status:?}"),
    };
    Told { outcome, seen: format!("{:?}", visible(status)) }
}
