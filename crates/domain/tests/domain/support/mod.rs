//! Random documents ([`documents`]) and a device's life with its agent ([`life`]).

pub(crate) mod documents;
pub(crate) mod life;
