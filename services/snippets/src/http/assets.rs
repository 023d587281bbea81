//! The files that pages refer to, under names that change with what is in them.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use sha2::{Digest as _, Sha256};

/// The sheet of every page.
pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../../assets/style.css"))
});
/// What a browser's tab shows.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("../../assets/icon.svg")));

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file that is part of the program.
pub(super) struct Asset {
    stem: &'static str,
    name: String,
    media_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &'static str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let name = format!("{stem}-{}.{extension}", fingerprint(content.as_bytes()));
        Self { stem, name, media_type, content }
    }

    /// Where it is served.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }

    /// While replicas are being replaced, a page of one version may ask a replica of the other: it gets the file as it
    /// is there, and does not keep it under the wrong name.
    fn serve(&self, name: &str) -> Response {
        let caching = if name == self.name { FOR_EVER } else { "no-store" };
        ([(CONTENT_TYPE, self.media_type), (CACHE_CONTROL, caching)], self.content).into_response()
    }
}

/// `GET /assets/{name}`.
pub(super) async fn get(Path(name): Path<String>) -> Response {
    let stem = name.split('-').next().unwrap_or_default();
    match [&*STYLE, &*ICON].into_iter().find(|asset| asset.stem == stem) {
        Some(asset) => asset.serve(&name),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /favicon.ico`, for which browsers ask beside what is no page, without being told to.
pub(super) async fn favicon() -> Response {
    ([(CONTENT_TYPE, ICON.media_type), (CACHE_CONTROL, "public, max-age=86400")], ICON.content)
        .into_response()
}

/// 64 bits of a hash, as text.
pub(super) fn fingerprint(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let first = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    format!("{first:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_name_is_kept_for_ever() {
        let right = get(Path(STYLE.name.clone())).await;
        assert_eq!(right.headers()[CACHE_CONTROL], FOR_EVER);
        let of_another_version = get(Path("style-0123.css".into())).await;
        assert_eq!(of_another_version.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(get(Path("secrets".into())).await.status(), StatusCode::NOT_FOUND);
    }
}
