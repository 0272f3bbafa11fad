//! Where things are: the checkout, the corpus beside it, and what to do when something is not there.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("tests/ stands in the checkout").to_path_buf()
}

/// The folder shared beside the checkout (`SLUICE_SHARED`, else `../shared`), if it is there.
#[must_use]
pub fn shared() -> Option<PathBuf> {
    let path = env::var_os("SLUICE_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    path.join("corpus").is_dir().then_some(path)
}

/// Whether the long runs were asked for (`SLUICE_LONG=1`).
#[must_use]
pub fn long_runs() -> bool {
    env::var("SLUICE_LONG").is_ok_and(|v| v == "1")
}

/// Says that a test, or a part of one, did not run, and why.
///
/// `tests/run` counts the lines in the file that `SLUICE_SKIPS` names.
///
/// # Panics
/// With `CI=true`: there, everything runs.
pub fn skip(what: &str, reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{what} must not be skipped in CI: {reason}");
    eprintln!("skipped: {what}: {reason}");
    if let Some(path) = env::var_os("SLUICE_SKIPS") {
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(path).expect("SLUICE_SKIPS opens");
        writeln!(file, "{what}: {reason}").expect("SLUICE_SKIPS is written");
    }
}

/// Every file that git tracks or would track, relative to the root, in order.
///
/// # Panics
/// When this is not a git checkout.
#[must_use]
pub fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let mut files: Vec<PathBuf> = names.split('\0').filter(|n| !n.is_empty()).map(PathBuf::from).collect();
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    assert!(!files.is_empty(), "git lists no file");
    files
}

/// The files with this extension.
#[must_use]
pub fn files_with_extension(extension: &str) -> Vec<PathBuf> {
    let mut files = files();
    files.retain(|file| file.extension().is_some_and(|e| e == extension));
    files
}

/// The text of a file of the checkout.
///
/// # Panics
/// When it can't be read as UTF-8.
#[must_use]
pub fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// What `cargo metadata` says; without `with_dependencies`, of the members alone.
///
/// # Panics
/// When cargo fails, as it does where `Cargo.lock` is out of date.
#[must_use]
pub fn cargo_metadata(with_dependencies: bool) -> serde_json::Value {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root());
    if !with_dependencies {
        command.arg("--no-deps");
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}
