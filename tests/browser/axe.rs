//! axe-core, which looks for what keeps people from using a page. It comes from npm, once.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::driver::Browser;
use crate::support::tools;

/// Its rules change from version to version.
const VERSION: &str = "4.14.1";

/// The script, which is fetched before the test enters a namespace without a network.
/// Skips aloud where it cannot be had.
pub fn script(test: &str) -> Option<String> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let file = directory.join(format!("axe-{VERSION}.js"));
    if !file.is_file() {
        tools::find_or_skip(test, "npm")?;
        if let Err(reason) = fetch(&directory, &file) {
            tools::skip(test, &format!("axe-core cannot be had: {reason}"));
            return None;
        }
    }
    Some(std::fs::read_to_string(file).expect("it can be read"))
}

fn fetch(directory: &PathBuf, file: &PathBuf) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    let here = tempfile::tempdir_in(directory).map_err(|error| error.to_string())?;
    let package = format!("axe-core@{VERSION}");
    let archive = format!("axe-core-{VERSION}.tgz");
    let script = ["package/axe.min.js"];
    for (program, arguments) in [
        ("npm", ["pack", "--silent", &package].as_slice()),
        ("tar", &["-xzf", &archive, script[0]]),
    ] {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(here.path())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    // Whole or not at all, whoever else fetches it.
    std::fs::rename(here.path().join(script[0]), file).map_err(|error| error.to_string())
}

/// # Panics
/// When there are violations, with each.
pub fn check(browser: &Browser, script: &str, what: &str) {
    browser.run(script);
    let found = browser.run_async("axe.run().then(done, (error) => done(String(error)))");
    let violations = found["violations"]
        .as_array()
        .unwrap_or_else(|| panic!("{what}: {found}"));
    assert!(
        found["passes"].as_array().is_some_and(|all| all.len() > 15),
        "{what}: nothing was looked at"
    );
    let told: Vec<_> = violations.iter().map(tell).collect();
    assert!(told.is_empty(), "{what}:\n{}", told.join("\n"));
}

fn tell(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let nodes: Vec<_> = nodes
        .map(|node| format!("  {} {}", node["html"], node["failureSummary"]))
        .collect();
    format!(
        "{}: {}\n{}",
        violation["id"],
        violation["help"],
        nodes.join("\n")
    )
}
