//! The table of the bench `engine`, as Markdown.

use std::fmt::Write;

use crate::measure::Figures;

/// A row: a case in chunks of one size.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub name: String,
    /// Bytes of a chunk.
    pub chunk: usize,
    /// In the order of the table's contenders; `None`: did not run.
    pub figures: Vec<Option<Figures>>,
}

/// A table of rows with the same contenders.
#[derive(Debug)]
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// The columns.
    pub contenders: Vec<String>,
    /// Which two columns the ratio of medians is of: `a / b`.
    pub ratio: Option<(usize, usize)>,
    /// All rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(title: &str, contenders: &[&str], ratio: Option<(usize, usize)>) -> Table {
        let contenders = contenders.iter().map(|name| (*name).to_owned()).collect();
        Table { title: title.into(), contenders, ratio, rows: Vec::new() }
    }

    /// The table's head.
    #[must_use]
    pub fn head(&self) -> String {
        let mut text = String::from("| case | chunk |");
        let mut rule = String::from("|---|--:|");
        for name in &self.contenders {
            add(&mut text, format_args!(" {name} |"));
            rule.push_str("--:|");
        }
        if self.ratio.is_some() {
            text.push_str(" ratio |");
            rule.push_str("--:|");
        }
        text.push_str(" matches |");
        rule.push_str("--:|");
        format!("{text}\n{rule}")
    }

    /// One row as a line: `median (min–max)` of each contender, the ratio, matches of each.
    #[must_use]
    pub fn line(&self, row: &Row) -> String {
        let mut text = format!("| {} | {} |", row.name, size(row.chunk));
        for figures in &row.figures {
            match figures {
                Some(f) => {
                    let cut =
                        if f.cut { format!(" of {:.1} MB", f.bytes as f64 / 1e6) } else { String::new() };
                    let (median, min, max) = (speed(f.median()), speed(f.min()), speed(f.max()));
                    add(&mut text, format_args!(" **{median}** ({min}–{max}){cut} |"));
                }
                None => text.push_str(" – |"),
            }
        }
        if let Some((a, b)) = self.ratio {
            match (row.figures.get(a), row.figures.get(b)) {
                (Some(Some(a)), Some(Some(b))) => {
                    add(&mut text, format_args!(" {:.2} |", a.median() / b.median()));
                }
                _ => text.push_str(" – |"),
            }
        }
        let matches = row.figures.iter().map(|f| f.as_ref().map_or("–".into(), |f| f.matches.to_string()));
        add(&mut text, format_args!(" {} |", matches.collect::<Vec<String>>().join(" / ")));
        text
    }

    /// All of it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let lines: Vec<String> = self.rows.iter().map(|row| self.line(row)).collect();
        format!("## {}\n\n{}\n{}\n", self.title, self.head(), lines.join("\n"))
    }
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
}

/// `16 KiB`, `256 B`.
fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

/// Three digits that count.
fn speed(mb: f64) -> String {
    let decimals = if mb < 10.0 { 2 } else { usize::from(mb < 100.0) };
    format!("{mb:.decimals$}")
}
