//! Each kind of fault, at its exact line.

use super::*;

fn faults(text: &str) -> Vec<(usize, String)> {
    let error = Pack::parse("p.toml", text).unwrap_err();
    error.faults().iter().map(|f| (f.line, f.reason.clone())).collect()
}

const HEAD: &str = "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"a\"\nentity = \"a\"\n";

#[test]
fn a_good_pack() {
    let text = format!(
        "{HEAD}regex = 'ab(?P<secret>c{{3}})'\nkeywords = [\"ab\"]\nvalidators = [{{ kind = \"entropy\", min = 0 }}]\n\
         strategy = \"keep:1,2\"\nconfidence = \"high\"\nexamples = [{{ text = \"abccc\", matches = [\"ccc\"] }}]\n"
    );
    let pack = Pack::parse("p.toml", &text).unwrap();
    assert_eq!(pack.rules[0].rule.strategy, Strategy::Keep { first: 1, last: 2 });
    assert_eq!(pack.rules[0].examples[0].line, 12);
    assert_eq!(pack.rules[0].line, 4);
}

#[test]
fn each_fault_has_its_line() {
    for (body, line, part) in [
        ("regx = 'abc'\n", 7, "did you mean `regex`"),
        ("", 4, "either `regex`, or `begin` and `end`"),
        ("regex = 'abc'\nbegin = 'x'\n", 4, "either"),
        ("regex = '('\n", 7, "not a valid expression"),
        ("regex = 'a+'\n", 7, "any length"),
        ("regex = 'abc'\nmax_len = 2\n", 8, "nothing can match"),
        ("regex = 'abc'\nkeywords = [\n\"ok\",\n\"x\",\n]\n", 10, "2 to 64 bytes"),
        ("regex = 'abc'\nkeywords = [1]\n", 8, "expected a string, found integer"),
        ("regex = 'abc'\nvalidators = [{ kind = \"lun\" }]\n", 8, "unknown validator `lun`"),
        ("regex = 'abc'\nvalidators = [{ kind = \"luhn\", min = 1 }]\n", 8, "unknown key `min`"),
        ("regex = 'abc'\nvalidators = [{ kind = \"entropy\" }]\n", 8, "needs `min`"),
        ("regex = 'abc'\nvalidators = [{ kind = \"entropy\", min = 9 }]\n", 8, "0 to 8"),
        ("regex = 'abc'\nsuppress = { regex = ['('] }\n", 8, "not a valid expression"),
        ("regex = 'abc'\nconfidence = \"sure\"\n", 8, "one of `high`, `medium`, `low`"),
        ("regex = 'abc'\naction = 3\n", 8, "expected a string"),
        ("regex = 'abc'\nstrategy = \"keep:x\"\n", 8, "keep:FIRST,LAST"),
        ("regex = 'abc'\nnear = -1\n", 8, "expected 0 to"),
        ("regex = 'abc'\nnear = 9\n", 8, "needs `keywords`"),
        ("regex = 'abc'\nexamples = [\n{ text = \"x\" },\n]\n", 9, "needs `text` and `matches`"),
        ("regex = 'abc'\n[[rule]]\nid = \"a\"\nentity = \"b\"\nregex = 'x'\n", 9, "taken by another"),
        ("regex = 'abc'\n[[rule]]\nregex = 'x'\n", 8, "needs `id`"),
        ("begin = 'abc'\nend = 'x+'\n", 8, "no finite length"),
        ("regex = 'abc\n", 7, "not valid TOML"),
        ("regex = 'abc'\n[other]\n", 8, "unknown key `other`"),
    ] {
        let found = faults(&format!("{HEAD}{body}"));
        assert!(found.iter().any(|(l, r)| *l == line && r.contains(part)), "{body:?}: {found:?}");
    }
}

#[test]
fn all_faults_at_once() {
    let text = "[pack]\nname = 1\n[[rule]]\nid = \"A B\"\nentity = \"a\"\nregex = '('\nfoo = 1\n[[rule]]\nid = \"b\"\n";
    let found = faults(text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    for line in [1, 2, 4, 6, 7, 8] {
        assert!(lines.contains(&line), "no fault at line {line}: {found:?}");
    }
}

#[test]
fn limits() {
    let long = |n: usize| format!("{HEAD}regex = '[{}]'\nmax_len = 64\n", "a".repeat(n - 2));
    assert!(Pack::parse("p", &long(LIMITS.regex_bytes_max)).is_ok());
    assert!(Pack::parse("p", &long(LIMITS.regex_bytes_max + 1)).is_err());
    let padded = |n: usize| {
        let pack = format!("{HEAD}regex = 'abc'\n");
        format!("{pack}#{}", " ".repeat(n - pack.len() - 1))
    };
    assert!(Pack::parse("p", &padded(LIMITS.file_bytes_max)).is_ok());
    assert!(Pack::parse("p", &padded(LIMITS.file_bytes_max + 1)).is_err());
}
