//! In which form a snippet, or an error, is shown.

use chassis::{accept, http_error::Format};
use http::HeaderMap;

/// The forms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The body as it is. Who does not say what it wants, like curl, wants that.
    Text,
    /// All there is to know, for programs.
    Json,
    /// A page, for people.
    Html,
}

const FORMS: [Form; 3] = [Form::Text, Form::Json, Form::Html];

impl Form {
    /// What the client likes best; `None`, if it takes none of them.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        accept::best(headers, &FORMS.map(Self::essence)).map(|index| FORMS[index])
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// How an error is written down by the one error model; `None` for a page.
    pub(super) fn of_error(self) -> Option<Format> {
        match self {
            Self::Text => Some(Format::Text),
            Self::Json => Some(Format::Json),
            Self::Html => None,
        }
    }

    fn essence(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn each_client_gets_its_form() {
        for (accept, form) in [
            ("*/*", Some(Form::Text)),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Form::Html)),
            ("application/json", Some(Form::Json)),
            ("text/html;q=0.1, application/json;q=0.2", Some(Form::Json)),
            ("image/png", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Form::of(&headers), form, "{accept}");
        }
        assert_eq!(Form::of(&HeaderMap::new()), Some(Form::Text));
    }
}
