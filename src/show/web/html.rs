//! HTML written in order; whatever is not of this program is escaped.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A page in the making.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup of ours.
    pub fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text of anybody's, escaped.
    pub fn text(&mut self, text: impl Display) {
        for character in text.to_string().chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(character),
            }
        }
    }

    /// Markup of ours that has text of anybody's at each `{}`, in an attribute or between tags.
    pub fn fill(&mut self, markup: &'static str, texts: &[&dyn Display]) {
        let mut pieces = markup.split("{}");
        self.raw(pieces.next().unwrap_or_default());
        debug_assert_eq!(pieces.clone().count(), texts.len(), "{markup}");
        // A text too few must not cost the tags behind it.
        let mut texts = texts.iter();
        for piece in pieces {
            texts.next().into_iter().for_each(|text| self.text(text));
            self.raw(piece);
        }
    }

    /// An element that has only text in it.
    pub fn element(&mut self, name: &'static str, text: impl Display) {
        self.fill("<{}>{}</{}>\n", &[&name, &text, &name]);
    }

    pub fn paragraph(&mut self, text: impl Display) {
        self.element("p", text);
    }

    pub fn link(&mut self, target: impl Display, text: impl Display) {
        self.fill("<a href=\"{}\">{}</a>", &[&target, &text]);
    }

    pub fn list<T: Display>(&mut self, lines: impl IntoIterator<Item = T>) {
        self.raw("<ul>\n");
        for line in lines {
            self.element("li", line);
        }
        self.raw("</ul>\n");
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// An id that stays the same from page to page, of whatever is told apart by `what`.
pub fn id(kind: &'static str, what: impl Hash) -> String {
    format!("{kind}-{}", digest(what))
}

/// The same for the same, in any process.
pub fn digest(what: impl Hash) -> String {
    // Without random keys, unlike a HashMap's.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::default();
        html.element("p", "<b>");
        html.list(["</li><script>", "\"&'"]);
        html.link("\" onclick=\"", "<i>");
        assert_eq!(
            html.finish(),
            "<p>&lt;b&gt;</p>\n<ul>\n<li>&lt;/li&gt;&lt;script&gt;</li>\n\
             <li>&quot;&amp;&#39;</li>\n</ul>\n\
             <a href=\"&quot; onclick=&quot;\">&lt;i&gt;</a>"
        );
    }

    #[test]
    fn an_id_is_one_word_and_always_the_same() {
        let one = id("netns", "a b\"<");
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        assert_eq!(one, id("netns", "a b\"<"));
        assert_ne!(one, id("netns", "a b\">"));
    }
}
