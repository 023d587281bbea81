//! Errors as clients of HTTP see them: made as for gRPC, and told as a page, in JSON or in a line of text.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use chassis::{http_error, status::Error};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status};

use super::{negotiation::Form, page};
use crate::grpc::ApiError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// For a reason that gRPC knows, too.
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("none of the forms there are is acceptable")]
    NotAcceptable,
    #[error("the method is not for this address")]
    MethodNotAllowed,
    #[error("the form is too large")]
    TooLarge,
    #[error("the body is not a form")]
    NotAForm,
    #[error("another site sent the form")]
    Foreign,
}

impl Failure {
    /// gRPC has no code for what is HTTP's alone: the nearest, and the status to be sent instead of that code's.
    fn told(self) -> (Status, Option<StatusCode>) {
        let (code, reason, message, status) = match self {
            Self::Api(error) => return (error.into(), None),
            Self::NotAcceptable => (
                Code::InvalidArgument,
                "NOT_ACCEPTABLE",
                "there is text/html, application/json and text/plain",
                StatusCode::NOT_ACCEPTABLE,
            ),
            Self::MethodNotAllowed => (
                Code::Unimplemented,
                "METHOD_NOT_ALLOWED",
                "this address does not take that method",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::TooLarge => {
                (Code::OutOfRange, "FORM_TOO_LARGE", "the form is too large", StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::NotAForm => (
                Code::InvalidArgument,
                "NOT_A_FORM",
                "the body must be application/x-www-form-urlencoded",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Foreign => (
                Code::PermissionDenied,
                "FOREIGN_FORM",
                "the form was sent by another site",
                StatusCode::FORBIDDEN,
            ),
        };
        (Error::new(code, reason, message).into(), Some(status))
    }
}

impl IntoResponse for Failure {
    /// Carries the error to [`told_in_http`].
    fn into_response(self) -> Response {
        let (status, of_http) = self.told();
        let mut response = status.into_http();
        *response.status_mut() = of_http.unwrap_or(StatusCode::OK);
        response
    }
}

/// The answer to a method that no route of the path takes.
pub(super) async fn method_not_allowed() -> Failure {
    Failure::MethodNotAllowed
}

/// Middleware: whatever failed inside is told in the form that the client likes best.
pub(super) async fn told_in_http(request: Request, next: Next) -> Response {
    // Somebody who takes none of the forms is told so in a line of text.
    let form = Form::of(request.headers()).unwrap_or(Form::Text);
    let response = next.run(request).await;
    let Some(error) = http_error::carried(&response) else { return response };
    let status = Some(response.status()).filter(|status| !status.is_success());
    let status = status.unwrap_or_else(|| http_error::http_status(error.code()));
    let mut told = match form.of_error() {
        Some(format) => http_error::response(&error, format),
        None => page(&error, page::error(status, error.message()).0),
    };
    *told.status_mut() = status;
    told
}

/// An error as a page.
pub(super) fn page(error: &Status, html: String) -> Response {
    let mut response = http_error::response(error, http_error::Format::Text).map(|_| html.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Form::Html.content_type()));
    response
}
