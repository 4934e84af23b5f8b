//! A web configuration file → what the server shows its clients, or one clear line.

use std::path::PathBuf;
use std::sync::LazyLock;

use sockdiag_exporter::show::web::web_config::WebConfig;

use super::scratch_file;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| scratch_file("yml"));

pub fn run(input: &[u8]) {
    std::fs::write(&*FILE, input).expect("the file can be written");
    if let Err(error) = WebConfig::load(&FILE) {
        assert!(!error.trim().is_empty());
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    std::fs::remove_file(&*FILE).expect("the file is there");
}
