//! The index finds what the record has, however it came to know it.

use std::path::PathBuf;
use std::sync::Arc;

use sluice_audit::{
    Caller, Context, Decision, End, Head, LogOptions, NewRecord, Payload, Recorder, RecorderOptions,
    RequestIds, SigningKey, Span,
};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sluice-index-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn record(&self) -> PathBuf {
        self.0.join("record")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes exchanges `from..to`, three records each, whose features differ by their number.
fn write(folder: &Folder, from: u64, to: u64) {
    let key = SigningKey::load_or_create(&folder.0.join("key.pem")).unwrap();
    let mut log = LogOptions::new(folder.record(), key);
    log.segment_bytes_max = 10_000;
    let (recorder, writer) = Recorder::start(RecorderOptions::new(log)).unwrap();
    for n in from..to {
        let id = RequestIds::new(0, n).next(n);
        let subject = Caller { id: format!("user{}", n % 3), ..Caller::default() };
        let chain = (n % 4 == 0).then(|| "chain".to_owned());
        let upstream = if n % 2 == 0 { "even" } else { "odd" }.to_owned();
        let context = Arc::new(Context {
            session: id,
            request: id,
            subject: Some(subject),
            chain,
            upstream,
            ..Context::default()
        });
        let verdict = if n % 5 == 0 { VerdictName::Block } else { VerdictName::Allow };
        let decision =
            Decision { verdict: Some(verdict), policies: vec![format!("p{}", n % 2)], ..Decision::default() };
        let entity = if n % 6 == 0 { "us_ssn" } else { "email" }.to_owned();
        let head = Head { method: "GET".into(), target: "/x".into(), ..Head::default() };
        let end = End { outcome: "complete".into(), status: Some(200), ..End::default() };
        let kinds = [
            (Kind::Request, Payload::Head(head)),
            (Kind::Frame, Payload::None),
            (Kind::End, Payload::End(end)),
        ];
        for (kind, payload) in kinds {
            let spans = if kind == Kind::Frame {
                vec![Span { entity: entity.clone(), ..Span::default() }]
            } else {
                vec![]
            };
            let decision = Some(Arc::new(decision.clone()));
            let context = Arc::clone(&context);
            let record =
                NewRecord { wall_ns: n, kind, context, decision, payload, spans, ..NewRecord::default() };
            recorder.record(record, None).unwrap();
        }
    }
    writer.close().unwrap();
}

async fn found(index: &mut Index, filter: Filter) -> Vec<u64> {
    let all = index.list(&Filter { limit: 100, ..filter }).await.unwrap();
    all.iter().map(|session| session.started_ns).collect()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn filters_find_what_they_say_newest_first() {
    let folder = Folder::new("filters");
    write(&folder, 0, 31);
    let archive = Archive::new(&folder.record(), None);
    let mut index = Index::open(&folder.0.join("index.sqlite"), archive.clone()).await.unwrap();
    let expected = |holds: fn(u64) -> bool| (0..31).rev().filter(|n| holds(*n)).collect::<Vec<u64>>();
    for (filter, holds) in [
        (Filter::default(), (|_| true) as fn(u64) -> bool),
        (Filter { subject: text("user1"), ..Filter::default() }, |n| n % 3 == 1),
        (Filter { upstream: text("odd"), ..Filter::default() }, |n| n % 2 == 1),
        (Filter { verdict: Some(VerdictName::Block), ..Filter::default() }, |n| n % 5 == 0),
        (Filter { policy: text("p0"), ..Filter::default() }, |n| n % 2 == 0),
        (Filter { entity: text("us_ssn"), ..Filter::default() }, |n| n % 6 == 0),
        (Filter { chain: text("chain"), ..Filter::default() }, |n| n % 4 == 0),
        (Filter { since_ns: Some(5), until_ns: Some(9), ..Filter::default() }, |n| (5..9).contains(&n)),
        (
            Filter {
                entity: text("us_ssn"),
                policy: text("p0"),
                subject: text("user0"),
                ..Filter::default()
            },
            |n| n % 6 == 0,
        ),
        (Filter { entity: text("us_ssn"), since_ns: Some(7), ..Filter::default() }, |n| n % 6 == 0 && n >= 7),
        (Filter { subject: text("' OR 1 --"), ..Filter::default() }, |_| false),
    ] {
        assert_eq!(found(&mut index, filter.clone()).await, expected(holds), "{filter:?}");
    }
    let one = index.list(&Filter { limit: 1, ..Filter::default() }).await.unwrap().remove(0);
    assert_eq!((one.records, one.spans, one.status, one.method.as_deref()), (3, 1, Some(200), Some("GET")));
    let entries = index.entries(&one.session).await.unwrap();
    let kinds: Vec<Kind> = entries.iter().map(|entry| entry.record.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Frame, Kind::End]);
    assert!(index.entries("nobody").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_index_that_grew_is_the_one_that_is_made_anew() {
    let folder = Folder::new("grew");
    let archive = Archive::new(&folder.record(), None);
    write(&folder, 0, 10);
    let mut grown = Index::open(&folder.0.join("grown.sqlite"), archive.clone()).await.unwrap();
    write(&folder, 10, 25);
    assert_eq!(grown.catch_up().await.unwrap(), 45);
    assert_eq!(grown.catch_up().await.unwrap(), 0);
    let mut anew = Index::open(&folder.0.join("anew.sqlite"), archive).await.unwrap();
    let all = Filter { limit: 100, ..Filter::default() };
    assert_eq!(grown.list(&all).await.unwrap(), anew.list(&all).await.unwrap());
}

#[tokio::test]
async fn an_index_of_another_record_is_thrown_away() {
    let folder = Folder::new("another");
    let file = folder.0.join("index.sqlite");
    write(&folder, 0, 10);
    drop(Index::open(&file, Archive::new(&folder.record(), None)).await.unwrap());
    std::fs::remove_dir_all(folder.record()).unwrap();
    write(&folder, 50, 52);
    let mut index = Index::open(&file, Archive::new(&folder.record(), None)).await.unwrap();
    assert_eq!(found(&mut index, Filter::default()).await, [51, 50]);
}

#[tokio::test]
async fn a_damaged_record_is_told_and_not_listed() {
    let folder = Folder::new("damaged");
    write(&folder, 0, 3);
    let segment = folder.record().join(format!("segment-{:020}.slr", 1));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[400] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let error =
        Index::open(&folder.0.join("index.sqlite"), Archive::new(&folder.record(), None)).await.unwrap_err();
    assert!(error.to_string().contains("segment-"), "{error}");
}
