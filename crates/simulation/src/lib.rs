//! The whole system in virtual time, from a seed: hub, reconciler, agents, instruments. Nothing here is used outside
//! tests; all of it is in `tests/simulation`, whose `main.rs` says what is simulated, what is checked, and what it finds.
