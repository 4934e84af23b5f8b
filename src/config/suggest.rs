//! The known word nearest to a misspelt one.

/// The candidate that takes the fewest edits, if that is few enough to be a
/// slip of the finger: a third of the word.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let few = word.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= few)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and replacements.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("peers", ""), 5);
        assert_eq!(edits("", "peers"), 5);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("intervall", "interval"), 1);
    }

    #[test]
    fn only_a_slip_is_corrected() {
        assert_eq!(nearest("pears", ["peers", "series"]), Some("peers"));
        assert_eq!(nearest("colour", ["peers", "series"]), None);
    }
}
