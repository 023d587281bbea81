//! Whether a request is a call of gRPC or plain HTTP, which are told of failures in different ways.

use axum::{body::Body, extract::Request, response::Response};
use http::header::CONTENT_TYPE;
use tonic::{Code, Status};

use crate::{
    http_error::{self, Format},
    status,
};

/// How a client is told of a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Face {
    /// By a status in the headers or trailers, under an HTTP status of 200.
    Grpc,
    /// By an HTTP status, and a body.
    Http(Format),
}

impl Face {
    pub(crate) fn of(request: &Request) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        if content_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/grpc")) {
            Self::Grpc
        } else {
            Self::Http(Format::of(request.headers()))
        }
    }

    /// An answer that is nothing but this failure.
    pub(crate) fn refusal(self, status: Status) -> Response {
        let status = status::with_error_info(status);
        match self {
            Self::Grpc => status.into_http::<tonic::body::Body>().map(Body::new),
            Self::Http(format) => http_error::response(&status, format),
        }
    }

    /// The response as its client understands it: a gRPC error has its `ErrorInfo`, also what tonic itself refused, and a
    /// client of HTTP gets no gRPC.
    pub(crate) fn explain(self, response: Response) -> Response {
        if code(&response) == Code::Ok {
            return response;
        }
        let Some(status) = Status::from_header_map(response.headers()) else { return response };
        match self {
            Self::Grpc if !status.details().is_empty() => response,
            Self::Grpc => self.refusal(status),
            Self::Http(format) => http_error::translate(&response, format).unwrap_or(response),
        }
    }
}

/// The outcome of a call; of one in plain HTTP, what its error was made of.
pub(crate) fn code<B>(response: &Response<B>) -> Code {
    let of_grpc = response.headers().get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()));
    of_grpc.or_else(|| response.extensions().get().copied()).unwrap_or(Code::Ok)
}
