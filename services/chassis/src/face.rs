//! Whether a request is a call of gRPC or plain HTTP, which are told of failures in different ways.

use axum::{body::Body, extract::Request, response::Response};
use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, CONTENT_TYPE},
};
use http_body::Body as _;
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
    Http(Plain),
}

/// What is to be known of a request in plain HTTP to tell it of a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    format: Format,
    /// It comes with a body, over HTTP/1.
    sends_on: bool,
}

impl Face {
    pub(crate) fn of(request: &Request) -> Self {
        if is_grpc(request.headers()) {
            Self::Grpc
        } else {
            let sends_on = request.version() < Version::HTTP_2 && !request.body().is_end_stream();
            Self::Http(Plain { format: Format::of(request.headers()), sends_on })
        }
    }

    /// An answer that is nothing but this failure.
    pub(crate) fn refusal(self, status: Status) -> Response {
        let status = status::with_error_info(status);
        match self {
            Self::Grpc => status.into_http::<tonic::body::Body>().map(Body::new),
            Self::Http(plain) => plain.closing(http_error::response(&status, plain.format)),
        }
    }

    /// The response as its client understands it: a gRPC error has its `ErrorInfo`, also what tonic itself refused, and a
    /// client of HTTP gets no gRPC.
    pub(crate) fn explain(self, response: Response) -> Response {
        if code(&response) == Code::Ok {
            return response;
        }
        if let Self::Http(plain) = self {
            return plain.closing(http_error::translate(&response, plain.format).unwrap_or(response));
        }
        match Status::from_header_map(response.headers()) {
            Some(status) if status.details().is_empty() => self.refusal(status),
            _ => response,
        }
    }
}

impl Plain {
    /// What is refused is not read to its end, so that the connection can't be used again; a client has to know.
    fn closing(self, mut response: Response) -> Response {
        if self.sends_on {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whether it is a call of gRPC, or of gRPC-Web, that comes with these headers.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/grpc"))
}

/// The outcome of a call; of one in plain HTTP, what its error was made of.
pub(crate) fn code<B>(response: &Response<B>) -> Code {
    let of_grpc = response.headers().get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()));
    of_grpc.or_else(|| response.extensions().get().copied()).unwrap_or(Code::Ok)
}
