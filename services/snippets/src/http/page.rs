//! The pages. Whatever is put into them is escaped, unless it says otherwise.

use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use rpc::snippets::v1 as pb;

use super::{
    assets::{ICON, STYLE},
    json,
};

/// Characters that make text look like another text, by turning its direction.
const TURNING: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];

/// A snippet, with its body as `code`; `numbered`, if each of its lines is an element.
pub(super) fn snippet(snippet: &pb::Snippet, code: &Markup, numbered: bool) -> Markup {
    let name = if snippet.title.is_empty() { "Untitled" } else { &snippet.title };
    let raw = format!("/s/{}/raw", snippet.id);
    let turns = [&snippet.title, &snippet.body].into_iter().any(|text| text.contains(TURNING));
    layout(
        name,
        &html! {
            h1 { bdi { (name) } }
            ul.about { (about(snippet)) }
            @if turns {
                p.note role="note" {
                    "This text contains invisible characters that change the direction in which it is shown. "
                    "It may not be what it looks like."
                }
            }
            // It can be scrolled by keyboard, too.
            pre tabindex="0" aria-label="Text" { code.numbered[numbered] dir="ltr" translate="no" { (code) } }
            footer { a href=(raw) { "Raw text" } a href=(raw) download=(format!("{}.txt", snippet.id)) { "Download" } }
        },
    )
}

/// A snippet that may be read so often: loading its page must not use that up, so its body is behind a button.
pub(super) fn sealed(snippet: &pb::Snippet) -> Markup {
    let name = if snippet.title.is_empty() { "Untitled" } else { &snippet.title };
    layout(
        name,
        &html! {
            h1 { bdi { (name) } }
            ul.about { (about(snippet)) }
            @if snippet.max_views == 1 {
                p { "This text can be read once. Whoever shows it, by this button or otherwise, is the only one to see it." }
            } @else {
                p { "This text can be read " (snippet.max_views) " times in all. To show it uses up one of them." }
            }
            form method="post" action=(format!("/s/{}", snippet.id)) { button type="submit" autofocus { "Show the text" } }
        },
    )
}

fn about(snippet: &pb::Snippet) -> Markup {
    let created = snippet.create_time.and_then(json::time);
    let edited = snippet.update_time.and_then(json::time).filter(|time| created.as_ref() != Some(time));
    html! {
        @if !snippet.language.is_empty() { li { bdi { (snippet.language) } } }
        @for tag in &snippet.tags { li { "#" bdi { (tag) } } }
        @if let Some(created) = created { li { "Created " (moment(&created)) } }
        @if let Some(edited) = edited { li { "Edited " (moment(&edited)) } }
        @if !snippet.body.is_empty() { li { (snippet.body.len()) " bytes" } }
        @match snippet.visibility() {
            pb::Visibility::Private => li { "Private" },
            pb::Visibility::Public => li { "Public" },
            pb::Visibility::Unlisted | pb::Visibility::Unspecified => li { "Unlisted" },
        }
    }
}

/// A time of RFC 3339, to the minute.
fn moment(time: &str) -> Markup {
    let (day, minute) = (time.get(..10).unwrap_or(time), time.get(11..16).unwrap_or_default());
    html! { time datetime=(time) { (day) " " (minute) " UTC" } }
}

/// What went wrong.
pub(super) fn error(status: StatusCode, message: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    layout(
        title,
        &html! {
            h1 { (title) }
            p role="alert" { (message) }
            @if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
                p { "Wait a moment, and try again: go back, and what you had typed should still be there." }
            }
        },
    )
}

/// What all pages have in common.
pub(super) fn layout(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title.replace(TURNING, "\u{fffd}")) }
                link rel="icon" href=(ICON.path());
                link rel="stylesheet" href=(STYLE.path());
            }
            body {
                header { a href="/" { "Snippets" } a href="/" accesskey="n" { "New snippet" } }
                main { (content) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::highlight;

    #[test]
    fn no_text_of_a_snippet_becomes_markup() {
        let hostile = "</title></code></bdi><script>document.title='x'</script>\" onload=\"x' &amp;";
        let shown = pb::Snippet {
            id: "0123456789a".into(),
            title: hostile.into(),
            language: hostile.into(),
            body: hostile.into(),
            tags: vec![hostile.into()],
            ..pb::Snippet::default()
        };
        let page = snippet(&shown, &highlight::plain(hostile), true).0;
        let escaped = "&lt;/title&gt;&lt;/code&gt;&lt;/bdi&gt;&lt;script&gt;document.title='x'&lt;/script&gt;&quot; onload=&quot;x' \
                       &amp;amp;";
        assert_eq!(page.matches(escaped).count(), 5, "{page}");
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("</title>").count(), 1);
        assert!(!error(StatusCode::BAD_REQUEST, hostile).0.contains("<script"));
    }

    #[test]
    fn a_sealed_page_has_a_button_instead_of_the_body() {
        let id = "0123456789a".to_owned();
        let limited = pb::Snippet { id, title: "<b>".into(), max_views: 3, ..pb::Snippet::default() };
        let page = sealed(&limited).0;
        assert!(
            page.contains("<form method=\"post\" action=\"/s/0123456789a\">") && page.contains("3 times"),
            "{page}"
        );
        assert!(!page.contains("<pre") && !page.contains("<b>") && !page.contains("bytes"), "{page}");
        assert!(sealed(&pb::Snippet { max_views: 1, ..limited }).0.contains("read once"));
    }

    #[test]
    fn text_that_turns_is_pointed_out_and_does_not_turn_the_title() {
        let turned =
            pb::Snippet { title: "\u{202e}gnp.exe".into(), body: "x".into(), ..pb::Snippet::default() };
        let page = snippet(&turned, &highlight::plain("x"), true).0;
        assert!(
            page.contains("<title>\u{fffd}gnp.exe</title>") && page.contains("may not be what it looks like")
        );
        let straight = pb::Snippet { body: "x".into(), ..pb::Snippet::default() };
        assert!(!snippet(&straight, &highlight::plain("x"), true).0.contains("may not be"));
    }
}
