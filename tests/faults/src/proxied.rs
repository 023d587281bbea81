//! A way to a server that can be cut.

use anyhow::Context as _;
use stack::Proxy;

/// Puts a proxy before the server of a URL; gives it with the URL that leads through it.
pub async fn proxied(url: &str) -> anyhow::Result<(Proxy, String)> {
    let (scheme, rest) = url.split_once("://").context("no scheme in the URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let proxy = Proxy::start(host.parse()?).await?;
    let at = if user.is_empty() { "" } else { "@" };
    let through = format!("{scheme}://{user}{at}{}/{path}", proxy.addr());
    Ok((proxy, through))
}
