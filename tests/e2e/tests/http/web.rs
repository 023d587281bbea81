//! A client of HTTP, and the product that these tests share.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use e2e::Client;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use stack::Product;
use tokio::sync::OnceCell;

/// One replica that believes what a client on this machine says about its address.
pub async fn product() -> &'static Product {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || {
        let product = e2e::product(&e2e::backends().await).replicas(1).workers(1);
        product.env("TRUSTED_PROXIES", "127.0.0.1").start().await.unwrap()
    };
    PRODUCT.get_or_init(start).await
}

pub async fn clients() -> (Web, Client) {
    let server = &product().await.snippets[0];
    (Web::to(server.grpc_addr()), Client::to(server).await.unwrap())
}

/// Sends requests with the same headers each time.
#[derive(Clone)]
pub struct Web {
    http: HttpClient<HttpConnector, Body>,
    addr: SocketAddr,
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Web {
    /// By HTTP/1.1.
    pub fn to(addr: SocketAddr) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { http, addr, headers: Vec::new() }
    }

    #[must_use]
    pub fn over_http2(&self) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { http, ..self.clone() }
    }

    #[must_use]
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut with = self.clone();
        with.headers.push((name, value.into()));
        with
    }

    #[must_use]
    pub fn accepting(&self, media_type: &str) -> Self {
        self.with("accept", media_type)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Body::empty()).await
    }

    pub async fn share(&self, form: impl Into<Body>) -> Answer {
        let form_type = "application/x-www-form-urlencoded";
        self.with("content-type", form_type).send(Method::POST, "/s", form.into()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Body) -> Answer {
        let uri: Uri = format!("http://{}{path}", self.addr).parse().unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let (head, body) = self.http.request(request.body(body).unwrap()).await.unwrap().into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        let mut headers = head.headers;
        headers.remove("date");
        Answer { status: head.status, headers, body: String::from_utf8(body.into()).unwrap() }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}
