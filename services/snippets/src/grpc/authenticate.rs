//! Who calls: known before any cache, limit or row is touched.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use chassis::call::PeerAddr;
use http::HeaderMap;
use tonic::Status;

use super::{TrustedProxies, error::ApiError};
use crate::{
    domain::{Caller, Identity, KeyHash, now},
    ports::AccountStore,
};

/// What it takes to know a caller.
pub(crate) struct Callers {
    pub(super) accounts: Arc<dyn AccountStore>,
    pub(super) bootstrap_admin: Option<KeyHash>,
    pub(super) trusted_proxies: TrustedProxies,
}

/// Middleware: puts the [`Caller`] into the request's extensions, or refuses the call.
pub(crate) async fn authenticate(
    State(callers): State<Arc<Callers>>,
    request: Request,
    next: Next,
) -> Response {
    match callers.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}

/// The caller that was found out.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, ApiError> {
    request.extensions().get().cloned().ok_or(ApiError::Bug("the call was not authenticated"))
}

impl Callers {
    /// The request with its [`Caller`] in its extensions.
    pub(super) async fn admit(&self, mut request: Request) -> Result<Request, ApiError> {
        let identity = match key(request.headers())? {
            None => Identity::Anonymous,
            Some(secret) => self.identity(&KeyHash::of(secret)).await?,
        };
        let address = self.address(&request);
        request.extensions_mut().insert(Caller { address, identity });
        Ok(request)
    }

    fn address(&self, request: &Request) -> IpAddr {
        let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0.ip());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.trusted_proxies.client_address(peer, request.headers())
    }

    async fn identity(&self, hash: &KeyHash) -> Result<Identity, ApiError> {
        if self.bootstrap_admin.as_ref() == Some(hash) {
            return Ok(Identity::BootstrapAdmin);
        }
        match self.accounts.find_by_key_hash(hash).await? {
            Some((key, account)) if key.is_valid_at(now()) && !account.disabled => {
                Ok(Identity::Account(account))
            }
            _ => Err(ApiError::KeyInvalid),
        }
    }
}

/// The key in `authorization: Bearer KEY` or `x-api-key: KEY`. A header that holds none is refused, as its sender
/// does not mean to be anonymous.
fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let header =
        |name| headers.get(name).map(|value| value.to_str().map_err(|_| ApiError::KeyInvalid)).transpose();
    let bearer = header("authorization")?.map(bearer).transpose()?;
    let plain = header("x-api-key")?;
    match (bearer, plain) {
        (Some(bearer), Some(plain)) if bearer != plain => Err(ApiError::KeyInvalid),
        (bearer, plain) => Ok(bearer.or(plain)),
    }
}

fn bearer(value: &str) -> Result<&str, ApiError> {
    let (scheme, key) = value.split_once(' ').ok_or(ApiError::KeyInvalid)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(key.trim()) } else { Err(ApiError::KeyInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_in(headers: &[(&'static str, &str)]) -> Result<Option<String>, ApiError> {
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        key(&headers.collect()).map(|key| key.map(str::to_owned))
    }

    #[test]
    fn finds_the_key_in_either_header() {
        assert_eq!(key_in(&[]).unwrap(), None);
        assert_eq!(key_in(&[("authorization", "Bearer abc")]).unwrap().unwrap(), "abc");
        assert_eq!(key_in(&[("authorization", "bearer abc"), ("x-api-key", "abc")]).unwrap().unwrap(), "abc");
        assert_eq!(key_in(&[("x-api-key", "abc")]).unwrap().unwrap(), "abc");
    }

    #[test]
    fn a_header_without_a_usable_key_is_never_anonymous() {
        for headers in [
            &[("authorization", "Basic abc")][..],
            &[("authorization", "abc")],
            &[("authorization", "Bearer a"), ("x-api-key", "b")],
        ] {
            assert!(matches!(key_in(headers), Err(ApiError::KeyInvalid)), "{headers:?}");
        }
    }
}
