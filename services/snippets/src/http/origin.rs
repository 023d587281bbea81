//! Whether a browser sends a form of our own page, or another site makes it send one.
//!
//! There are no cookies, so nobody can write in a visitor's name; but another site could use up what the visitor's address
//! may write.

use axum::response::Response;
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{HOST, REFERRER_POLICY},
};

/// Whether a browser says that the request was caused by another site. A client that is no browser says nothing.
pub(super) fn is_foreign(uri: &Uri, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = header("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    // Browsers leave it out where there is no TLS, and old ones everywhere.
    let Some(origin) = header("origin") else { return false };
    let origin = origin.parse::<Uri>().ok();
    let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| header(HOST.as_str()));
    // Ports are left aside, as a proxy may listen on another.
    let host = host.and_then(|host| host.parse::<Uri>().ok());
    let [origin, host] = [origin, host].map(|it| it.as_ref().and_then(Uri::host).map(str::to_lowercase));
    origin.is_none() || origin != host
}

/// Lets a browser say where the forms in this answer come from: under `no-referrer` it would not.
pub(super) fn told(mut answer: Response) -> Response {
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_foreign_to_example(headers: &[(&'static str, &str)]) -> bool {
        let pairs = headers.iter().map(|(name, value)| (*name, *value)).chain([("host", "Example.org:8080")]);
        let pairs = pairs.map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        is_foreign(&Uri::from_static("/s"), &pairs.collect())
    }

    #[test]
    fn other_sites_are_known_by_what_browsers_say() {
        for (headers, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://example.org")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
            (&[("origin", "https://example.org")], false),
            (&[("origin", "http://example.org:8080")], false),
            (&[("origin", "http://evil.example.org")], true),
            (&[("origin", "http://example.org.evil")], true),
            (&[("origin", "null")], true),
        ] {
            assert_eq!(is_foreign_to_example(headers), foreign, "{headers:?}");
        }
    }

    #[test]
    fn http_2_names_the_host_in_the_address() {
        let headers = HeaderMap::from_iter([(http::header::ORIGIN, "http://a.example".parse().unwrap())]);
        assert!(!is_foreign(&Uri::from_static("http://a.example:50051/s"), &headers));
        assert!(is_foreign(&Uri::from_static("http://b.example:50051/s"), &headers));
    }
}
