//! What a client of HTTP wants to have, by its `Accept` header (RFC 9110, section 12.5.1).

use http::{HeaderMap, header::ACCEPT};

/// Longest list of media ranges that is looked at; browsers send fewer than ten.
const RANGES_MAX: usize = 32;

/// The index of the offer that the client likes best; `None`, if it takes none of them.
///
/// Among those that it likes equally, what it names itself comes before what a wildcard lets pass, then what it names
/// first, then what is offered first. Without the header anything is welcome.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// let offers = ["text/plain", "application/json"];
/// assert_eq!(chassis::accept::best(&headers, &offers), Some(0));
/// headers.insert("accept", "application/json, */*;q=0.1".parse().unwrap());
/// assert_eq!(chassis::accept::best(&headers, &offers), Some(1));
/// headers.insert("accept", "image/*".parse().unwrap());
/// assert_eq!(chassis::accept::best(&headers, &offers), None);
/// ```
pub fn best(headers: &HeaderMap, offers: &[&str]) -> Option<usize> {
    let lines: Vec<_> =
        headers.get_all(ACCEPT).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let ranges = lines.iter().flat_map(|line| line.split(',')).filter_map(Range::parse);
    let ranges: Vec<_> = ranges.take(RANGES_MAX).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return (!offers.is_empty()).then_some(0);
    }
    let liked = offers.iter().enumerate().filter_map(|(index, offer)| Some((liking(&ranges, offer)?, index)));
    // Of equals `min_by` takes the first.
    liked.min_by(|(a, _), (b, _)| b.cmp(a)).map(|(_, index)| index)
}

/// How much an offer is liked: its quality, how exactly it is named, and how early. `None`: not at all.
fn liking(ranges: &[Range], offer: &str) -> Option<(u16, u8, std::cmp::Reverse<usize>)> {
    let matching =
        ranges.iter().enumerate().filter_map(|(at, range)| Some((range.matches(offer)?, at, range)));
    // The most exact range decides, also when it likes the offer less than another does.
    let (exactness, at, range) = matching.min_by_key(|(exactness, ..)| std::cmp::Reverse(*exactness))?;
    (range.quality > 0).then_some((range.quality, exactness, std::cmp::Reverse(at)))
}

/// A media range with its quality, in thousandths.
struct Range<'a> {
    media: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is none: it is passed over.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|media| media.contains('/'))?;
        let mut parameters = parts.filter_map(|part| part.split_once('='));
        let quality = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = quality.map_or(Some(1000), |(_, value)| thousandths(value.trim()))?;
        Some(Self { media, quality })
    }

    /// How exactly it names the offer; `None` if it does not.
    fn matches(&self, offer: &str) -> Option<u8> {
        let (kind, name) = self.media.split_once('/')?;
        let (offered_kind, offered_name) = offer.split_once('/')?;
        match (kind, name) {
            ("*", "*") => Some(0),
            (kind, _) if !kind.eq_ignore_ascii_case(offered_kind) => None,
            (_, "*") => Some(1),
            (_, name) => name.eq_ignore_ascii_case(offered_name).then_some(2),
        }
    }
}

/// A quality is 0 to 1 with up to three digits.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3
        || !matches!(whole, "0" | "1")
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["text/plain", "application/json", "text/html"];

    fn choice(lines: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        best(&headers, &OFFERS).map_or("nothing", |index| OFFERS[index])
    }

    #[test]
    fn browsers_scripts_and_curl_get_what_they_want() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (lines, wanted) in [
            (&[][..], "text/plain"),
            (&[""], "text/plain"),
            (&["*/*"], "text/plain"),
            (&["text/*"], "text/plain"),
            (&[browser], "text/html"),
            (&["text/html, image/gif, */*"], "text/html"),
            (&["application/json, text/plain, */*"], "application/json"),
            (&["*/*, application/json"], "application/json"),
            (&["Application/JSON; charset=utf-8"], "application/json"),
        ] {
            assert_eq!(choice(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn qualities_are_honoured() {
        for (lines, wanted) in [
            (&["text/html;q=0.5, application/json;q=0.6"][..], "application/json"),
            (&["text/html;q=0.5", "application/json;q=0.6"], "application/json"),
            (&["text/*;q=0.9, text/plain;q=0.1, application/json;q=0.2"], "text/html"),
            (&["text/plain;q=0, */*;q=0.1"], "application/json"),
            (&["text/plain;q=0.001, text/html;Q=0"], "text/plain"),
            (&["*/*;q=0"], "nothing"),
            (&["image/png, application/xml"], "nothing"),
            (&["text/html;q=2, application/json;q=-1, text/plain;q=0.0001"], "nothing"),
            (&["nonsense, ;;;, text/html;q=1.001, application/json;q=1.000"], "application/json"),
        ] {
            assert_eq!(choice(lines), wanted, "{lines:?}");
        }
    }
}
