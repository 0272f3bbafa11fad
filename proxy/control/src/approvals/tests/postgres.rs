//! All of it again on a PostgreSQL of Debian's package, which the test starts and ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, Executor};

use super::Scenario;
use super::desk::Folder;
use crate::approvals::Database;

/// A server of its own, on a socket in a folder of its own.
struct Server {
    child: Child,
    folder: Folder,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Immediate: nothing of it is kept.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Server {
    /// None where it is not installed.
    async fn start() -> Option<Server> {
        let programs = programs()?;
        let folder = Folder::new();
        let data = folder.path().join("data");
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
        if is_root {
            // It refuses to run as root.
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(owned.unwrap().success(), "Debian's package makes the user");
        }
        let command = |program: &str| {
            let mut command =
                if is_root { Command::new("setpriv") } else { Command::new(programs.join(program)) };
            if is_root {
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
                command.arg(programs.join(program));
            }
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let made =
            command("initdb").arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-N"]).status();
        assert!(made.unwrap().success(), "initdb");
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=300"]);
        let server = Server { child: server.spawn().unwrap(), folder };
        let mut tries = 0;
        while sqlx::AnyConnection::connect(&server.url("postgres")).await.is_err() {
            tries += 1;
            assert!(tries < 300, "PostgreSQL does not start");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some(server)
    }

    fn url(&self, name: &str) -> String {
        format!("postgres://postgres@localhost/{name}?host={}", self.folder.path().display())
    }

    async fn database(&self, name: &'static str) -> Database {
        let mut connection = sqlx::AnyConnection::connect(&self.url("postgres")).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        Database::new(self.url(name))
    }
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let debian = versions.into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = debian.chain(std::env::split_paths(&paths)).find(|folder| folder.join("initdb").is_file());
    found.filter(|folder| folder.join("postgres").is_file())
}

/// Says that it did not run, and why; in CI everything runs.
fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "must not be skipped in CI: {reason}");
    if let Some(path) = std::env::var_os("SLUICE_SKIPS") {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(Path::new(&path));
        writeln!(file.unwrap(), "approvals on PostgreSQL: {reason}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_holds_on_postgresql() {
    sqlx::any::install_default_drivers();
    let Some(server) = Server::start().await else {
        skip("PostgreSQL is not installed (Debian: postgresql)");
        return;
    };
    let all: Vec<&(&str, Scenario)> =
        [super::grants::ALL, super::deeds::ALL, super::windows::ALL, super::time::ALL, super::scale::ALL]
            .into_iter()
            .flatten()
            .collect();
    assert!(all.len() > 20);
    for (name, scenario) in all {
        println!("{name}");
        scenario(server.database(name).await).await;
    }
    // Stopped in the middle: whoever asks is refused, in time.
    let database = server.database("stopped").await;
    let settings = crate::approvals::Settings { op_ms_max: 300, ..crate::approvals::Settings::new(database) };
    let desk = super::desk::Desk::with(settings).await;
    let asked = super::desk::request(&super::desk::person("alice", &[]), "x", &[("leads", 1)]);
    desk.pending(&asked).await;
    let signal = |name: &str| {
        let id = server.child.id().to_string();
        let sent = Command::new("pkill")
            .args([name, "-P", &id])
            .status()
            .and(Command::new("kill").args([name, &id]).status());
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    let refused = desk.ask(&asked).await;
    signal("-CONT");
    assert!(matches!(refused, Err(crate::approvals::ApprovalError::Unavailable(_))), "{refused:?}");
}
