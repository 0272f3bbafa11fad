//! Codings: there and back at every cut, live on every flush, and refused past their limits.

use super::*;

fn text() -> Vec<u8> {
    (0..400).flat_map(|n| format!("line {n}: {}\n", n * n * 7919).into_bytes()).collect()
}

fn encode(codings: &Codings, parts: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(codings), Vec::new());
    for part in parts {
        encoder.push(part, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

fn decode<'a>(
    codings: &Codings,
    limits: CodingLimits,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, CodingError> {
    let (mut decoder, mut out) = (Decoder::new(codings, limits), Vec::new());
    for part in parts {
        decoder.push(part, &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

fn stacks() -> Vec<Codings> {
    use Coding::{Br, Deflate, Gzip, RawDeflate, Zstd};
    let lists: [&[Coding]; 9] = [
        &[],
        &[Gzip],
        &[Deflate],
        &[RawDeflate],
        &[Br],
        &[Zstd],
        &[Gzip, Br],
        &[Zstd, Zstd],
        &[Deflate, Br, Gzip],
    ];
    lists.iter().map(|l| Codings::new(l.to_vec()).unwrap()).collect()
}

#[test]
fn there_and_back_at_every_cut() {
    let text = text();
    for codings in stacks() {
        for text in [&text[..], b"", b"a"] {
            let whole = encode(&codings, &[text]);
            let limits = CodingLimits::default();
            assert_eq!(decode(&codings, limits, [&whole[..]]).unwrap(), text, "{codings:?}");
            assert_eq!(decode(&codings, limits, whole.chunks(1)).unwrap(), text, "{codings:?}");
            for cut in (1..whole.len()).step_by(1 + whole.len() / 200) {
                let (a, b) = whole.split_at(cut);
                assert_eq!(decode(&codings, limits, [a, b]).unwrap(), text, "{codings:?}, cut at {cut}");
            }
            for cut in (1..text.len()).step_by(1 + text.len() / 20) {
                let (a, b) = text.split_at(cut);
                let coded = encode(&codings, &[a, b]);
                assert_eq!(
                    decode(&codings, limits, [&coded[..]]).unwrap(),
                    text,
                    "{codings:?}, cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn every_flush_can_be_decoded() {
    for codings in stacks() {
        let mut encoder = Encoder::new(&codings);
        let mut decoder = Decoder::new(&codings, CodingLimits::default());
        let mut got = Vec::new();
        for n in 0..20 {
            let event = format!("data: event {n}\n\n");
            let mut coded = Vec::new();
            encoder.push(event.as_bytes(), &mut coded).unwrap();
            encoder.flush(&mut coded).unwrap();
            got.clear();
            decoder.push(&coded, &mut got).unwrap();
            assert_eq!(got, event.as_bytes(), "{codings:?}, event {n}");
        }
        let mut coded = Vec::new();
        encoder.finish(&mut coded).unwrap();
        decoder.push(&coded, &mut got).unwrap();
        decoder.finish(&mut got).unwrap();
    }
}

#[test]
fn a_body_that_is_cut_short_is_refused() {
    let text = text();
    for codings in stacks().into_iter().filter(|c| !c.list().is_empty()) {
        let whole = encode(&codings, &[&text]);
        for cut in [1, whole.len() / 2, whole.len() - 1] {
            let done = decode(&codings, CodingLimits::default(), [&whole[..cut]]);
            assert!(done.is_err(), "{codings:?}, cut at {cut} of {}", whole.len());
        }
        assert_eq!(decode(&codings, CodingLimits::default(), []).unwrap(), b"");
    }
}

#[test]
fn what_is_not_in_its_coding_is_refused() {
    let text = text();
    for codings in stacks().into_iter().filter(|c| c.list().len() == 1) {
        let mut whole = encode(&codings, &[&text]);
        assert!(decode(&codings, CodingLimits::default(), [&b"not coded at all, not at all"[..]]).is_err());
        whole.extend_from_slice(b"and more");
        assert!(decode(&codings, CodingLimits::default(), [&whole[..]]).is_err(), "{codings:?}");
        let mut decoder = Decoder::new(&codings, CodingLimits::default());
        let error = decoder.push(&whole, &mut Vec::new()).and_then(|()| decoder.finish(&mut Vec::new()));
        let (error, mut out) = (error.unwrap_err(), Vec::new());
        assert_eq!(decoder.push(b"x", &mut out).unwrap_err(), error);
        assert_eq!(decoder.finish(&mut out).unwrap_err(), error);
        assert!(out.is_empty());
    }
}

#[test]
fn members_and_frames_are_one_body() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let codings = Codings::new(vec![coding]).unwrap();
        let twice = [encode(&codings, &[b"one "]), encode(&codings, &[b"two"])].concat();
        assert_eq!(decode(&codings, CodingLimits::default(), twice.chunks(1)).unwrap(), b"one two");
        assert_eq!(decode(&codings, CodingLimits::default(), [&twice[..]]).unwrap(), b"one two");
    }
}

#[test]
fn deflate_is_either_kind() {
    let deflate = Codings::parse("deflate").unwrap();
    let raw = Codings::new(vec![Coding::RawDeflate]).unwrap();
    for (kind, found) in [(&deflate, Coding::Deflate), (&raw, Coding::RawDeflate)] {
        let coded = encode(kind, &[b"hello hello hello"]);
        let (mut decoder, mut out) = (Decoder::new(&deflate, CodingLimits::default()), Vec::new());
        coded.chunks(1).for_each(|b| decoder.push(b, &mut out).unwrap());
        decoder.finish(&mut out).unwrap();
        assert_eq!((out, decoder.codings().list()), (b"hello hello hello".to_vec(), &[found][..]));
    }
}

#[test]
fn the_ratio_has_a_limit() {
    let text = vec![b'a'; 100_000];
    for codings in stacks().into_iter().filter(|c| c.list().len() == 1) {
        let coded = encode(&codings, &[&text]);
        let with = |free_bytes| {
            decode(
                &codings,
                CodingLimits { ratio_max: 2, free_bytes, ..CodingLimits::default() },
                [&coded[..]],
            )
        };
        assert_eq!(with(100_000).unwrap(), text, "{codings:?}: at the limit");
        let kind = with(99_999).unwrap_err().kind();
        assert_eq!(kind, CodingErrorKind::Limit("output to input of a content coding"), "{codings:?}");
        let ratio = u32::try_from(100_000 / coded.len() + 1).unwrap();
        let limits = CodingLimits { ratio_max: ratio, free_bytes: 0, ..CodingLimits::default() };
        assert_eq!(decode(&codings, limits, [&coded[..]]).unwrap(), text, "{codings:?}");
    }
}

/// A stack multiplies nothing: what each of its codings gives is held against the body itself.
#[test]
fn a_stack_has_the_limits_of_one_coding() {
    let text = vec![b'a'; 8 << 20];
    let limits = CodingLimits { ratio_max: 100, free_bytes: 1 << 20, ..CodingLimits::default() };
    for value in ["gzip", "gzip, gzip", "zstd, br, gzip"] {
        let codings = Codings::parse(value).unwrap();
        let coded = encode(&codings, &[&text]);
        let mut decoder = Decoder::new(&codings, limits);
        let (mut out, mut most) = (Vec::new(), 0);
        let error = coded.chunks(64).try_for_each(|part| {
            let before = out.len();
            let done = decoder.push(part, &mut out);
            most = most.max(out.len() - before);
            done
        });
        let kind = error.expect_err(value).kind();
        assert_eq!(kind, CodingErrorKind::Limit("output to input of a content coding"), "{value}");
        let pieces = coded.len().div_ceil(4096) * 4096;
        assert!(out.len() <= (100 * pieces).max(1 << 20), "{value}: {} of {}", out.len(), coded.len());
    }
}

/// A body that gave little for long has no right to give it all at once.
#[test]
fn a_piece_has_a_limit() {
    let noise: Vec<u8> =
        (0..400_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (n >> 7) as u8).collect();
    let limits = CodingLimits { ratio_max: 1000, ..CodingLimits::default() };
    for coding in [Coding::Br, Coding::Zstd] {
        let codings = Codings::new(vec![coding]).unwrap();
        for (len, fits) in [(3usize << 20, true), (16 << 20, false)] {
            let coded = encode(&codings, &[&noise, &vec![b'a'; len]]);
            let done = decode(&codings, limits, [&coded[..]]);
            assert_eq!(done.is_ok(), fits, "{coding:?}, {len} bytes at once");
        }
    }
}

#[test]
fn the_window_has_a_limit() {
    let limits = |window_log_max| CodingLimits { window_log_max, ..CodingLimits::default() };
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    zstd.set_parameter(zstd::stream::raw::CParameter::WindowLog(25)).unwrap();
    std::io::Write::write_all(&mut zstd, &text()).unwrap();
    let coded = zstd.finish().unwrap();
    let codings = Codings::parse("zstd").unwrap();
    assert!(decode(&codings, limits(25), [&coded[..]]).is_ok());
    assert!(decode(&codings, limits(24), [&coded[..]]).is_err());
    let codings = Codings::parse("br").unwrap();
    let coded = encode(&codings, &[&text()]);
    assert!(decode(&codings, limits(18), [&coded[..]]).is_ok());
    let error = decode(&codings, limits(17), [&coded[..]]).unwrap_err();
    assert_eq!(error.kind(), CodingErrorKind::Limit("the window of a content coding"));
    // The first byte of a large window, which is no part of the coding.
    assert!(decode(&codings, limits(30), [&[0x11][..]]).is_err());
}

#[test]
fn the_field_is_parsed() {
    use Coding::{Br, Deflate, Gzip, Zstd};
    for (value, list) in [
        ("", Some(vec![])),
        ("identity", Some(vec![])),
        ("GZIP", Some(vec![Gzip])),
        ("x-gzip", Some(vec![Gzip])),
        (" deflate ,, br\t", Some(vec![Deflate, Br])),
        ("gzip,identity,zstd,br", Some(vec![Gzip, Zstd, Br])),
        ("gzip,gzip,gzip,gzip", None),
        ("compress", None),
        ("gzip;q=1", None),
        ("aws-chunked", None),
    ] {
        assert_eq!(Codings::parse(value).ok().map(|c| c.list().to_vec()), list, "{value:?}");
    }
}
