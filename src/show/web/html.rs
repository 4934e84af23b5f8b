//! HTML written in order; whatever is not of this program is escaped.

use std::fmt::{self, Display, Write};

use crate::model::figures::percent;

/// A page in the making.
#[derive(Default)]
pub struct Html(String);

/// One cell of a table.
pub enum Cell {
    Text(String),
    Number(String),
    /// 0 to 1, shown as a percentage with a bar.
    Share(f64),
}

impl Cell {
    pub fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }

    pub fn number(value: impl Display) -> Self {
        Self::Number(value.to_string())
    }
}

impl Html {
    /// Markup of ours.
    pub fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text of anybody's.
    pub fn text(&mut self, text: impl Display) {
        write!(Escaped(&mut self.0), "{text}").expect("memory takes every character");
    }

    pub fn heading(&mut self, text: impl Display) {
        self.raw("<h2>");
        self.text(text);
        self.raw("</h2>\n");
    }

    pub fn paragraph(&mut self, text: impl Display) {
        self.raw("<p>");
        self.text(text);
        self.raw("</p>\n");
    }

    /// A list of lines under a heading.
    pub fn finding(&mut self, title: &str, lines: &[String]) {
        self.raw("<section class=\"finding\">\n");
        self.heading(title);
        self.raw("<ul>\n");
        for line in lines {
            self.raw("<li>");
            self.text(line);
            self.raw("</li>\n");
        }
        self.raw("</ul>\n</section>\n");
    }

    /// A table that scrolls by itself where the screen is narrower.
    pub fn table(&mut self, caption: &str, columns: &[&str], rows: &[Vec<Cell>]) {
        self.raw("<div class=\"scroll\"><table>\n<caption>");
        self.text(caption);
        self.raw("</caption>\n<thead><tr>");
        for column in columns {
            self.raw("<th scope=\"col\">");
            self.text(column);
            self.raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.raw("<tr>");
            row.iter().for_each(|cell| self.cell(cell));
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table></div>\n");
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Text(text) => {
                self.raw("<td>");
                self.text(text);
            }
            Cell::Number(number) => {
                self.raw("<td class=\"number\">");
                self.text(number);
            }
            Cell::Share(share) => {
                self.raw("<td class=\"number\">");
                self.text(percent(*share));
                self.raw(" ");
                self.raw("<meter low=\"0.7\" high=\"0.9\" optimum=\"0\" value=\"");
                self.text(format_args!("{:.3}", share.clamp(0.0, 1.0)));
                self.raw("\"></meter>");
            }
        }
        self.raw("</td>");
    }

    pub fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'p>(&'p mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::default();
        html.finding("<b>", &["\"&'".to_owned()]);
        html.table("t", &["<i>"], &[vec![Cell::text("</td><script>")]]);
        let page = html.finish();
        for markup in ["<b>", "\"&'", "<i>", "<script>"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&quot;&amp;&#39;"));
    }
}
