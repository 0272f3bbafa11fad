//! The schema that editors get says of the built-in packs what the reader says, and knows every key that it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use sluice_patterns::{Pack, SCHEMA};

/// The keywords of JSON Schema (draft 7) that the schema uses; any other is a fault of this test.
fn faults(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut fault = |what: &str| all.push(format!("{path}: {what}"));
    for (key, want) in schema.as_object().expect("a schema is an object") {
        match key.as_str() {
            "$schema" | "title" | "description" | "properties" | "additionalProperties" | "items" => {}
            "type" => {
                let is = match want.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                if !is {
                    fault("another type");
                }
            }
            "enum" if !want.as_array().unwrap().contains(value) => fault("none of the words"),
            "enum" => {}
            "minimum" if value.as_f64() < want.as_f64() => fault("too small"),
            "maximum" if value.as_f64() > want.as_f64() => fault("too large"),
            "minimum" | "maximum" => {}
            "pattern" => {
                let regex = regex_automata::meta::Regex::new(want.as_str().unwrap()).unwrap();
                if !value.as_str().is_some_and(|text| regex.is_match(text)) {
                    fault("not of the pattern");
                }
            }
            "required" => {
                for key in want.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        fault(&format!("needs {key}"));
                    }
                }
            }
            other => panic!("the test does not know `{other}`"),
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(schema) => all.extend(faults(schema, inner, &format!("{path}.{key}"))),
            None => all.push(format!("{path}: unknown key {key}")),
        }
    }
    for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(schema) = schema.get("items") {
            all.extend(faults(schema, inner, &format!("{path}[{n}]")));
        }
    }
    all
}

fn check(toml: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let table: toml::Table = toml::from_str(toml).expect("TOML");
    faults(&schema, &serde_json::to_value(table).unwrap(), "pack")
}

#[test]
fn the_packs_that_come_with_sluice_hold_to_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packs");
    let mut folders = vec![folder];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml") {
                let found = check(&std::fs::read_to_string(&path).unwrap());
                assert!(found.is_empty(), "{}: {found:#?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 2);
}

const HEAD: &str = "[pack]\nname = \"p\"\nversion = \"1\"\n";

/// What the reader refuses for a key, a type or a word, the schema refuses as well.
#[test]
fn what_the_reader_refuses_it_refuses() {
    for body in [
        "[[rule]]\nid = \"a\"\nentity = \"a\"\nregx = 'abc'\n",
        "[[rule]]\nid = \"A B\"\nentity = \"a\"\nregex = 'abc'\n",
        "[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\naction = \"hide\"\n",
        "[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\nstrategy = \"keep:x\"\n",
        "[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\nnear = -1\n",
        "[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\nvalidators = [{ min = 1 }]\n",
        "[[rule]]\nentity = \"a\"\nregex = 'abc'\n",
        "[[field]]\nid = \"a\"\npath = \"a\"\nentity = \"a\"\naction = \"pass\"\n",
        "[[set]]\nregex = \"a\"\n",
        "[[allow]]\nsha256 = [\"00\"]\nsalt = \"0011223344556677\"\n",
        "[other]\n",
    ] {
        let text = format!("{HEAD}{body}");
        assert!(!check(&text).is_empty() && Pack::parse("p", &text).is_err(), "{body}");
    }
    assert!(!check("[pack]\nname = \"p\"\n").is_empty());
}

/// A key that the reader knows and the schema does not would be underlined in every editor.
#[test]
fn every_key_of_the_reader_is_in_it() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for (text, place) in [
        (format!("{HEAD}[[rule]]\nzzzzzzzzz = 1\n"), "/properties/rule/items/properties"),
        (format!("{HEAD}[[field]]\nzzzzzzzzz = 1\n"), "/properties/field/items/properties"),
        (format!("{HEAD}[[set]]\nzzzzzzzzz = 1\n"), "/properties/set/items/properties"),
        (format!("{HEAD}[[allow]]\nzzzzzzzzz = 1\n"), "/properties/allow/items/properties"),
        (format!("{HEAD}[zzzzzzzzz]\n"), "/properties"),
        ("[pack]\nzzzzzzzzz = 1\n".to_owned(), "/properties/pack/properties"),
    ] {
        let told = Pack::parse("p", &text).unwrap_err().to_string();
        let line = told.lines().find(|line| line.contains("known here: ")).expect("the keys are told");
        let (_, keys) = line.split_once("known here: ").unwrap();
        let mut keys: Vec<&str> = keys.split(", ").collect();
        let known = schema.pointer(place).and_then(Value::as_object).unwrap();
        let mut known: Vec<&str> = known.keys().map(String::as_str).collect();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known, "{place}");
    }
}
