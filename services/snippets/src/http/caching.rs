//! Who may keep an answer, for how long, and how it is asked whether a copy is still good.

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
use rpc::snippets::v1 as pb;

use crate::domain::Caller;

/// Anybody may read it, and so may any cache on the way: it spares this service the load of a hot link, and shows an edit within
/// seconds. What a cache answers is not counted as a view.
const SHARED: &str = "public, max-age=5, stale-while-revalidate=30";
/// It may be kept by the client that asked, and has to be asked for each time.
const OWN: &str = "private, no-cache";
/// It is not to be found on anybody's disk.
const NONE: &str = "private, no-store";

/// What decides about an answer besides its address.
pub(super) const VARY: &str = "accept, authorization, x-api-key";

/// `Cache-Control` of an answer that shows this snippet to this caller.
pub(super) fn control(snippet: &pb::Snippet, caller: &Caller) -> HeaderValue {
    let may_end = snippet.expire_time.is_some();
    HeaderValue::from_static(match snippet.visibility() {
        // A copy would be one view more than it may have.
        _ if snippet.max_views > 0 => NONE,
        pb::Visibility::Private => NONE,
        pb::Visibility::Public if caller.is_anonymous() && !may_end => SHARED,
        pb::Visibility::Public | pb::Visibility::Unlisted | pb::Visibility::Unspecified => OWN,
    })
}

/// Whether the client has what has this entity tag already, by the weak comparison that RFC 9110 wants here.
pub(super) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(etag) = etag.to_str().map(opaque) else { return false };
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    // No tag of ours has a comma in it.
    lines.flat_map(|line| line.split(',')).any(|tag| tag.trim() == "*" || opaque(tag) == etag)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::domain::Identity;

    #[test]
    fn only_what_anybody_may_read_is_shared() {
        let caller = |identity| Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), identity };
        let (anonymous, admin) = (caller(Identity::Anonymous), caller(Identity::BootstrapAdmin));
        for (visibility, for_anonymous, for_admin) in [
            (pb::Visibility::Public, SHARED, OWN),
            (pb::Visibility::Unlisted, OWN, OWN),
            (pb::Visibility::Private, NONE, NONE),
        ] {
            let snippet = pb::Snippet { visibility: visibility.into(), ..pb::Snippet::default() };
            assert_eq!(control(&snippet, &anonymous), for_anonymous, "{visibility:?}");
            assert_eq!(control(&snippet, &admin), for_admin, "{visibility:?}");
        }
        let public = pb::Snippet { visibility: pb::Visibility::Public.into(), ..pb::Snippet::default() };
        assert_eq!(control(&pb::Snippet { max_views: 1, ..public.clone() }, &anonymous), NONE);
        let expire_time = Some(prost_types::Timestamp::default());
        assert_eq!(control(&pb::Snippet { expire_time, ..public }, &anonymous), OWN);
    }

    #[test]
    fn a_copy_is_known_by_any_of_its_tags() {
        let etag = HeaderValue::from_static("\"v1.text\"");
        for (line, known) in [
            ("\"v1.text\"", true),
            ("W/\"v1.text\"", true),
            ("\"other\", W/\"v1.text\" ", true),
            ("*", true),
            ("v1.text", false),
            ("\"v1.json\"", false),
            ("\"v1.textual\"", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, line.parse().unwrap())]);
            assert_eq!(is_known(&headers, &etag), known, "{line:?}");
        }
        assert!(!is_known(&HeaderMap::new(), &etag));
    }
}
