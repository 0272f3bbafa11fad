//! Lists of fields, put together: what every list allows, without what any drops.

use crate::FieldList;

/// Lists whose allowed paths have nothing in common: nothing could leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nothing;

/// Both lists at once.
///
/// # Errors
/// Where nothing is allowed by both.
pub(crate) fn both(a: FieldList, b: &FieldList) -> Result<FieldList, Nothing> {
    let mut drop = a.drop;
    drop.extend(b.drop.iter().cloned());
    drop.sort_unstable();
    drop.dedup();
    let allow = match (a.allow.is_empty(), b.allow.is_empty()) {
        (true, _) => b.allow.clone(),
        (_, true) => a.allow,
        (false, false) => {
            let pairs = a.allow.iter().flat_map(|a| b.allow.iter().filter_map(move |b| narrower(a, b)));
            let mut allow: Vec<String> = pairs.map(str::to_owned).collect();
            allow.sort_unstable();
            allow.dedup();
            if allow.is_empty() {
                return Err(Nothing);
            }
            allow
        }
    };
    Ok(FieldList { allow, drop })
}

/// The path that names what both name, as far as their spelling tells; in doubt, nothing.
fn narrower<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    let is_below = |long: &str, short: &str| {
        let rest = long.strip_prefix(short);
        short.starts_with('$') && rest.is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    if a == b || is_below(a, b) {
        Some(a)
    } else if is_below(b, a) {
        Some(b)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(allow: &[&str], drop: &[&str]) -> FieldList {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        FieldList { allow: owned(allow), drop: owned(drop) }
    }

    #[test]
    fn what_two_lists_allow() {
        for (a, b, wanted) in [
            (list(&["$.id", "$.name"], &[]), list(&["$.id"], &["$.x"]), Ok(list(&["$.id"], &["$.x"]))),
            (list(&["$.user"], &[]), list(&["$.user.id", "$.other"], &[]), Ok(list(&["$.user.id"], &[]))),
            (list(&["$.user"], &[]), list(&["$.users"], &[]), Err(Nothing)),
            (list(&["id"], &[]), list(&["id.x"], &[]), Err(Nothing)),
            (list(&[], &["b"]), list(&[], &["a"]), Ok(list(&[], &["a", "b"]))),
            (list(&[], &["b"]), list(&["$.a"], &[]), Ok(list(&["$.a"], &["b"]))),
        ] {
            assert_eq!(both(a.clone(), &b), wanted, "{a:?} {b:?}");
        }
    }
}
