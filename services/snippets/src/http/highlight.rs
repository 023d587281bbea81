//! A body as HTML, line by line, coloured by what its words are.
//!
//! syntect parses it. Its own writer of HTML would name each word's whole stack of scopes, and take ten times the room; the
//! few kinds that the style sheet knows are enough, and each line ends what it begins, so that it can be numbered.

use std::{
    fmt::Write as _,
    sync::LazyLock,
    time::{Duration, Instant},
};

use maud::{Escaper, PreEscaped};
use syntect::{
    easy::ScopeRegionIterator,
    parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet},
};

/// Largest body that is coloured, in bytes: syntect takes some seconds for a mebibyte.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// Longest line: it is parsed in one go, and some patterns take time that grows faster than the line. One of twice the length took
/// 0.9 s at worst, of all grammars and 35 characters repeated.
const LINE_BYTES_MAX: usize = 1_000;
/// Most lines that are numbered: each takes a browser's memory.
const LINES_MAX: usize = 20_000;

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(SyntaxSet::load_defaults_newlines);

/// What people call languages that syntect knows under another name, or close enough.
const ALIASES: [(&str, &str); 8] = [
    ("csharp", "c#"),
    ("golang", "go"),
    ("jsx", "js"),
    ("postgresql", "sql"),
    ("shell", "sh"),
    ("ts", "js"),
    ("tsx", "js"),
    ("typescript", "js"),
];

/// The class of what lies in a scope, the most telling scopes first; none for what looks like the rest.
static CLASSES: LazyLock<Vec<(Scope, Option<&'static str>)>> = LazyLock::new(|| {
    let class = |(name, class)| Some((Scope::new(name).ok()?, class));
    [
        ("meta.interpolation", None),
        ("comment", Some("c")),
        ("constant", Some("n")),
        ("string", Some("s")),
        ("keyword.operator", None),
        ("keyword", Some("k")),
        ("storage", Some("k")),
        ("entity.name.function", Some("f")),
        ("support.function", Some("f")),
        ("entity.name.tag", Some("k")),
        ("entity", Some("t")),
        ("support", Some("t")),
        ("markup.heading", Some("f")),
        ("markup.inserted", Some("i")),
        ("markup.deleted", Some("d")),
        ("variable.language", Some("k")),
    ]
    .into_iter()
    .filter_map(class)
    .collect()
});

/// Names of languages, for a form to suggest.
pub(super) fn languages() -> impl Iterator<Item = &'static str> {
    SYNTAXES.syntaxes().iter().filter(|syntax| !syntax.hidden).map(|syntax| syntax.name.as_str())
}

/// How to colour this body; `None`, if it is to be shown as it is.
pub(super) fn syntax(language: &str, body: &str) -> Option<&'static SyntaxReference> {
    if language.is_empty() || body.len() > BODY_BYTES_MAX {
        return None;
    }
    let language = language.to_lowercase();
    let alias = ALIASES.iter().find(|(name, _)| *name == language).map(|(_, known)| *known);
    let syntax = SYNTAXES.find_syntax_by_token(alias.unwrap_or(&language))?;
    let is_coloured = syntax.name != SYNTAXES.find_syntax_plain_text().name;
    is_coloured.then_some(syntax)
}

/// The lines in colour; `None`, if that takes longer than `limit`, or can't be done.
pub(super) fn coloured(body: &str, syntax: &SyntaxReference, limit: Duration) -> Option<PreEscaped<String>> {
    let end = Instant::now() + limit;
    let (mut state, mut scopes) = (ParseState::new(syntax), ScopeStack::new());
    let mut html = String::with_capacity(3 * body.len());
    for line in body.split_inclusive('\n') {
        if line.len() > LINE_BYTES_MAX || Instant::now() > end {
            return None;
        }
        let changes = state.parse_line(line, &SYNTAXES).ok()?;
        html.push_str("<span>");
        let mut words = Words { html: &mut html, class: None };
        for (text, change) in ScopeRegionIterator::new(&changes, line) {
            scopes.apply(change).ok()?;
            words.push(text, &scopes);
        }
        words.end();
        html.push_str("</span>");
    }
    Some(PreEscaped(html))
}

/// The lines as they are.
pub(super) fn plain(body: &str) -> PreEscaped<String> {
    let mut html = String::with_capacity(body.len() + body.len() / 8);
    if is_numbered(body) {
        for line in body.split_inclusive('\n') {
            html.push_str("<span>");
            escape(&mut html, line);
            html.push_str("</span>");
        }
    } else {
        // A newline that comes first is not shown.
        html.push('\n');
        escape(&mut html, body);
    }
    PreEscaped(html)
}

/// Whether its lines are so few that each has its number.
pub(super) fn is_numbered(body: &str) -> bool {
    body.bytes().filter(|byte| *byte == b'\n').take(LINES_MAX).count() < LINES_MAX
}

/// One line on its way into HTML: neighbours of one class share an element.
struct Words<'a> {
    html: &'a mut String,
    class: Option<&'static str>,
}

impl Words<'_> {
    fn push(&mut self, text: &str, scopes: &ScopeStack) {
        if text.is_empty() {
            return;
        }
        let class = class(scopes);
        if class != self.class {
            self.end();
            if let Some(class) = class {
                self.html.push_str("<span class=\"");
                self.html.push_str(class);
                self.html.push_str("\">");
            }
            self.class = class;
        }
        escape(self.html, text);
    }

    fn end(&mut self) {
        if self.class.take().is_some() {
            self.html.push_str("</span>");
        }
    }
}

/// The innermost scope that says anything decides.
fn class(scopes: &ScopeStack) -> Option<&'static str> {
    let known = |scope: &Scope| CLASSES.iter().find(|(prefix, _)| prefix.is_prefix_of(*scope));
    scopes.as_slice().iter().rev().find_map(known).and_then(|(_, class)| *class)
}

fn escape(html: &mut String, text: &str) {
    // Writing to a String can't fail.
    let _ = Escaper::new(html).write_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn colour(language: &str, body: &str) -> String {
        coloured(body, syntax(language, body).unwrap(), LONG).unwrap().0
    }

    #[test]
    fn words_have_the_class_of_their_kind() {
        let html = colour("rust", "// <note>\nfn main() { let s = \"a\\n\"; }\n");
        let (first, second) = html.split_once('\n').unwrap();
        assert_eq!(first, "<span><span class=\"c\">// &lt;note&gt;");
        assert!(
            second
                .starts_with("</span></span><span><span class=\"k\">fn</span> <span class=\"f\">main</span>"),
            "{html}"
        );
        assert!(
            second.contains("<span class=\"s\">") && second.contains("<span class=\"n\">\\n</span>"),
            "{html}"
        );
    }

    #[test]
    fn a_body_in_markup_stays_text() {
        for language in ["html", "js", "markdown", "php", "xml", "svg", ""] {
            let body =
                "<script>alert(1)</script>\n<img src=x onerror='alert(2)'>&lt;\"\n</code></pre></span>\r\n";
            let html =
                syntax(language, body).map_or_else(|| plain(body), |it| coloured(body, it, LONG).unwrap()).0;
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("</pre"), "{html}");
            assert_eq!(text_of(&html), body, "{language}");
        }
    }

    /// What a browser shows of it.
    fn text_of(html: &str) -> String {
        let pieces = html.split('<').enumerate();
        let pieces = pieces.map(|(at, piece)| if at == 0 { piece } else { piece.split_once('>').unwrap().1 });
        let text = pieces.collect::<String>();
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        text.replace("&amp;", "&")
    }

    #[test]
    fn languages_are_found_by_name_ending_or_alias() {
        for (language, name) in [
            ("rust", "Rust"),
            ("RS", "Rust"),
            ("Python", "Python"),
            ("c++", "C++"),
            ("C#", "C#"),
            ("csharp", "C#"),
            ("golang", "Go"),
            ("TypeScript", "JavaScript"),
            ("bash", "Bourne Again Shell (bash)"),
            ("shell", "Bourne Again Shell (bash)"),
            ("yml", "YAML"),
        ] {
            assert_eq!(syntax(language, "x").map(|it| it.name.as_str()), Some(name), "{language}");
        }
        for none in ["", "text", "txt", "plain text", "no such language", "<b>"] {
            assert!(syntax(none, "x").is_none(), "{none}");
        }
    }

    #[test]
    fn what_would_take_too_long_is_not_coloured() {
        let rust = syntax("rust", "x").unwrap();
        assert!(coloured("fn main() {}\n", rust, Duration::ZERO).is_none());
        assert!(coloured(&"x".repeat(LINE_BYTES_MAX + 1), rust, LONG).is_none());
        assert!(syntax("rust", &"x".repeat(BODY_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn lines_are_numbered_up_to_a_number() {
        assert!(plain("a\nb").0.matches("<span>").count() == 2);
        let many = "\n".repeat(LINES_MAX);
        assert_eq!(plain(&many).0, format!("\n{many}"), "a browser leaves the first newline out");
    }
}
