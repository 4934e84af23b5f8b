//! Names the commit that is built, for `--version` and `sockdiag_build_info`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const VARIABLE: &str = "SOCKDIAG_EXPORTER_REVISION";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let revision = env::var(VARIABLE)
        .ok()
        .filter(|given| !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_graphic()))
        .or_else(revision)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env={VARIABLE}={revision}");
}

fn revision() -> Option<String> {
    // An unpacked archive may lie inside somebody else's repository.
    if !Path::new(".git").exists() {
        return None;
    }
    watch_head();
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Cargo reruns this whenever a watched file is missing, so only those that
/// exist are named. A branch that is packed has no file of its own; the log of
/// HEAD moves for it too.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs"];
    for name in names.into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]).map(PathBuf::from);
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
