//! What the tests start and ask with.
//!
//! - [`hub`], [`agent`]: the programs; [`process`] starts and ends them; [`gate`] is the network between them, [`tls`] the
//!   same with encryption;
//! - [`instrument`]: what agents read, which checks at its end that nobody wrote to it; [`makes`]: the same of three makes;
//! - [`client`], [`device`], [`stream`]: HTTP as a stranger speaks it; [`hand_made`]: an agent made of plain requests;
//! - [`tables`]: what stands in the database; [`page`]: a browser; [`wait`]: waiting with a deadline.

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod device;
pub(crate) mod gate;
pub(crate) mod hand_made;
pub(crate) mod hub;
pub(crate) mod instrument;
pub(crate) mod makes;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod stream;
pub(crate) mod tables;
pub(crate) mod tls;
pub(crate) mod wait;
