//! docs/faults.md names tests: each of them exists, and each row has one.

use std::fs;
use std::path::Path;

/// All sources below a folder, as one text.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|is| is == "rs") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn every_fault_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let sources = sources(&root.join("src")) + &sources(&root.join("tests"));
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|line| !line.starts_with("| fault"));
    let mut count = 0;
    for row in rows {
        let tests = row.split(" | ").nth(2).unwrap_or_else(|| panic!("{row}"));
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let is_there = [format!("fn {name}("), format!("case!({name},")];
            let is_there = is_there.iter().any(|text| sources.contains(text));
            assert!(is_there, "{name}: {row}");
        }
        count += 1;
    }
    assert!(count > 25, "{count}");
}
