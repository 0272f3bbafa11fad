//! A built pack says what its TOML says: the same names, rules, examples, output and events, whatever the options.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use sluice_engine::{
    CompileOptions, Event, InstructionSet, Ruleset, Scratch, Sink, Strategy, Stream, StreamOptions, TokenKey,
};
use sluice_patterns::{LIMITS, Pack, PackSet, builtin, examples, explain, load};

const OFF: &str = r#"
[pack]
name = "acme"
version = "1"
[[rule]]
id = "acme-key"
entity = "acme_key"
regex = 'acme_(?P<secret>[0-9a-f]{8})'
strategy = "token"
examples = [{ text = "acme_0123abcd", matches = ["0123abcd"] }]
[[rule]]
id = "acme-off"
entity = "acme_off"
regex = 'off_[0-9]{4}'
action = "off"
examples = [{ text = "off_1234", matches = ["off_1234"] }]
"#;

fn built(pack: &Pack) -> Pack {
    Pack::from_built("x.built", &pack.build().unwrap()).unwrap()
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    output: Vec<u8>,
    events: Vec<Event>,
}

impl Sink for Seen {
    fn pass(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
    fn emit(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

fn mask<'a>(ruleset: &Arc<Ruleset>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut scratch, mut seen) = (Scratch::new(), Seen::default());
    let mut stream = Stream::new(ruleset, StreamOptions::default());
    chunks.into_iter().for_each(|chunk| stream.push(&mut scratch, chunk, &mut seen));
    stream.finish(&mut scratch, &mut seen);
    seen
}

/// Of so many examples one is masked: there are thousands, and many rulesets to compare.
const EXAMPLES_STEP: usize = 29;

/// Masks examples of both packs with two rulesets, at several cuts.
fn compare(one: &Arc<Ruleset>, other: &Arc<Ruleset>, packs: &[Pack]) {
    let examples = packs.iter().flat_map(|p| &p.rules).flat_map(|rule| &rule.examples);
    for example in examples.step_by(EXAMPLES_STEP) {
        let text = example.text.as_bytes();
        let whole = mask(one, [text]);
        assert_eq!(mask(other, [text]), whole, "{:?}", example.text);
        for chunk in [1, 5, 64] {
            assert_eq!(mask(other, text.chunks(chunk)), whole, "chunks of {chunk}: {:?}", example.text);
        }
        let (a, b) = text.split_at(text.len() / 2);
        assert_eq!(mask(other, [a, b]), whole, "in two: {:?}", example.text);
    }
}

#[test]
fn a_built_pack_is_the_pack() {
    for builtin in builtin::ALL {
        let pack = builtin.load().unwrap();
        let built = built(&pack);
        assert_eq!(
            (&built.name, &built.version, &built.description),
            (&pack.name, &pack.version, &pack.description)
        );
        for (a, b) in pack.rules.iter().zip(&built.rules) {
            assert_eq!(format!("{:?}", a.rule), format!("{:?}", b.rule));
            assert_eq!(format!("{:?}", a.examples), format!("{:?}", b.examples));
            assert_eq!(a.line, b.line);
        }
        assert_eq!(pack.rules.len(), built.rules.len());
        assert!(built.build().unwrap() == pack.build().unwrap(), "built again it is the same file");
        let report = examples::run(&built);
        assert!(
            report.failures.is_empty() && report.examples >= 6 * built.rules.len(),
            "{:#?}",
            report.failures
        );
    }
}

#[test]
fn every_option_means_the_same() {
    let default = builtin::DEFAULT.iter().map(|name| builtin::find(name).unwrap().load().unwrap());
    let packs: Vec<Pack> = default.collect();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let names: Vec<String> = packs
        .iter()
        .map(|pack| {
            let path = folder.join(format!("{}.built", pack.name));
            std::fs::write(&path, pack.build().unwrap()).unwrap();
            path.display().to_string()
        })
        .collect();
    let written = PackSet::load::<&str>(&[]).unwrap();
    let built = PackSet::load(&names).unwrap();
    let mixed = PackSet::load(&["builtin:secrets", &names[1]]).unwrap();
    let path = folder.join("together.built");
    std::fs::write(&path, mixed.build().unwrap()).unwrap();
    let together = PackSet::load(&[path.display().to_string()]).unwrap();
    assert_eq!(together.packs()[0].name, "secrets + pii");
    let token_key = TokenKey::new(vec![7; 32]);
    let mut options: Vec<CompileOptions> = InstructionSet::available()
        .iter()
        .map(|set| CompileOptions { instruction_set: Some(*set), ..CompileOptions::default() })
        .collect();
    options.push(CompileOptions { strategy: Some(Strategy::Token), token_key, ..CompileOptions::default() });
    options.push(CompileOptions { strategy: Some(Strategy::Fill), ..CompileOptions::default() });
    for options in options {
        let one = written.compile(&options).unwrap();
        compare(&one, &built.compile(&options).unwrap(), &packs);
        compare(&one, &mixed.compile(&options).unwrap(), &packs);
        compare(&one, &together.compile(&options).unwrap(), &packs);
    }
    let error =
        built.compile(&CompileOptions { strategy: Some(Strategy::Token), ..CompileOptions::default() });
    let error = error.unwrap_err();
    assert!(error.faults().iter().all(|f| f.line == 0 && f.reason.contains("token key")), "{error}");
}

/// A rule that is off stays off, and its examples are run all the same.
#[test]
fn a_rule_that_is_off_is_kept() {
    let pack = Pack::parse("acme.toml", OFF).unwrap();
    let built = built(&pack);
    let options = CompileOptions { token_key: TokenKey::new(vec![7; 32]), ..CompileOptions::default() };
    assert_eq!(built.compile(&options).unwrap().rules().len(), 1);
    let report = examples::run(&built);
    assert_eq!((report.examples, report.failures.len()), (2, 0), "{report:?}");
    for text in ["key acme_0123abcd", "key acme_0123abc", "off_1234"] {
        for rule in ["acme-key", "acme-off"] {
            assert_eq!(
                explain::explain(&pack, rule, text),
                explain::explain(&built, rule, text),
                "{rule}: {text}"
            );
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("damaged.built");
    let bytes = Pack::parse("acme.toml", OFF).unwrap().build().unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut other = bytes.clone();
    other[12] ^= 1;
    for (bytes, reason) in [
        (&damaged[..], "the built pack is damaged"),
        (&bytes[..bytes.len() - 1], "cut short"),
        (&other, "build it again with `sluice pack build`"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let name = path.display().to_string();
        let error = load(&name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(reason), "{error}");
        assert!(PackSet::load(&[name, "builtin:pii".into()]).is_err());
    }
    let mut large = bytes.clone();
    large.resize(LIMITS.built_bytes_max, 0);
    let told = |bytes: &[u8]| Pack::from_built("x", bytes).unwrap_err().to_string();
    assert!(told(&large).contains("too long"), "at the limit it is looked at");
    large.push(0);
    assert_eq!(told(&large), format!("x: a built pack has at most {} bytes", LIMITS.built_bytes_max));
    std::fs::write(&path, &bytes).unwrap();
    let name = path.display().to_string();
    let twice = PackSet::load(&[&name, &name]).unwrap_err().to_string();
    assert!(twice.contains(&format!("{name}: the id `acme-key` is taken in {name}")), "{twice}");
}
