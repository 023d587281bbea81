//! Lists in pages: each begins where the one before it ended, whatever was written meanwhile (keyset pages).

use super::{
    error::ApiError,
    page_token::{List, PageTokens, refused},
};
use crate::domain::{Violation, Violations};

/// Size of a page when the caller says none.
const SIZE_DEFAULT: usize = 50;
/// And the most that it gets.
const SIZE_MAX: usize = 200;

/// The place of an item in its list, by which the store finds what comes after it.
pub(super) trait Position: Sized {
    /// As it is put into a token. It can be read there.
    fn to_bytes(&self) -> Vec<u8>;

    /// The position of such bytes. None of what another version may have written.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// The page of a list that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page<P> {
    list: List,
    size: usize,
    /// The last item of the page before; none on the first page.
    pub(super) after: Option<P>,
}

impl<P: Position> Page<P> {
    /// Validates what the caller asks for; reports what is wrong with both.
    pub(super) async fn parse(
        tokens: &PageTokens,
        list: List,
        page_size: i32,
        page_token: &str,
    ) -> Result<Self, ApiError> {
        let mut violations = Violations::default();
        let size = violations.check("", size(page_size));
        let after = match after(tokens, &list, page_token).await {
            Err(ApiError::Invalid(wrong)) => violations.check("", Err(wrong)),
            after => Some(after?),
        };
        let page = size.zip(after).map(|(size, after)| Self { list, size, after });
        page.ok_or_else(|| violations.into())
    }

    /// How many items are to be read: one more than fit, to tell whether another page follows.
    pub(super) fn limit(&self) -> usize {
        self.size + 1
    }

    /// What was read, without the one too many; and the token of the next page, empty if there is none.
    pub(super) async fn cut<T>(
        &self,
        tokens: &PageTokens,
        mut read: Vec<T>,
        position: impl Fn(&T) -> P,
    ) -> Result<(Vec<T>, String), ApiError> {
        let more = read.len() > self.size;
        read.truncate(self.size);
        let token = match read.last() {
            Some(last) if more => tokens.seal(&self.list, &position(last).to_bytes()).await?,
            _ => String::new(),
        };
        Ok((read, token))
    }
}

async fn after<P: Position>(tokens: &PageTokens, list: &List, token: &str) -> Result<Option<P>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = tokens.open(list, token).await?;
    Ok(Some(P::from_bytes(&bytes).ok_or_else(refused)?))
}

/// As <https://google.aip.dev/158>: what is too large is cut down rather than refused.
fn size(page_size: i32) -> Result<usize, Violation> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(SIZE_DEFAULT),
        Ok(size) => Ok(size.min(SIZE_MAX)),
        Err(_) => Err(Violation::new("page_size", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::page_token::tests::{list, tokens},
        *,
    };

    impl Position for u8 {
        fn to_bytes(&self) -> Vec<u8> {
            vec![*self]
        }

        fn from_bytes(bytes: &[u8]) -> Option<Self> {
            <[u8; 1]>::try_from(bytes).ok().map(u8::from_le_bytes)
        }
    }

    async fn page(size: i32, token: &str) -> Result<Page<u8>, ApiError> {
        Page::parse(&tokens(), list(), size, token).await
    }

    #[tokio::test]
    async fn a_page_has_50_items_by_default_and_200_at_most() {
        for (asked, size) in [(0, 50), (1, 1), (200, 200), (201, 200), (i32::MAX, 200)] {
            assert_eq!(page(asked, "").await.unwrap().limit(), size + 1);
        }
    }

    #[tokio::test]
    async fn all_that_is_wrong_is_reported() {
        let Err(ApiError::Invalid(wrong)) = page(-1, "x").await else { panic!("it was taken") };
        let fields: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["page_size", "page_token"]);
        let of_another_version = tokens().seal(&list(), b"two").await.unwrap();
        assert!(page(1, &of_another_version).await.is_err());
    }

    #[tokio::test]
    async fn pages_of_any_size_follow_each_other_to_the_end() {
        let all: Vec<u8> = (1..=6).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        // The last page is full, and still the last.
        for size in [1, 3, 2] {
            let page = page(size, &token).await.unwrap();
            let read = all.iter().copied().filter(|item| page.after.is_none_or(|after| *item > after));
            let read = read.take(page.limit()).collect();
            let (items, next) = page.cut(&tokens(), read, |item| *item).await.unwrap();
            seen.extend(items);
            token = next;
        }
        assert_eq!((seen, token.as_str()), (all, ""));
        let (none, token) =
            page(1, "").await.unwrap().cut(&tokens(), Vec::new(), |item| *item).await.unwrap();
        assert_eq!((none.len(), token.as_str()), (0, ""));
    }
}
