//! Pages of lists that are cut from a device's state, not by the store.

use std::str::FromStr;

use holdfast_ports::page::Page;
use holdfast_wire::Listed;

use crate::problem::{ApiProblem, ApiResult};

/// The key of the last item of the page before; `None`: the list begins.
pub(crate) fn after<K: FromStr>(page: &Page) -> ApiResult<Option<K>> {
    let expected = "what `next` of the page before said";
    let key = page.after.as_deref().map(str::parse).transpose();
    key.map_err(|_| ApiProblem::bad_request("after", expected, "another text"))
}

/// The page, of items that come behind the page before, in the list's order.
pub(crate) fn cut<T>(
    items: impl Iterator<Item = T>,
    page: &Page,
    key: impl Fn(&T) -> String,
) -> Listed<T> {
    let most = page.limit as usize;
    let mut items: Vec<T> = items.take(most + 1).collect();
    let is_more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| is_more).map(key);
    Listed { items, next }
}
