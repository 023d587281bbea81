//! `GET /s/{id}`, `GET /s/{id}/raw`, and `POST /s/{id}`, the button of a page that shows no body by itself.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    response::{Html, IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
};
use rpc::snippets::v1 as pb;

use super::{Site, caching, error::Failure, json, negotiation::Form, origin, page};
use crate::domain::{Caller, SnippetId};

/// What search engines are told.
const ROBOTS: &str = "x-robots-tag";

type PathId = Result<Path<String>, PathRejection>;

/// The snippet in the form that the client likes best.
pub(super) async fn get(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    id: PathId,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let form = Form::of(&headers).ok_or(Failure::NotAcceptable)?;
    let shown = site.show(form, &caller, &parse(id)?, method == Method::HEAD).await?;
    Ok(shown.answer(&headers))
}

/// The snippet's body, for a link in a page to lead to, as that can't say what it accepts.
pub(super) async fn get_raw(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    id: PathId,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let shown = site.show(Form::Text, &caller, &parse(id)?, method == Method::HEAD).await?;
    Ok(shown.answer(&headers))
}

/// A page with the body, which is a view.
pub(super) async fn reveal(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    id: PathId,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if origin::is_foreign(&uri, &headers) {
        return Err(Failure::Foreign);
    }
    let snippet = site.api.view(&caller, &parse(id)?).await?;
    let page = site.pages.page_once(snippet).await;
    let headers = [(CACHE_CONTROL, "no-store"), (HeaderName::from_static(ROBOTS), "noindex")];
    Ok((headers, Html(page.html)).into_response())
}

/// What can't be decoded is no id, either.
fn parse(id: PathId) -> Result<SnippetId, Failure> {
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    Ok(SnippetId::parse(&id).map_err(crate::grpc::ApiError::from)?)
}

/// A snippet, ready to be sent.
struct Shown {
    form: Form,
    content: axum::body::Bytes,
    /// A page that may not be kept has none.
    etag: Option<HeaderValue>,
    cache_control: HeaderValue,
    is_public: bool,
    /// Its button has to say where it is.
    has_button: bool,
}

impl Site {
    async fn show(&self, form: Form, caller: &Caller, id: &SnippetId, head: bool) -> Result<Shown, Failure> {
        if form == Form::Html {
            return self.page(caller, id).await;
        }
        // Who is shown no body has viewed nothing.
        let snippet = if head { self.api.look(caller, id).await? } else { self.api.view(caller, id).await? };
        // A count is no edit: JSON with another count is the same to who asks whether its copy is still good, so its tag is a weak one.
        let etag = if form == Form::Json {
            format!("W/\"{}.json\"", snippet.etag)
        } else {
            format!("\"{}.text\"", snippet.etag)
        };
        let shown = Shown::new(form, &snippet, caller, HeaderValue::try_from(etag).ok());
        let content = if form == Form::Json { json::snippet(&snippet) } else { snippet.body.into_bytes() };
        Ok(Shown { content: content.into(), ..shown })
    }

    /// A page is not a view: programs that look ahead load pages, too, and people who follow a link have not read it yet.
    async fn page(&self, caller: &Caller, id: &SnippetId) -> Result<Shown, Failure> {
        let found = self.api.find(caller, id).await?;
        let snippet = found.message(false);
        if snippet.max_views > 0 {
            let content = page::sealed(&snippet).0.into();
            return Ok(Shown { content, ..Shown::new(Form::Html, &snippet, caller, None) });
        }
        let page = self.pages.page(&snippet.id, &snippet.etag, || found.message(true)).await;
        let shown = Shown::new(Form::Html, &snippet, caller, Some(page.etag));
        Ok(Shown { content: page.html, ..shown })
    }
}

impl Shown {
    fn new(form: Form, snippet: &pb::Snippet, caller: &Caller, etag: Option<HeaderValue>) -> Self {
        Self {
            form,
            content: axum::body::Bytes::new(),
            etag,
            cache_control: caching::control(snippet, caller),
            is_public: snippet.visibility() == pb::Visibility::Public,
            has_button: form == Form::Html && snippet.max_views > 0,
        }
    }

    fn answer(self, headers: &HeaderMap) -> Response {
        let known = self.etag.as_ref().is_some_and(|etag| caching::is_known(headers, etag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, self.form.content_type())], self.content).into_response()
        };
        let headers = response.headers_mut();
        self.etag.map(|etag| headers.insert(ETAG, etag));
        headers.insert(CACHE_CONTROL, self.cache_control);
        if !self.is_public {
            headers.insert(ROBOTS, HeaderValue::from_static("noindex"));
        }
        if self.has_button { origin::told(response) } else { response }
    }
}
