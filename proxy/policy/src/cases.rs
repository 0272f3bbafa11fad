//! Cases: requests and what is decided of them, kept beside policies and run by `sluice policy test`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use sluice_patterns::Fault;
use sluice_patterns::read::Reader;
use toml::de::ValueDeserializer;

use crate::request::Request;
use crate::{Decision, Memory, MemoryLimits, PolicySet, Verdict};

/// Cases of a file.
pub const CASES_MAX: usize = 10_000;
/// Milliseconds between two requests of a case.
const STEP_MS: u64 = 1_000;

/// A case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Line of its `[[case]]`.
    pub line: usize,
    requests: Vec<Request>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    /// Requests that came before, each a second after the other.
    #[serde(default)]
    before: Vec<Request>,
    request: Request,
    expect: Expect,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    action: String,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    shadow: Option<Vec<String>>,
    #[serde(default)]
    reveal: Option<Vec<String>>,
    #[serde(default)]
    operations: Option<Vec<String>>,
    #[serde(default)]
    risk: Option<u32>,
}

/// How cases went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many there are.
    pub cases: usize,
    /// Those that failed: name, line, and why.
    pub failures: Vec<(String, usize, String)>,
    /// Policies, chains and quotas that no case was decided by.
    pub uncovered: Vec<Arc<str>>,
    /// Policies, chains and quotas.
    pub policies: usize,
}

/// Reads a file of cases.
///
/// # Errors
/// Each fault, one a case at most.
pub fn read(name: &str, text: &str) -> Result<Vec<Case>, Vec<Fault>> {
    let mut reader = Reader::new(name, text);
    let mut cases = Vec::new();
    if let Some(document) = reader.document(text) {
        reader.known_keys(&document, &["case"]);
        let written = document.get("case").and_then(|value| reader.array(value)).unwrap_or_default();
        if let Some(extra) = written.get(CASES_MAX) {
            reader.fault(&extra.span(), format!("a file has at most {CASES_MAX} cases"));
        }
        for value in written.iter().take(CASES_MAX) {
            let line = reader.line(&value.span());
            match Written::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(Written { name, before, request, expect }) => {
                    let actions = ["allow", "approve", "block"];
                    if !actions.contains(&expect.action.as_str()) {
                        reader.fault(&value.span(), "`action` of `expect` is allow, approve or block");
                    }
                    let requests = before.into_iter().chain([request]).collect();
                    cases.push(Case { name, line, requests, expect });
                }
                Err(error) => {
                    let span = error.span().unwrap_or_else(|| value.span());
                    reader.fault(&span, format!("not a case: {}", error.message()));
                }
            }
        }
    }
    if reader.faults.is_empty() { Ok(cases) } else { Err(reader.faults) }
}

/// Runs cases.
#[must_use]
pub fn run(policies: &PolicySet, cases: &[Case]) -> Report {
    let mut covered: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut report = Report { cases: cases.len(), ..Report::default() };
    for case in cases {
        match case.decide(policies, &mut covered) {
            Ok(verdict) => {
                let fault = case.expect.differs(&verdict);
                report.failures.extend(fault.map(|why| (case.name.clone(), case.line, why)));
            }
            Err(why) => report.failures.push((case.name.clone(), case.line, why)),
        }
    }
    let all: Vec<&Arc<str>> = policies.ids().chain(policies.stateful_ids()).collect();
    report.policies = all.len();
    report.uncovered = all.into_iter().filter(|id| !covered.contains(*id)).cloned().collect();
    report
}

impl Case {
    /// The verdict of the last request, after the others. A case begins with nothing that went before.
    fn decide(&self, policies: &PolicySet, covered: &mut BTreeSet<Arc<str>>) -> Result<Arc<Verdict>, String> {
        let mut memory = Memory::new(MemoryLimits::default());
        let mut last = None;
        for (number, request) in self.requests.iter().enumerate() {
            let facts = request.facts()?;
            let now_ms = (number as u64).saturating_mul(STEP_MS);
            if let Decision::Decided(verdict) = policies.decide_with(&facts, &mut memory, now_ms) {
                covered.extend(verdict.policies.iter().cloned());
                covered.extend(verdict.shadow.iter().map(|(id, _)| Arc::clone(id)));
                last = Some(verdict);
            }
        }
        last.ok_or_else(|| "nothing was decided".to_owned())
    }
}

impl Expect {
    /// What of a verdict is not as expected.
    fn differs(&self, verdict: &Verdict) -> Option<String> {
        let ids = |ids: &mut dyn Iterator<Item = &Arc<str>>| ids.map(|id| id.to_string()).collect::<Vec<_>>();
        let made = || {
            let by = ids(&mut verdict.policies.iter()).join(", ");
            if by.is_empty() { verdict.reason.clone() } else { format!("by {by}") }
        };
        if self.action != verdict.action.name() {
            return Some(format!("expected {}, found {} ({})", self.action, verdict.action.name(), made()));
        }
        if let Some(risk) = self.risk
            && risk != verdict.risk.score
        {
            return Some(format!("`risk`: expected {risk}, found {}", verdict.risk.score));
        }
        [
            ("policies", &self.policies, ids(&mut verdict.policies.iter())),
            ("shadow", &self.shadow, ids(&mut verdict.shadow.iter().map(|(id, _)| id))),
            ("reveal", &self.reveal, ids(&mut verdict.reveal.iter())),
            ("operations", &self.operations, ids(&mut verdict.operations.iter())),
        ]
        .into_iter()
        .find_map(|(key, wanted, found)| {
            let wanted = wanted.as_ref()?;
            let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
            (sorted(wanted) != sorted(&found))
                .then(|| format!("`{key}`: expected [{}], found [{}]", wanted.join(", "), found.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[[policy]]\nid = \"a\"\naction = \"allow\"\nsubject = \"ada\"\n[[quota]]\nid = \"q\"\n\
                          window_seconds = 60\nrequests = 1\n";

    fn report(cases: &str) -> Report {
        let set = PolicySet::read(&[("p.toml", POLICY)]).unwrap();
        run(&set, &read("c.toml", cases).unwrap())
    }

    #[test]
    fn what_came_before_counts() {
        let ada = "{ subject = { id = \"ada\" } }";
        let case = |before: &str, action: &str| {
            format!(
                "[[case]]\nname = \"n\"\nbefore = [{before}]\nrequest = {ada}\nexpect = {{ action = \"{action}\" }}\n"
            )
        };
        let report = report(&format!("{}{}", case("", "allow"), case(ada, "block")));
        assert_eq!((report.cases, report.failures.len(), report.policies), (2, 0, 2), "{report:?}");
        assert!(report.uncovered.is_empty());
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        for (expect, wanted) in [
            ("action = \"block\"", "expected block, found allow (by a)"),
            ("action = \"allow\", policies = [\"b\"]", "`policies`: expected [b], found [a]"),
            ("action = \"allow\", reveal = [\"email\"]", "`reveal`: expected [email], found []"),
            (
                "action = \"allow\", operations = [\"http.put\"]",
                "`operations`: expected [http.put], found [http.get]",
            ),
            ("action = \"allow\", risk = 1", "`risk`: expected 1, found 0"),
        ] {
            let text = format!(
                "[[case]]\nname = \"n\"\nrequest = {{ subject = {{ id = \"ada\" }} }}\nexpect = {{ {expect} }}\n"
            );
            let failures = report(&text).failures;
            assert_eq!(failures, [("n".to_owned(), 1, wanted.to_owned())], "{expect}");
        }
    }

    #[test]
    fn slips_are_faults() {
        let text = "[[case]]\nname = \"n\"\nrequest = { methd = \"GET\" }\nexpect = { action = \"allow\" }\n\n[[case]]\n\
                    name = \"m\"\nrequest = {}\nexpect = { action = \"deny\" }\n[[kase]]\n";
        let faults: Vec<String> = read("c.toml", text).unwrap_err().iter().map(ToString::to_string).collect();
        for wanted in [
            "c.toml:3: not a case: unknown field `methd`",
            "c.toml:6: `action` of `expect`",
            "unknown key `kase`",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(wanted)), "{wanted} {faults:?}");
        }
    }

    /// The text that a page's shell example writes to a file.
    fn written<'a>(page: &'a str, file: &str) -> &'a str {
        let (_, rest) = page.split_once(&format!("cat > \"$TMPDIR/{file}\" <<'FILE'\n")).unwrap();
        rest.split_once("\nFILE\n").unwrap().0
    }

    #[test]
    fn the_examples_of_the_page_hold() {
        let page = include_str!("../../../docs/policy.md");
        let set = PolicySet::read(&[("policy.toml", written(page, "policy.toml"))]).unwrap();
        let report = run(&set, &read("cases.toml", written(page, "cases.toml")).unwrap());
        assert_eq!((report.cases, &report.failures, &report.uncovered), (7, &vec![], &vec![]));
        // The tables that it shows of risk, chains and quotas are ones.
        let shown: Vec<&str> =
            page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let tables: Vec<(&str, &str)> =
            shown.iter().filter(|text| text.starts_with('[')).map(|text| ("page", *text)).collect();
        assert_eq!(tables.len(), 3);
        PolicySet::read(&tables).unwrap();
    }

    #[test]
    fn places_of_sql_go_both_ways() {
        for place in ["body", "json:/a/b", "json:", "form:q", "query:q"] {
            assert_eq!(place.parse::<crate::SqlPlace>().unwrap().to_string(), place);
        }
        for place in ["", "json:a", "json", "form:", "head:x"] {
            assert!(place.parse::<crate::SqlPlace>().is_err(), "{place}");
        }
    }
}
