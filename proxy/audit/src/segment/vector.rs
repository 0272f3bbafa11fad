//! The test vector of docs/record-format.md: a whole segment, which each reader of the format must read alike.
//!
//! `SLUICE_BLESS=1` prints it anew; it changes with the format only.

use std::path::Path;

use super::*;
use crate::hash::{Hash, Kind, Merkle, to_hex};
use crate::key::SigningKey;
use crate::record::{Direction, FrameKind, Head, Kind as RecordKind, NewRecord, Payload, Span, write};

/// The key of RFC 8410, section 10.3.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

fn records_of_the_vector() -> [NewRecord; 2] {
    let head = Head { method: "POST".into(), target: "/v1/chat/completions".into(), ..Head::default() };
    let span = Span {
        path: "messages[0].content".into(),
        offset: 10,
        length: 20,
        entity: "aws_access_key".into(),
        rule: "aws-access-key".into(),
        digest: "000102030405060708090a0b0c0d0e0f".into(),
    };
    let request = NewRecord {
        wall_ns: 1_795_320_306_000_000_000,
        mono_ns: 1_000,
        kind: RecordKind::Request,
        payload: Payload::Head(head),
        ..NewRecord::default()
    };
    let frame = NewRecord {
        mono_ns: 2_000,
        kind: RecordKind::Frame,
        direction: Some(Direction::Request),
        frame: Some(FrameKind::Body),
        payload: Payload::Bytes(
            "{\"messages\":[{\"role\":\"user\",\"content\":\"My key is [aws_access_key]\"}]}".into(),
        ),
        spans: vec![span],
        ..request.clone()
    };
    [request, frame]
}

/// The segment, and the JSON of its records.
fn made() -> (Vec<u8>, Vec<String>) {
    let key = SigningKey::from_pem(PEM).unwrap();
    let header = Header {
        is_encrypted: false,
        log: *b"sluice test log!",
        number: 1,
        first_seq: 1,
        created_wall_ns: 1_795_320_306_000_000_000,
        previous_seal: Hash::ZERO,
        previous_record: Hash::ZERO,
        previous_block: Hash::ZERO,
        key: key.public(),
        endorsement: [0; 64],
        salt: [0; 32],
    };
    let mut bytes = header.to_bytes();
    let (_, header_hash) = Header::parse(&bytes).unwrap();
    let (mut raw, mut last, mut merkle, mut texts) = (Vec::new(), Hash::ZERO, Merkle::default(), Vec::new());
    for (n, record) in (1..).zip(&records_of_the_vector()) {
        let mut json = Vec::new();
        last = write(record, None, n, last, &mut json).unwrap();
        merkle.push(&last);
        raw.extend_from_slice(&(json.len() as u32).to_le_bytes());
        raw.extend_from_slice(&json);
        texts.push(String::from_utf8(json).unwrap());
    }
    let first_wall_ns = header.created_wall_ns;
    let new =
        NewBlock { raw: &raw, records: 2, first_seq: 1, first_wall_ns, nonce: 0, previous: header_hash };
    let block = Block::new(&new, None).unwrap();
    let stored_bytes = block.header.stored_bytes;
    let place =
        BlockPlace { offset: HEADER_BYTES as u64, first_seq: 1, first_wall_ns, records: 2, stored_bytes };
    let mut seal = Seal {
        records: 2,
        first_seq: 1,
        last_seq: 2,
        sealed_wall_ns: first_wall_ns + 1,
        last_record: last,
        last_block: block.header.hash,
        root: merkle.root(),
        places: vec![place],
        signature: [0; 64],
    };
    seal.sign(&key);
    bytes.extend_from_slice(&block.to_bytes());
    bytes.extend_from_slice(&seal.to_bytes());
    (bytes, texts)
}

/// The text between ```` ```KIND ```` and the closing fence.
fn fenced(text: &str, kind: &str) -> String {
    let begin = text.find(&format!("```{kind}\n")).expect("the document has the block") + kind.len() + 4;
    let rest = &text[begin..];
    rest[..rest.find("```").expect("it is closed")].to_owned()
}

#[test]
fn the_vector_of_the_document_is_read_as_it_says() {
    let (bytes, texts) = made();
    if std::env::var("SLUICE_BLESS").is_ok() {
        let hex = to_hex(&bytes);
        let lines: Vec<&str> =
            hex.as_bytes().chunks(120).map(|line| std::str::from_utf8(line).unwrap()).collect();
        println!("{}\n\n{}", texts.join("\n"), lines.join("\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/record-format.md");
    let document = std::fs::read_to_string(path).unwrap();
    let hex: String = fenced(&document, "hex").split_whitespace().collect();
    let read: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let folder = crate::log::tests::Folder::new("vector");
    let file = folder.0.join(file_name(1));
    std::fs::write(&file, &read).unwrap();
    let mut seen = Vec::new();
    let walked =
        walk(&file, None, |record| seen.push(record.clone())).map_err(|e| e.reason.to_string()).unwrap();
    assert!(walked.fault.is_none(), "{:?}", walked.fault);
    let seal = walked.seal.expect("it is sealed");
    for (what, hash) in [
        ("record 2", seal.last_record),
        ("block", seal.last_block),
        ("Merkle root", seal.root),
        ("seal id", seal.id()),
    ] {
        assert!(document.contains(&hash.to_string()), "{what}: {hash}");
    }
    let json = fenced(&document, "json");
    assert_eq!(json.lines().collect::<Vec<_>>(), texts, "records are written as the document says");
    assert_eq!(seen.len(), 2);
    let root = Hash::of(
        Kind::MerkleNode,
        &[seen[0].hash, seen[1].hash]
            .map(|hash| Hash::of(Kind::MerkleLeaf, &[&hash.0]).0)
            .each_ref()
            .map(|h| &h[..]),
    );
    assert_eq!(root, seal.root);
}
