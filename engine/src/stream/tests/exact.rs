//! Exact values beside rules of every kind, compared with the oracle at every cut.

use super::*;
use crate::exact::{ExactOptions, ExactSet};
use crate::ruleset::Source;

const NAMES: &[&str] = &[
    "Jane",
    "Jane Doe",
    "Doe, Smith",
    "C-204881",
    "王小明",
    "Zoë Ångström",
    "key-abc tail",
    "x-1",
    "secret",
];

fn set(rule: &str, values: &[&str], ignore_case: bool) -> Arc<ExactSet> {
    let options = ExactOptions { ignore_case, salt: [7; 16], key: None };
    Arc::new(ExactSet::build(rule, values, &options).unwrap())
}

/// All kinds of rules, and values of three more: masked, of any case, and labelled.
fn with_exact() -> Arc<Ruleset> {
    let mut rules = all_kinds_rules();
    rules.push(Rule { priority: Some(25), ..rule("names", "sluice-exact:names") });
    rules.push(Rule {
        strategy: Strategy::Fill,
        priority: Some(60),
        ..rule("folded", "sluice-exact:folded")
    });
    rules.push(Rule { action: Action::Label, ..rule("told", "sluice-exact:told") });
    let options = CompileOptions { token_key: TokenKey::new(vec![1; 16]), ..CompileOptions::default() };
    let sets = [
        set("names", NAMES, false),
        set("folded", &["Doe Smith-Jones", "janice"], true),
        set("told", &["Doe", "hunter2"], false),
    ];
    let mut sources = vec![Source::Rules(&rules)];
    sources.extend(sets.iter().map(Source::Exact));
    Ruleset::link(&sources, &options).unwrap()
}

#[test]
fn a_table_of_values() {
    let rules = with_exact();
    for (input, output) in [
        ("Jan Jane! Janet", "Jan [names]! Janet"),
        ("_Jane_Doe Jane Doe.", "_[names]_Doe [names]."),
        ("is Jane Doe, Smith here", "is [names][names] here"),
        ("JANICE doe smith-jones", "****** ***************"),
        ("C-204881 C-2048812 C-20488", "[names] C-2048812 C-20488"),
        ("是王小明吗", "是[names]吗"),
        ("\u{201c}Zoë Ångström\u{201d}", "\u{201c}[names]\u{201d}"),
        ("password = Jane", "password = [pw]"),
        ("Jane <<< Jane >>> Jane", "[names] [box] [names]"),
        ("sluice-exact:names", "[names]"),
    ] {
        assert_eq!(masked(&rules, input), output, "{input:?}");
    }
}

#[test]
fn the_same_at_every_cut_as_the_oracle() {
    let rules = with_exact();
    let parts = [
        "Jane",
        "Doe",
        "Smith",
        "jaNice ",
        " ",
        ", ",
        "-",
        "_",
        "C-204881",
        "C-",
        "204881",
        "王",
        "小明",
        "Zoë",
        " Ång",
        "str\u{f6}m",
        "key-",
        "abc",
        " tail",
        "id ",
        "x-1",
        "secret",
        "password = ",
        "hunter2",
        "ghp_Abcd1234",
        "<<<",
        ">>>",
        "\n",
        "\"",
        "\u{201c}",
        "aws ",
        "ABCDEF12345",
        "zzz",
        "drop:a",
    ];
    let mut random = Random(0x5EED_0001);
    for _ in 0..400 {
        let count = 1 + random.below(9);
        let document: String = (0..count).map(|_| random.pick(&parts)).collect();
        let context = random.pick(&["", "\"Jane\":\"", "id", "\"n\":\""]);
        check(&rules, context.as_bytes(), document.as_bytes());
    }
    let bytes = [b'J', b'a', b'n', b'e', b' ', 0xC3, 0xAB, 0xE2, 0x80, 0x9C, 0xFF, b'<', b'>', b'-'];
    for _ in 0..200 {
        let document: Vec<u8> = (0..1 + random.below(16)).map(|_| bytes[random.below(bytes.len())]).collect();
        check(&rules, b"", &document);
    }
}

/// Across pieces and long words, and with little memory.
#[test]
fn long_texts_keep_little() {
    let rules = with_exact();
    let long = format!(
        "Jane Doe {} Jane{} Jane Doe, {}",
        "x".repeat(40_000),
        "y".repeat(300),
        "Jane Doe ".repeat(4000)
    );
    let wanted = expect(&oracle::mask_whole(&rules, b"", long.as_bytes()), long.len());
    for size in [1, 7, 1000, 20_000] {
        let (mut scratch, mut sink) = (Scratch::new(), Collector(&rules, Collected::default()));
        let mut stream = Stream::new(&rules, StreamOptions::default());
        for chunk in long.as_bytes().chunks(size) {
            stream.push(&mut scratch, chunk, &mut sink);
            assert!(stream.held() <= 600 && stream.memory_bytes() < 1 << 20, "{}", stream.memory_bytes());
        }
        stream.finish(&mut scratch, &mut sink);
        assert!(sink.1 == wanted, "chunks of {size}");
    }
}

#[test]
fn a_key_that_is_missing_or_wrong_is_told() {
    let key = TokenKey::new(vec![9; 16]);
    let options = ExactOptions { ignore_case: false, salt: [1; 16], key: key.as_ref() };
    let set = Arc::new(ExactSet::build("names", ["Jane"], &options).unwrap());
    let rules = [rule("names", "sluice-exact:names")];
    let link = |token_key| {
        let options = CompileOptions { token_key, ..CompileOptions::default() };
        Ruleset::link(&[Source::Rules(&rules), Source::Exact(&set)], &options).map_err(|e| e.to_string())
    };
    assert_eq!(masked(&link(key).unwrap(), "Jane"), "[names]");
    assert!(link(None).unwrap_err().contains("need the token key"));
    assert!(link(TokenKey::new(vec![8; 16])).unwrap_err().contains("another token key"));
}
