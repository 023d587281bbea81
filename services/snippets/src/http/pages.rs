//! Rendered pages of snippets, kept, so that a hot one is not coloured for each of its readers.

use std::{sync::Arc, thread, time::Duration};

use axum::body::Bytes;
use http::HeaderValue;
use moka::sync::Cache;
use rpc::snippets::v1 as pb;
use syntect::parsing::SyntaxReference;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{assets, highlight, page};

/// Memory for rendered pages.
const CACHE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A page that nobody asks for is forgotten.
const CACHE_IDLE: Duration = Duration::from_secs(600);
/// Longest that one is coloured; what takes longer is shown without colours.
const COLOURING_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest that a reader waits for those who colour other pages.
const TURN_TIMEOUT: Duration = Duration::from_millis(250);

/// A body up to this size is rendered without colours in less time than it takes to change threads.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;

/// A page and the tag of just these bytes.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) html: Bytes,
    pub(super) etag: HeaderValue,
}

/// Renders pages, a few at a time.
pub(super) struct Pages {
    rendered: Cache<String, Page>,
    turns: Arc<Semaphore>,
}

/// How a page came about.
const OUTCOMES: [&str; 5] = ["cached", "coloured", "plain", "busy", "once"];

impl Pages {
    pub(super) fn new() -> Self {
        for outcome in OUTCOMES {
            metrics::counter!("snippets_pages_total", "outcome" => outcome).increment(0);
        }
        let size = |key: &String, page: &Page| u32::try_from(key.len() + page.html.len()).unwrap_or(u32::MAX);
        let rendered = Cache::builder().max_capacity(CACHE_BYTES_MAX).weigher(size).time_to_idle(CACHE_IDLE);
        // Half of the cores at most are busy with colours.
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { rendered: rendered.build(), turns: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }

    /// The page of a snippet that only this reader is shown.
    pub(super) async fn page_once(&self, snippet: pb::Snippet) -> Page {
        let syntax = highlight::syntax(&snippet.language, &snippet.body);
        let turn = timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned()).await.ok().and_then(Result::ok);
        done("once", render(snippet, syntax.zip(turn)).await)
    }

    /// The page of a snippet, of which `id` and `etag` name the version; `snippet` gives it, with its body.
    pub(super) async fn page(&self, id: &str, etag: &str, snippet: impl FnOnce() -> pb::Snippet) -> Page {
        let key = format!("{id}/{etag}");
        if let Some(page) = self.rendered.get(&key) {
            return done("cached", page);
        }
        let snippet = snippet();
        let Some(syntax) = highlight::syntax(&snippet.language, &snippet.body) else {
            return done("plain", self.keep(key, render(snippet, None).await));
        };
        let Ok(Ok(turn)) = timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned()).await else {
            return done("busy", render(snippet, None).await);
        };
        // Whoever had the turn before may have rendered the same.
        if let Some(page) = self.rendered.get(&key) {
            return done("cached", page);
        }
        done("coloured", self.keep(key, render(snippet, Some((syntax, turn))).await))
    }

    fn keep(&self, key: String, page: Page) -> Page {
        self.rendered.insert(key, page.clone());
        page
    }
}

fn done(outcome: &'static str, page: Page) -> Page {
    metrics::counter!("snippets_pages_total", "outcome" => outcome).increment(1);
    page
}

/// Renders what takes long on a thread that may block. Whatever the reader does, it keeps its turn until it is done.
async fn render(
    snippet: pb::Snippet,
    colours: Option<(&'static SyntaxReference, OwnedSemaphorePermit)>,
) -> Page {
    if colours.is_none() && snippet.body.len() <= AT_ONCE_BYTES_MAX {
        return plain(&snippet);
    }
    let snippet = Arc::new(snippet);
    let shown = snippet.clone();
    let rendering = tokio::task::spawn_blocking(move || {
        let code =
            colours.and_then(|(syntax, _turn)| highlight::coloured(&shown.body, syntax, COLOURING_TIMEOUT));
        code.map_or_else(|| plain(&shown), |code| Page::new(&shown, &code, true))
    });
    rendering.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be rendered");
        plain(&snippet)
    })
}

fn plain(snippet: &pb::Snippet) -> Page {
    Page::new(snippet, &highlight::plain(&snippet.body), highlight::is_numbered(&snippet.body))
}

impl Page {
    fn new(snippet: &pb::Snippet, code: &maud::Markup, numbered: bool) -> Self {
        let html = Bytes::from(page::snippet(snippet, code, numbered).0);
        let etag = format!("\"{}\"", assets::fingerprint(&html));
        // Hexadecimal digits are fit for a header.
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { html, etag }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(body: &str) -> pb::Snippet {
        pb::Snippet { language: "rust".into(), body: body.into(), ..pb::Snippet::default() }
    }

    #[tokio::test]
    async fn a_version_is_rendered_once() {
        let pages = Pages::new();
        let first = pages.page("a", "v1", || snippet("fn main() {}")).await;
        assert!(first.html.windows(9).any(|it| it == b"class=\"k\""), "{first:?}");
        let again = pages.page("a", "v1", || panic!("it is there")).await;
        assert_eq!((&again.html, &again.etag), (&first.html, &first.etag));
        let edited = pages.page("a", "v2", || snippet("fn edited() {}")).await;
        assert_ne!(edited.etag, first.etag);
    }

    #[tokio::test]
    async fn what_is_shown_once_is_not_kept() {
        let pages = Pages::new();
        let once = pages.page_once(pb::Snippet { id: "a".into(), ..snippet("fn main() {}") }).await;
        assert!(once.html.windows(9).any(|it| it == b"class=\"k\""), "{once:?}");
        pages.rendered.run_pending_tasks();
        assert_eq!(pages.rendered.entry_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_is_shown_it_plain_for_now() {
        let pages = Pages::new();
        let permits = u32::try_from(pages.turns.available_permits()).unwrap();
        let turns = pages.turns.clone().acquire_many_owned(permits).await.unwrap();
        let meanwhile = pages.page("a", "v1", || snippet("fn main() {}")).await;
        assert!(!meanwhile.html.windows(9).any(|it| it == b"class=\"k\""), "{meanwhile:?}");
        drop(turns);
        let later = pages.page("a", "v1", || snippet("fn main() {}")).await;
        assert_ne!(later.etag, meanwhile.etag);
    }
}
