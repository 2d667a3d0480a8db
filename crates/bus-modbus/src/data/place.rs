//! Adjacent addresses of one table: what one request reads, and where a point lies.

use std::fmt;

use holdfast_domain::protocol::modbus::Table;

/// `count` (at least 1) addresses of `table` from `first` on, none beyond 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: Table,
    pub(crate) first: u16,
    pub(crate) count: u16,
}

impl Place {
    /// The address behind the last one, up to 65536.
    pub(crate) fn end(self) -> u32 {
        u32::from(self.first) + u32::from(self.count)
    }

    /// This and `other`, of the same table, and what lies between them; nothing if that is more than one request may
    /// ask for.
    pub(crate) fn with(self, other: Self) -> Option<Self> {
        assert_eq!(self.table, other.table, "no request reads two tables");
        let first = self.first.min(other.first);
        let count = self.end().max(other.end()) - u32::from(first);
        let count = u16::try_from(count)
            .ok()
            .filter(|count| *count <= self.table.max_read())?;
        Some(Self {
            table: self.table,
            first,
            count,
        })
    }

    /// Do they share an address?
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.table == other.table
            && u32::from(self.first) < other.end()
            && u32::from(other.first) < self.end()
    }

    /// How many addresses lie between this and `later`, which does not begin before it; 0 if they touch or overlap.
    pub(crate) fn gap_to(self, later: Self) -> u32 {
        u32::from(later.first).saturating_sub(self.end())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.first)?;
        if self.count > 1 {
            write!(f, " to {}", self.end() - 1)?;
        }
        Ok(())
    }
}
