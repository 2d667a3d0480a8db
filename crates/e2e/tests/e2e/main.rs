//! The system as its users have it: the built programs as processes, on both stores, with simulated Modbus TCP
//! instruments behind real sockets. HTTP is spoken here without the project's client, as a stranger would.
//!
//! Each module is one subject; what they start and ask with is in [`support`]. A test that holds for both stores is
//! written once and generated twice by [`on_both_stores`]. Nothing here waits for time: it waits for what should happen,
//! with a deadline.

/// Runs tests on a hub with SQLite (`holdfast up --no-agent`) and on one with PostgreSQL (`holdfast-api` and
/// `holdfast-reconciler`). Each is given a hub that is up and empty.
macro_rules! on_both_stores {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::hub::Hub::start($crate::support::hub::Store::Sqlite).await).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::hub::Hub::start($crate::support::hub::Store::Postgres).await).await;
                }
            )*
        }
    };
}

mod agent_settings;
mod agents;
mod browser;
mod budgets;
mod buttons;
mod comeback;
mod command_line;
mod commands;
mod edits;
mod full_disks;
mod keys;
mod kills;
mod nothing_changed;
mod notices;
mod on_site;
mod ordering;
mod programs;
mod reconciler;
mod refusals;
mod replicas;
mod reports;
mod rules;
mod support;
mod values;
mod worked_examples;
