//! `sluice serve --config`: a gateway whose configuration is a file that may be written anew.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::Value;

use crate::observed;
use crate::process::{Build, Server, keys_pack};
use crate::wire::{Message, Wire};

/// How long a change may take to show.
const SHOWS_MAX: Duration = Duration::from_secs(20);

/// A gateway by a file; its folder is gone when this is dropped.
#[derive(Debug)]
pub struct Configured {
    folder: PathBuf,
    /// The process.
    pub server: Server,
    /// Where its first listener listens.
    pub address: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

impl Configured {
    /// Starts it by this text; `sluice.toml` stands beside `rules.toml`, a pack of one rule for keys of AWS.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(text: &str) -> Configured {
        Configured::start_with(text, &[])
    }

    /// As [`Configured::start`], with these files, names and texts, in the folder beside.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_with(text: &str, files: &[(&str, &str)]) -> Configured {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder = env::temp_dir().join(format!("sluice-configured-{}-{number}", process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::copy(keys_pack(), folder.join("rules.toml")).expect("a file can be copied");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file can be written");
        }
        let file = folder.join("sluice.toml");
        fs::write(&file, text).expect("a file can be written");
        let args: Vec<OsString> = vec!["serve".into(), "--config".into(), file.into()];
        let mut server = Server::start(Build::Debug, &args);
        let (address, admin) = (server.address("gateway"), server.address("admin"));
        Configured { folder, server, address, admin }
    }

    /// One listener, one upstream, one route, to each of which these lines are added.
    #[must_use]
    pub fn text(io: &str, listener: &str, upstream: &str, route: &str) -> String {
        format!(
            r#"
[gateway]
shards = 2
io = "{io}"
allow_anonymous = true

[admin]
listen = "127.0.0.1:0"

[[listener]]
name = "only"
listen = "127.0.0.1:0"
{listener}

[[upstream]]
name = "only"
{upstream}

[[route]]
name = "all"
upstream = "only"
packs = ["rules.toml"]
{route}
"#
        )
    }

    /// Puts a file into its folder.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file can be written");
    }

    /// A file of its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the admin server says of it.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut admin = Wire::connect(self.admin);
        admin.exchange("GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n").json()
    }

    /// The version of the configuration in force.
    ///
    /// # Panics
    /// The status has none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.status()["configuration"]["version"].as_u64().expect("a version")
    }

    /// Waits until the status says so.
    ///
    /// # Panics
    /// It does not in time.
    pub fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        self.until(what, || is_so(&self.status()));
    }

    /// Waits until a value of `/metrics` is as wanted.
    ///
    /// # Panics
    /// It does not become so in time.
    pub fn wait_for(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        self.until(name, || wanted(self.metric(name)));
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + SHOWS_MAX;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.server.printed());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// A value of `/metrics` by its name with labels; 0 where it is not there.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        observed::metric_at(self.admin, name)
    }

    /// Asks the admin server for a reload, with one more field.
    #[must_use]
    pub fn reload(&self, field: &str) -> Message {
        let mut admin = Wire::connect(self.admin);
        let head = format!("POST /api/v1/reload HTTP/1.1\r\nhost: {}\r\n{field}", self.admin);
        admin.exchange(format!("{head}content-length: 0\r\n\r\n"))
    }

    /// The answer to a `GET` on a connection of its own.
    #[must_use]
    pub fn get(&self, path: &str) -> Message {
        Wire::connect(self.address).exchange(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
