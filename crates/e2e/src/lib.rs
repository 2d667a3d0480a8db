//! Tests over the built programs: hub, reconciler, agent and command line as processes, instruments behind real sockets,
//! HTTP spoken by hand. All of it is in `tests/e2e/`; this library is empty.
