//! `GET /`, a form to paste text into, and `POST /s`, which shares it.

use std::sync::Arc;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    response::{Html, IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode, Uri,
    header::{CACHE_CONTROL, LOCATION},
};
use maud::{Markup, html};
use rpc::snippets::v1 as pb;
use tonic::Status;

use super::{
    Site,
    error::{self, Failure},
    form, highlight,
    negotiation::Form,
    origin, page,
};
use crate::{
    domain::{Caller, Violations},
    grpc::{ApiError, charge},
    ports::Charge,
};

/// The form is the same for everybody, and names the style sheet of its version.
const HOME_CACHING: &str = "public, max-age=60";

/// The empty form.
pub(super) async fn home() -> Response {
    let page = Html(form_page(&pb::Snippet::default(), &Violations::default()).0);
    origin::told(([(CACHE_CONTROL, HOME_CACHING)], page).into_response())
}

/// Shares what was typed, and leads to its page.
pub(super) async fn share(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    if origin::is_foreign(&uri, &headers) {
        return Err(Failure::Foreign);
    }
    let typed = form::snippet(&site.receive(&caller, &headers, body).await?)?;
    match site.api.make(&caller, typed.clone()).await {
        Ok(snippet) => Ok(made(&snippet)),
        Err(ApiError::Invalid(wrong)) if Form::of(&headers) == Some(Form::Html) => {
            Ok(once_more(&typed, wrong))
        }
        Err(error) => Err(error.into()),
    }
}

impl Site {
    /// The form, once its bytes are charged to its sender: before they are read, where it says how many there are.
    async fn receive(&self, caller: &Caller, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
        let announced = form::announced_bytes(&body)?;
        let first = announced.map_or(Charge::Nothing, |bytes| Charge::Write { bytes });
        charge(&*self.limiter, Some(caller), first).await?;
        let form = form::receive(headers, body).await?;
        if announced.is_none() {
            charge(&*self.limiter, Some(caller), Charge::Write { bytes: form.len() as u64 }).await?;
        }
        Ok(form)
    }
}

fn made(snippet: &pb::Snippet) -> Response {
    let path = format!("/s/{}", snippet.id);
    let content = format!("{path}\n");
    (StatusCode::SEE_OTHER, [(LOCATION, path), (CACHE_CONTROL, "no-store".into())], content).into_response()
}

/// The form with what was typed, and what is wrong with it.
fn once_more(typed: &pb::Snippet, wrong: Violations) -> Response {
    let page = form_page(typed, &wrong).0;
    origin::told(error::page(&Status::from(ApiError::from(wrong)), page))
}

fn form_page(typed: &pb::Snippet, wrong: &Violations) -> Markup {
    let fields = html! {
        h1 { "Share a text" }
        @if !wrong.is_empty() { p.wrong role="alert" { "It was not shared yet. See what is wrong below." } }
        form method="post" action="/s" {
            div {
                label for="title" { "Title (optional)" }
                input #title name="title" value=(typed.title) autocomplete="off" aria-describedby="title-wrong"
                    aria-invalid=[invalid(wrong, "title")];
                (mistake(wrong, "title"))
            }
            div.row { (language(typed, wrong)) (visibility(typed, wrong)) }
            div {
                label for="body" { "Text, up to 1 MiB" }
                textarea #body name="body" required autofocus spellcheck="false" autocapitalize="off" aria-describedby="body-wrong"
                    aria-invalid=[invalid(wrong, "body")] {
                    // A browser leaves the first newline out.
                    "\n" (typed.body)
                }
                (mistake(wrong, "body"))
            }
            button type="submit" accesskey="s" { "Share" }
        }
    };
    page::layout("Share a text", &fields)
}

fn language(typed: &pb::Snippet, wrong: &Violations) -> Markup {
    html! {
        div {
            label for="language" { "Language (optional)" }
            input #language name="language" value=(typed.language) list="languages" autocomplete="off" autocapitalize="off"
                aria-describedby="language-wrong" aria-invalid=[invalid(wrong, "language")];
            datalist #languages { @for language in highlight::languages() { option value=(language) {} } }
            (mistake(wrong, "language"))
        }
    }
}

fn visibility(typed: &pb::Snippet, wrong: &Violations) -> Markup {
    let choices = [
        ("unlisted", "Unlisted: whoever has the link", pb::Visibility::Unlisted),
        ("public", "Public: anybody, and in lists", pb::Visibility::Public),
    ];
    html! {
        div {
            label for="visibility" { "Who may read it" }
            select #visibility name="visibility" aria-describedby="visibility-wrong" aria-invalid=[invalid(wrong, "visibility")] {
                @for (value, label, visibility) in choices {
                    option value=(value) selected[typed.visibility() == visibility] { (label) }
                }
            }
            (mistake(wrong, "visibility"))
        }
    }
}

fn invalid(wrong: &Violations, field: &str) -> Option<&'static str> {
    mistakes(wrong, field).next().map(|_| "true")
}

fn mistake(wrong: &Violations, field: &str) -> Markup {
    html! { @for text in mistakes(wrong, field) { p.wrong id=(format!("{field}-wrong")) { "It " (text) "." } } }
}

/// What is wrong with a field of the form.
fn mistakes<'a>(wrong: &'a Violations, field: &'a str) -> impl Iterator<Item = &'a str> {
    let of_field = wrong.iter().filter(move |it| it.field.strip_prefix("snippet.") == Some(field));
    of_field.map(|it| it.description.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Violation;

    #[test]
    fn what_was_typed_is_kept_beside_what_is_wrong() {
        let typed = pb::Snippet {
            title: "\"><script>".into(),
            language: "c++".into(),
            body: "\n</textarea><script>".into(),
            visibility: pb::Visibility::Public.into(),
            ..pb::Snippet::default()
        };
        let wrong = Violation::new("snippet.title", "must have at most 200 characters").into();
        let page = form_page(&typed, &wrong).0;
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{page}");
        assert!(page.contains(">\n\n&lt;/textarea&gt;&lt;script&gt;</textarea>"), "{page}");
        assert!(page.contains("<option value=\"public\" selected>"), "{page}");
        assert!(page.contains("id=\"title-wrong\">It must have at most 200 characters.</p>"), "{page}");
        assert!(page.contains("aria-invalid=\"true\"") && !page.contains("<script"), "{page}");
    }
}
