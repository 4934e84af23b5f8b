//! A configuration file and variables → a configuration, or all that is wrong with them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use sockdiag_exporter::config::{Loaded, Overrides};

use super::scratch_file;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| scratch_file("toml"));

/// The file up to the first NUL, then variables `NAME=VALUE` between others.
pub fn run(input: &[u8]) {
    let mut parts = input.split(|&byte| byte == 0);
    let file = parts.next().unwrap_or_default();
    std::fs::write(&*FILE, file).expect("the file can be written");
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let variables = parts.map(|part| {
        let at = part.iter().position(|&byte| byte == b'=');
        let (name, value) = part.split_at(at.unwrap_or(part.len()));
        (text(name), text(value.get(1..).unwrap_or_default()))
    });
    let loaded = Loaded::load(Some(&FILE), variables, &Overrides::default());
    match loaded {
        Ok(loaded) => {
            // What is shown means the same.
            std::fs::write(&*FILE, loaded.to_toml()).expect("the file can be written");
            let again = Loaded::load(Some(&FILE), no_variables(), &Overrides::default());
            let again = again.unwrap_or_else(|error| panic!("{error}\n{}", loaded.to_toml()));
            assert_eq!(again.config, loaded.config);
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in error.problems {
                assert!(!problem.trim().is_empty());
                assert!(!problem.contains(char::is_control), "{problem:?}");
            }
        }
    }
    std::fs::remove_file(&*FILE).expect("the file is there");
}

fn no_variables() -> std::iter::Empty<(OsString, OsString)> {
    std::iter::empty()
}
