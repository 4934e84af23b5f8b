//! No circle among files: whoever reads one from the ground up meets no name that is
//! explained by what is built upon it.

use std::collections::{BTreeMap, BTreeSet};

use super::sources;

/// `["count", "keys"]` for `count/keys.rs`, `["count"]` for `count/mod.rs`.
fn module(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|part| *part != "lib").collect()
}

/// The paths of a tree such as `a::{b::C, d}`, which begins the text.
fn paths(text: &str) -> Vec<Vec<&str>> {
    fn walk<'t>(mut rest: &'t str, before: &[&'t str], found: &mut Vec<Vec<&'t str>>) -> &'t str {
        let mut path = before.to_vec();
        loop {
            rest = rest.trim_start();
            if let Some(mut group) = rest.strip_prefix('{') {
                loop {
                    group = walk(group, &path, found).trim_start();
                    match group.strip_prefix(',') {
                        Some(next) => group = next,
                        None => return group.strip_prefix('}').unwrap_or(group),
                    }
                }
            }
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if end > 0 {
                path.push(&rest[..end]);
            }
            rest = &rest[end..];
            match rest.strip_prefix("::") {
                Some(next) => rest = next,
                None => break,
            }
        }
        found.push(path);
        rest
    }
    let mut found = Vec::new();
    walk(text, &[], &mut found);
    found
}

/// The paths in `text` that begin with this word.
fn paths_from<'t>(text: &'t str, word: &str) -> Vec<Vec<&'t str>> {
    let starts = text.match_indices(word).filter(|(at, _)| {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        !text[..*at].ends_with(is_path) && text[at + word.len()..].starts_with("::")
    });
    starts.flat_map(|(at, _)| paths(&text[at..])).collect()
}

/// A path as it reads from the root, where the file at `own` says it.
fn absolute<'t>(own: &[&'t str], path: &[&'t str]) -> Vec<&'t str> {
    match path.first() {
        Some(&"crate") => path[1..].to_vec(),
        Some(&"self") => [own, &path[1..]].concat(),
        _ => {
            let ups = path.iter().take_while(|part| **part == "super").count();
            let above = own.len().saturating_sub(ups);
            [&own[..above], &path[ups..]].concat()
        }
    }
}

/// Each file, and the files whose names it uses. A file that declares others as its parts
/// may use them: that is no arrow. A name that its parts take from it belongs to the file
/// that it has it from.
fn arrows(files: &[(String, String)]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeMap<_, _> = files
        .iter()
        .map(|(name, _)| (module(name), &name[..]))
        .collect();
    let mut taken = BTreeMap::new();
    for (file, text) in files {
        let own = module(file);
        for path in text.split("use ").skip(1).flat_map(paths) {
            if let Some(name) = path.last().filter(|_| path.len() > 1) {
                taken.insert((own.clone(), *name), absolute(&own, &path));
            }
        }
    }
    let target = |path: &[&str]| -> Option<&str> {
        let mut path = path.to_vec();
        // A name may come through several files.
        for _ in 0..files.len() {
            let known = (0..=path.len())
                .rev()
                .find(|&most| modules.contains_key(&path[..most]))?;
            let place = path[..known].to_vec();
            let from = path
                .get(known)
                .and_then(|name| taken.get(&(place.clone(), *name)));
            match from {
                Some(from) if *from != path => path.clone_from(from),
                _ => return modules.get(&place).copied(),
            }
        }
        None
    };
    let mut arrows = BTreeMap::new();
    for (file, text) in files {
        let own = module(file);
        let used = arrows.entry(&file[..]).or_insert_with(BTreeSet::new);
        let (up, down) = (paths_from(text, "super"), paths_from(text, "crate"));
        for path in up.iter().chain(&down) {
            let found = target(&absolute(&own, path));
            used.extend(found.filter(|found| !module(found).starts_with(&own)));
        }
    }
    arrows
}

/// Files that reach each other.
fn circles<'f>(arrows: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> BTreeSet<Vec<&'f str>> {
    let reach = |from: &'f str| {
        let (mut reached, mut ahead) = (BTreeSet::new(), vec![from]);
        while let Some(file) = ahead.pop() {
            let next = arrows.get(file).into_iter().flatten();
            ahead.extend(next.filter(|next| reached.insert(**next)));
        }
        reached
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (*file, reach(file))).collect();
    let circle = |file: &&'f str| -> Vec<&'f str> {
        let others = reached[file]
            .iter()
            .filter(|other| reached[*other].contains(file));
        others.copied().collect()
    };
    arrows
        .keys()
        .map(circle)
        .filter(|circle| !circle.is_empty())
        .collect()
}

#[test]
fn no_file_needs_one_that_needs_it() {
    let files = sources();
    let circles = circles(&arrows(&files));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_would_be_seen() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = [
        file("lib.rs", "pub mod a; pub mod b;"),
        file(
            "a/mod.rs",
            "mod c; mod d; pub use c::{C, E}; use self::d::D;",
        ),
        file("a/c.rs", "use super::{D, C};"),
        file("a/d.rs", "fn d() { super::super::b::b() }"),
        file("b.rs", "use crate::{a::{self, E}, x};"),
    ];
    let found = circles(&arrows(&files));
    assert_eq!(found, [vec!["a/c.rs", "a/d.rs", "b.rs"]].into());
}
