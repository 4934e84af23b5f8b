//! A table of the page. The page's script sorts it by any column.

use std::fmt::Display;

use super::html::{Html, id};
use super::trouble::badge;
use crate::findings::Severity;
use crate::model::figures::{grouped, percent};

pub enum Cell {
    Text(String),
    /// What is read, and what it is sorted by.
    Number(String, f64),
    /// 0 to 1, shown as a percentage with a bar; as bad as the findings say that it is.
    Share(f64, Option<Severity>),
    /// A page of ours.
    Link(String, String),
    /// Not measured.
    Unknown,
}

impl Cell {
    pub fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }

    pub fn number(value: impl Into<u64>) -> Self {
        let value = value.into();
        Self::Number(grouped(value), value as f64)
    }

    /// A name of something that happens to be a number.
    pub fn port(port: u16) -> Self {
        Self::Number(port.to_string(), port.into())
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(..) | Self::Share(..))
    }

    fn write(&self, html: &mut Html) {
        match self {
            Self::Text(text) => html.fill("<td>{}", &[text]),
            Self::Link(target, text) => {
                html.raw("<td>");
                html.link(target, text);
            }
            Self::Number(text, value) => {
                html.fill("<td class=\"number\" data-value=\"{}\">{}", &[value, text]);
            }
            Self::Share(share, severity) => share_cell(html, *share, *severity),
            Self::Unknown => html.raw("<td class=\"number\">-"),
        }
        html.raw("</td>");
    }
}

/// A table that scrolls by itself where the screen is narrower.
pub struct Table<'t> {
    /// The namespace that tells it from the same table of others; empty where there is none.
    pub of: &'t str,
    pub caption: String,
    pub columns: &'t [&'t str],
    pub rows: Vec<Vec<Cell>>,
    /// Markup that stands there instead where there are no rows.
    pub none: &'static str,
}

/// Of the heading of a namespace.
pub fn heading_id(name: &str) -> String {
    id("netns", name)
}

impl Table<'_> {
    pub fn write(&self, html: &mut Html) {
        if self.rows.is_empty() {
            return html.raw(self.none);
        }
        let id = id("table", (self.of, self.columns));
        // With several namespaces the captions repeat: the heading above tells them apart.
        let labels = match self.of {
            "" => id.clone(),
            name => format!("{id} {}", heading_id(name)),
        };
        html.fill(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{}\"><table data-sort-key=\"{}\">\n<caption id=\"{}\">{}</caption>\n<thead><tr>",
            &[&labels, &id, &id, &self.caption],
        );
        for (at, column) in self.columns.iter().enumerate() {
            let is_number = self.rows.iter().any(|row| row[at].is_number());
            let head = match is_number {
                true => "<th scope=\"col\" class=\"number\">{}</th>",
                false => "<th scope=\"col\">{}</th>",
            };
            html.fill(head, &[column]);
        }
        html.raw("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.raw("<tr>");
            row.iter().for_each(|cell| cell.write(html));
            html.raw("</tr>\n");
        }
        html.raw("</tbody>\n</table></div>\n");
    }
}

fn share_cell(html: &mut Html, share: f64, severity: Option<Severity>) {
    html.fill("<td class=\"number\" data-value=\"{}\">", &[&share]);
    if let Some(severity) = severity {
        badge(html, severity.label());
    }
    let class = severity.map_or("well", Severity::label);
    let width = format_args!("{:.1}", share.clamp(0.0, 1.0) * 100.0);
    html.fill(
        "{} <svg class=\"bar {}\" aria-hidden=\"true\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\"><rect class=\"all\" width=\"100\" height=\"10\"/><rect class=\"gone\" height=\"10\" width=\"{}\"/></svg>",
        &[&percent(share), &class, &width],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_figures_and_keep_what_they_are_sorted_by() {
        let mut html = Html::default();
        let row = vec![
            Cell::text("</td><script>"),
            Cell::number(12_345_u32),
            Cell::Share(0.9, Some(Severity::Critical)),
            Cell::Share(1.0, None),
            Cell::Unknown,
        ];
        Table {
            of: "\"",
            caption: "<i>".to_owned(),
            columns: &["A", "B", "C", "D", "E"],
            rows: vec![row],
            none: "",
        }
        .write(&mut html);
        let page = html.finish();
        for found in [
            "<td>&lt;/td&gt;&lt;script&gt;</td>",
            "data-value=\"12345\">12,345</td>",
            "data-value=\"0.9\"><span class=\"badge critical\">critical</span> 90.0% <svg class=\"bar critical\"",
            "width=\"90.0\"",
            "100.0% <svg class=\"bar well\"",
            "<td class=\"number\">-</td>",
        ] {
            assert!(page.contains(found), "{found}\n{page}");
        }
        assert!(!page.contains("<i>"));
    }
}
