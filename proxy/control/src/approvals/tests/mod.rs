//! Approvals as a whole, on SQLite and on PostgreSQL.

mod deeds;
pub(crate) mod desk;
mod grants;
mod history;
mod postgres;
mod scale;
mod time;
mod windows;

use std::future::Future;
use std::pin::Pin;

use super::Database;
use desk::Desk;

/// Something that must hold on every database.
type Scenario = fn(Database) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a test on SQLite of each scenario, and a list of all for PostgreSQL.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = super::desk::Folder::new();
                scenario::$name(folder.sqlite()).await;
            }
        )+

        /// Every scenario of this file, by name.
        pub(super) const ALL: &[(&str, super::Scenario)] =
            &[$((stringify!($name), |database| Box::pin(scenario::$name(database)))),+];
    };
}
use scenarios;
