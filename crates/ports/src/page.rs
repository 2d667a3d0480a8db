//! Pages of lists.

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What stood in [`Listed::next`] of the page before; `None`: from the beginning.
    pub after: Option<String>,
    /// The most items, 1 to [`Page::MOST`].
    pub limit: u32,
}

impl Page {
    /// The most items of one page: a screen's worth many times over, and bounded in memory.
    pub const MOST: u32 = 1_000;

    /// The first page of at most `limit` items.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<String>,
}

impl<T> Listed<T> {
    /// A page out of up to `limit + 1` items that were fetched: the one too many says that there is more.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}
