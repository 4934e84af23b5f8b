//! What to say of a key or section that there is not.

use super::keys::{KEYS, Key, find, names, sections};

/// The known word nearest to a misspelt one, if it takes few enough edits to be a
/// slip of the finger: a third of the word.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let few = word.chars().count().div_ceil(3);
    let edits = candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate));
    let near = edits.filter(|(edits, _)| *edits <= few);
    near.min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// What to say of `section.name`, which is no key.
pub(super) fn key(section: &str, name: &str) -> String {
    let siblings = KEYS
        .iter()
        .map(Key::parts)
        .filter(|parts| parts.0 == section);
    let siblings: Vec<_> = siblings.map(|(_, name)| name).collect();
    let near = nearest(name, siblings.iter().copied())
        .and_then(|name| find(&format!("{section}.{name}")))
        .or_else(|| named(name));
    match near {
        Some(key) => format!("unknown key; did you mean {}?", key.path),
        None => format!("unknown key; [{section}] has {}", siblings.join(", ")),
    }
}

/// What to say of a section that is none.
pub(super) fn section(name: &str) -> String {
    let sections = sections();
    match nearest(name, sections.iter().copied()) {
        Some(section) => format!("unknown section; did you mean [{section}]?"),
        None => format!("unknown section; there are {}", sections.join(", ")),
    }
}

/// What to say of a value that stands outside of all sections.
pub(super) fn top(name: &str) -> String {
    match named(name)
        .or_else(|| find(nearest(name, names())?))
        .map(Key::parts)
    {
        Some((section, name)) => format!("unknown key; did you mean {name} in [{section}]?"),
        None => format!(
            "unknown key; keys belong in one of the sections {}",
            sections().join(", ")
        ),
    }
}

/// The first key of that name in any section.
fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.parts().1 == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slip_is_corrected() {
        assert_eq!(nearest("pears", ["peers", "series"]), Some("peers"));
        assert_eq!(nearest("colour", ["peers", "series"]), None);
    }
}
