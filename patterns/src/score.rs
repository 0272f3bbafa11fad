//! How well rules find what a labelled corpus says that there is.
//!
//! The measures are those of the corpus's own scorer (`score.py`), group by group:
//!
//! ```text
//!   row:   TP  a positive row where any span overlaps a gold span      FN  one where none does
//!          FP  a negative row with any span                            precision TP/(TP+FP), recall TP/(TP+FN)
//!   span:  recall, exact (same start and end), covered (gold bytes under some span), extra (on positive rows, beside all)
//! ```
//! Rows that only a model could find are kept apart, in the group `ner`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_engine::{Event, Ruleset, Scratch, Sink, Stream, StreamOptions};

/// The most bytes of one line of a corpus or of predictions.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A labelled text.
#[derive(Clone, Debug)]
pub struct Row {
    /// `d00001`.
    pub id: String,
    /// What is scanned.
    pub text: String,
    kind: String,
    category: String,
    source: String,
    origin: String,
    is_positive: bool,
    is_ner: bool,
    is_contested: bool,
    seen_in_dev: Option<bool>,
    gold: Vec<Range<usize>>,
    ignored: Vec<Range<usize>>,
}

/// Where a rule found something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
    /// The rule's id.
    pub rule: String,
}

/// Spans by the id of their row, or by the name of a clean file.
pub type Predictions = BTreeMap<String, Vec<Span>>;

/// Counts of a group of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Positive rows.
    pub positive: usize,
    /// Negative rows.
    pub negative: usize,
    /// Positive rows in which a gold span was hit.
    pub tp: usize,
    /// Negative rows in which anything was found.
    pub fp_rows: usize,
    gold: usize,
    gold_hit: usize,
    gold_exact: usize,
    gold_bytes: usize,
    covered_bytes: usize,
    /// Spans on positive rows that touch neither a gold nor an ignored span.
    pub extra_spans: usize,
    extra_rows: usize,
}

/// Counts by group, by category and by rule.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// `all`, `secret`, `pii/source=…`, `ner`.
    pub groups: BTreeMap<String, Counts>,
    /// `secret:category`.
    pub categories: BTreeMap<String, Counts>,
    /// By rule: rows that it hit rightly, and rows in which it found what it should not.
    pub rules: BTreeMap<String, RuleCounts>,
}

/// What one rule came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Positive rows of which it hit a gold span.
    pub right: usize,
    /// Negative rows in which it found something.
    pub wrong: usize,
    /// Positive rows in which it found something beside all that is labelled.
    pub extra: usize,
}

/// Reads a corpus: one JSON object a line.
///
/// # Errors
/// `line: reason` of the first line that is no row.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    lines(text, |value| {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let label = text("label");
        let is_positive = match label.as_deref() {
            Some("positive") => true,
            Some("negative") => false,
            _ => return Err("`label` is neither `positive` nor `negative`".into()),
        };
        Ok(Row {
            id: text("id").ok_or("a row needs `id`")?,
            text: text("text").ok_or("a row needs `text`")?,
            kind: text("kind").ok_or("a row needs `kind`")?,
            category: text("category").ok_or("a row needs `category`")?,
            source: text("source").unwrap_or_default(),
            origin: text("origin").unwrap_or_else(|| "?".into()),
            is_positive,
            is_ner: value["ner"] == Value::Bool(true),
            is_contested: !matches!(value["contested"], Value::Null | Value::Bool(false)),
            seen_in_dev: value["category_in_dev"].as_bool(),
            gold: ranges(&value["spans"])?.into_iter().map(|s| s.start..s.end).collect(),
            ignored: ranges(&value["ignore_spans"])?.into_iter().map(|s| s.start..s.end).collect(),
        })
    })
}

/// Reads predictions: `{"id", "spans": [[start, end, rule]…]}` a line.
///
/// # Errors
/// `line: reason` of the first line that is none.
pub fn predictions(text: &str) -> Result<Predictions, String> {
    let all = lines(text, |value| {
        let id = value["id"].as_str().ok_or("a prediction needs `id`")?.to_owned();
        Ok((id, ranges(&value["spans"])?))
    })?;
    let mut predictions = Predictions::new();
    for (id, spans) in all {
        predictions.entry(id).or_default().extend(spans);
    }
    Ok(predictions)
}

fn lines<T>(text: &str, mut read: impl FnMut(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = |reason: String| format!("{}: {reason}", number + 1);
        if line.len() > LINE_BYTES_MAX {
            return Err(place(format!("a line has at most {LINE_BYTES_MAX} bytes")));
        }
        let value: Value = serde_json::from_str(line).map_err(|e| place(format!("not valid JSON: {e}")))?;
        all.push(read(&value).map_err(place)?);
    }
    Ok(all)
}

fn ranges(value: &Value) -> Result<Vec<Span>, String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let read = |item: &Value| {
        let at = |n: usize| item[n].as_u64().and_then(|n| usize::try_from(n).ok());
        let rule = item[2].as_str().unwrap_or_default().to_owned();
        Some(Span { start: at(0)?, end: at(1)?, rule })
    };
    items.iter().map(|item| read(item).ok_or_else(|| "a span is [start, end]".to_owned())).collect()
}

/// A line of predictions.
#[must_use]
pub fn prediction_line(id: &str, spans: &[Span]) -> String {
    let spans: Vec<Value> = spans.iter().map(|s| json!([s.start, s.end, s.rule])).collect();
    json!({"id": id, "spans": spans}).to_string()
}

/// What a ruleset finds in texts, one stream each.
pub struct Finder {
    ruleset: Arc<Ruleset>,
    scratch: Scratch,
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").finish_non_exhaustive()
    }
}

/// Events with the names of their rules.
struct Spans<'a>(&'a Ruleset, Vec<Span>);

impl Sink for Spans<'_> {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        let rule = self.0.name(event.rule).map_or("", |name| name.id).to_owned();
        self.1.push(Span { start: event.input.start as usize, end: event.input.end as usize, rule });
    }
}

impl Finder {
    /// With the rules of this ruleset.
    #[must_use]
    pub fn new(ruleset: Arc<Ruleset>) -> Finder {
        Finder { ruleset, scratch: Scratch::new() }
    }

    /// All that is found in a text, in order.
    pub fn find(&mut self, text: &[u8]) -> Vec<Span> {
        let mut stream = Stream::new(&self.ruleset, StreamOptions::default());
        let mut sink = Spans(&self.ruleset, Vec::new());
        stream.push(&mut self.scratch, text, &mut sink);
        stream.finish(&mut self.scratch, &mut sink);
        let mut spans = sink.1;
        spans.sort();
        spans
    }

    /// All that is found in the texts of rows.
    pub fn predict(&mut self, rows: &[Row]) -> Predictions {
        rows.iter().map(|row| (row.id.clone(), self.find(row.text.as_bytes()))).collect()
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

impl Counts {
    /// Adds a row and the distinct spans that were found in it.
    fn add(&mut self, row: &Row, spans: &BTreeSet<(usize, usize)>) {
        let spans: Vec<Range<usize>> = spans.iter().map(|(start, end)| *start..*end).collect();
        if !row.is_positive {
            self.negative += 1;
            self.fp_rows += usize::from(!spans.is_empty());
            return;
        }
        self.positive += 1;
        let is_hit = |gold: &Range<usize>| spans.iter().any(|span| overlap(span, gold));
        self.tp += usize::from(row.gold.iter().any(is_hit));
        for gold in &row.gold {
            self.gold += 1;
            self.gold_hit += usize::from(is_hit(gold));
            self.gold_exact += usize::from(spans.contains(gold));
            self.gold_bytes += gold.end.saturating_sub(gold.start);
            // The spans are in order.
            let mut end = gold.start;
            for span in spans.iter().filter(|span| overlap(span, gold)) {
                let (from, to) = (span.start.max(end), span.end.min(gold.end));
                self.covered_bytes += to.saturating_sub(from);
                end = end.max(to);
            }
        }
        let known =
            |span: &Range<usize>| row.gold.iter().chain(&row.ignored).any(|known| overlap(span, known));
        let extra = spans.iter().filter(|span| !known(span)).count();
        self.extra_spans += extra;
        self.extra_rows += usize::from(extra > 0);
    }

    /// Positive rows that were found; `None` without positive rows.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.tp, self.positive)
    }

    /// Found rows that are positive.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.tp, self.tp + self.fp_rows)
    }

    /// The harmonic mean of both, of their rounded values as the scorer has it; 0 where nothing was found.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        match (self.precision(), self.recall()) {
            (Some(p), Some(r)) if p > 0.0 && r > 0.0 => Some(round(2.0 * p * r / (p + r))),
            _ => (self.positive > 0).then_some(0.0),
        }
    }

    /// Gold spans that were overlapped.
    #[must_use]
    pub fn span_recall(&self) -> Option<f64> {
        share(self.gold_hit, self.gold)
    }

    /// Gold spans that were found with the same start and end.
    #[must_use]
    pub fn span_exact(&self) -> Option<f64> {
        share(self.gold_exact, self.gold)
    }

    /// Of the gold spans that were overlapped, those with the same start and end.
    #[must_use]
    pub fn exact_of_hits(&self) -> Option<f64> {
        share(self.gold_exact, self.gold_hit)
    }

    /// Gold bytes that were masked.
    #[must_use]
    pub fn covered(&self) -> Option<f64> {
        share(self.covered_bytes, self.gold_bytes)
    }

    /// Precision with rows that have an extra span counted as wrong.
    #[must_use]
    pub fn strict_precision(&self) -> Option<f64> {
        share(self.tp, self.tp + self.fp_rows + self.extra_rows)
    }

    /// Negative rows in which something was found.
    #[must_use]
    pub fn fpr_negative(&self) -> Option<f64> {
        share(self.fp_rows, self.negative)
    }

    /// As the scorer writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "positive": self.positive, "negative": self.negative, "tp": self.tp, "fp_rows": self.fp_rows,
            "recall": self.recall(), "precision": self.precision(), "f1": self.f1(),
            "strict_precision": self.strict_precision(), "fpr_negative": self.fpr_negative(),
            "span_recall": self.span_recall(), "span_exact": self.span_exact(), "covered": self.covered(),
            "extra_spans": self.extra_spans,
        })
    }
}

/// Four digits, as the scorer gives them.
fn round(number: f64) -> f64 {
    (number * 10_000.0).round_ties_even() / 10_000.0
}

fn share(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| round(part as f64 / of as f64))
}

/// Scores predictions; `contested` rows count unless they are left out.
#[must_use]
pub fn score(rows: &[Row], predictions: &Predictions, with_contested: bool) -> Score {
    let mut score = Score::default();
    for row in rows.iter().filter(|row| with_contested || !row.is_contested) {
        let spans = predictions.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let distinct: BTreeSet<(usize, usize)> =
            spans.iter().filter(|s| s.end > s.start).map(|s| (s.start, s.end)).collect();
        if row.is_ner {
            score.groups.entry("ner".into()).or_default().add(row, &distinct);
            continue;
        }
        let Row { kind, category, source, .. } = row;
        let origin = row.origin.split(':').next().unwrap_or_default();
        let mut groups = vec![
            "all".to_owned(),
            kind.clone(),
            format!("{kind}/source={source}"),
            format!("{kind}/origin={origin}"),
        ];
        groups.extend(row.seen_in_dev.map(|seen| {
            let word = if seen { "seen" } else { "unseen" };
            format!("{kind}/{word}_category")
        }));
        for group in groups {
            score.groups.entry(group).or_default().add(row, &distinct);
        }
        score.categories.entry(format!("{kind}:{category}")).or_default().add(row, &distinct);
        score.count_rules(row, spans);
    }
    score
}

impl Score {
    fn count_rules(&mut self, row: &Row, spans: &[Span]) {
        let mut seen: BTreeMap<&str, RuleCounts> = BTreeMap::new();
        for span in spans.iter().filter(|span| span.end > span.start) {
            let counts = seen.entry(&span.rule).or_default();
            let range = span.start..span.end;
            let touches = |known: &[Range<usize>]| known.iter().any(|known| overlap(&range, known));
            match (row.is_positive, touches(&row.gold), touches(&row.ignored)) {
                (false, ..) => counts.wrong = 1,
                (true, true, _) => counts.right = 1,
                (true, false, false) => counts.extra = 1,
                (true, false, true) => {}
            }
        }
        for (rule, one) in seen {
            let all = self.rules.entry(rule.to_owned()).or_default();
            all.right += one.right;
            all.wrong += one.wrong;
            all.extra += one.extra;
        }
    }

    /// All of it, as the scorer writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let all = |counts: &BTreeMap<String, Counts>| -> Value {
            counts.iter().map(|(name, counts)| (name.clone(), counts.to_json())).collect()
        };
        json!({"groups": all(&self.groups), "categories": all(&self.categories)})
    }
}

/// A match that only one of two predictions has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row's id, or the file.
    pub id: String,
    /// Where, and by which rule.
    pub span: Span,
    /// Whether it is on gold, beside it, or in a negative row; `None` where no row says it.
    pub is_right: Option<bool>,
}

/// Matches gained and lost, by row: those with another start or end count as both; another rule alone does not.
#[must_use]
pub fn diff(rows: &[Row], old: &Predictions, new: &Predictions) -> (Vec<Change>, Vec<Change>) {
    let known: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let only_in = |one: &Predictions, other: &Predictions| {
        let mut changes = Vec::new();
        for (id, spans) in one {
            let others = other.get(id).map(Vec::as_slice).unwrap_or_default();
            let same = |span: &Span| others.iter().any(|o| (o.start, o.end) == (span.start, span.end));
            for span in spans.iter().filter(|span| !same(span)) {
                let is_right = known.get(id.as_str()).map(|row| {
                    row.is_positive && row.gold.iter().any(|gold| overlap(gold, &(span.start..span.end)))
                });
                changes.push(Change { id: id.clone(), span: span.clone(), is_right });
            }
        }
        changes
    };
    (only_in(new, old), only_in(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = concat!(
        r#"{"id":"a","kind":"pii","category":"c","source":"s","label":"positive","text":"0123456789","spans":[[2,5]],"ignore_spans":[[8,9]]}"#,
        "\n\n",
        r#"{"id":"b","kind":"pii","category":"c","source":"s","label":"negative","text":"x","spans":[],"contested":true}"#,
        "\n",
        r#"{"id":"n","kind":"pii","category":"ner:x","source":"s","label":"positive","text":"x","spans":[[0,1]],"ner":true}"#,
    );

    fn span(start: usize, end: usize, rule: &str) -> Span {
        Span { start, end, rule: rule.into() }
    }

    #[test]
    fn rows_and_spans_are_counted() {
        let rows = rows(ROWS).unwrap();
        let mut found = Predictions::new();
        found.insert("a".into(), vec![span(1, 4, "r"), span(6, 7, "r"), span(8, 10, "r")]);
        found.insert("b".into(), vec![span(0, 1, "q")]);
        let score = score(&rows, &found, true);
        let pii = score.groups["pii"];
        assert_eq!((pii.positive, pii.negative, pii.tp, pii.fp_rows, pii.extra_spans), (1, 1, 1, 1, 1));
        assert_eq!((pii.precision(), pii.recall(), pii.f1()), (Some(0.5), Some(1.0), Some(0.6667)));
        assert_eq!((pii.span_exact(), pii.covered()), (Some(0.0), Some(0.6667)));
        assert_eq!(score.groups["ner"].recall(), Some(0.0));
        assert_eq!(score.rules["r"], RuleCounts { right: 1, wrong: 0, extra: 1 });
        assert_eq!(super::score(&rows, &found, false).groups["pii"].negative, 0);
        let line = prediction_line("a", &found["a"]);
        assert_eq!(predictions(&line).unwrap()["a"], found["a"]);
        let (gained, lost) = diff(&rows, &Predictions::new(), &found);
        assert_eq!((gained.len(), lost.len()), (4, 0));
        assert_eq!(gained[0].is_right, Some(true));
    }

    #[test]
    fn a_line_that_is_no_row_is_told() {
        for (text, part) in
            [("{}", "1: `label`"), ("\n[", "2: not valid JSON"), (r#"{"label":"negative"}"#, "needs `id`")]
        {
            assert!(rows(text).unwrap_err().contains(part), "{text}");
        }
        assert!(predictions(r#"{"id":"a","spans":[[1]]}"#).unwrap_err().contains("[start, end]"));
    }
}
