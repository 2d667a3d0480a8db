//! Random documents ([`documents`]), a device's life with its agent ([`life`]), a point in the loop that holds it
//! ([`holding`]), a boiler that values are set on ([`wishes`]).

pub(crate) mod documents;
pub(crate) mod holding;
pub(crate) mod life;
pub(crate) mod wishes;
