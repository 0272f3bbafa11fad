//! What is deleted leaves a record that verifies; what is held, bad or last stays.

use super::*;
use crate::log::tests::{Folder, numbered, options};
use crate::log::{Log, LogOptions, SystemDisk};
use crate::{VerifyOptions, verify};

/// Five sealed segments of one record each, sealed at second 1, 2 …
fn written(options: &LogOptions) {
    std::fs::create_dir_all(&options.folder).unwrap();
    let mut log = Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap();
    for n in 1..6 {
        let now_ns = n * 1_000_000_000;
        log.append([(&numbered(n), None)], now_ns).unwrap();
        log.commit().unwrap();
        log.seal(now_ns).unwrap();
    }
    log.close(6_000_000_000).unwrap();
}

fn deleted(options: &LogOptions, retention: Retention) -> Vec<u64> {
    retain(&options.folder, &retention, &options.signing_key, None, 10_000_000_000, |_| true).unwrap()
}

fn verified(options: &LogOptions) -> u64 {
    let keys = vec![options.signing_key.public()];
    verify(&options.folder, &VerifyOptions { keys, ..VerifyOptions::default() }).unwrap().tombstones
}

#[test]
fn segments_go_by_age_and_by_size_and_the_last_one_stays() {
    for (age, size, expected) in [
        (Some(7), None, vec![1, 2]),
        (Some(6), None, vec![1, 2, 3]),
        (Some(0), None, vec![1, 2, 3, 4]),
        (None, Some(u64::MAX), vec![]),
        (None, Some(0), vec![1, 2, 3, 4]),
        (None, None, vec![]),
    ] {
        let folder = Folder::new("retain");
        let options = options(&folder);
        written(&options);
        let retention = Retention { age_seconds_max: age, bytes_max: size };
        assert_eq!(deleted(&options, retention), expected, "{retention:?}");
        assert_eq!(verified(&options), expected.len() as u64);
        assert_eq!(deleted(&options, retention), Vec::<u64>::new(), "once is enough");
        // The record goes on behind them.
        let mut log = Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap();
        log.append([(&numbered(9), None)], 9).unwrap();
        log.commit().unwrap();
        log.close(9).unwrap();
        assert_eq!(verified(&options), expected.len() as u64);
    }
}

#[test]
fn size_takes_the_oldest_and_no_more_than_it_must() {
    let folder = Folder::new("size");
    let options = options(&folder);
    written(&options);
    let total: u64 = sealed_segments(&options.folder).unwrap().iter().map(|segment| segment.bytes).sum();
    assert_eq!(
        deleted(&options, Retention { bytes_max: Some(total), ..Retention::default() }),
        Vec::<u64>::new()
    );
    assert_eq!(deleted(&options, Retention { bytes_max: Some(total - 1), ..Retention::default() }), [1]);
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let folder = Folder::new("held");
    let options = options(&folder);
    written(&options);
    let held = Hold { reason: "case 7".into(), from_ns: Some(2_000_000_000), until_ns: Some(2_500_000_000) };
    hold(&options.folder, "case-7", &held).unwrap();
    assert_eq!(holds(&options.folder).unwrap(), [("case-7".to_owned(), held)]);
    let all = Retention { age_seconds_max: Some(0), bytes_max: None };
    assert_eq!(deleted(&options, all), [1, 3, 4]);
    assert_eq!(verified(&options), 3);
    std::fs::write(options.folder.join("holds/other.json"), b"{").unwrap();
    retain(&options.folder, &all, &options.signing_key, None, u64::MAX, |_| true)
        .expect_err("who knows what it holds");
    std::fs::remove_file(options.folder.join("holds/other.json")).unwrap();
    release(&options.folder, "case-7").unwrap();
    assert_eq!(deleted(&options, all), [2]);
    for name in ["", "../x", "a/b", "A"] {
        hold(&options.folder, name, &Hold::default()).expect_err(name);
    }
}

#[test]
fn a_segment_that_is_not_good_is_not_deleted() {
    let folder = Folder::new("bad");
    let options = options(&folder);
    written(&options);
    let path = sealed_segments(&options.folder).unwrap()[0].path.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 80] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let all = Retention { age_seconds_max: Some(0), bytes_max: None };
    retain(&options.folder, &all, &options.signing_key, None, u64::MAX, |_| true)
        .expect_err("it is evidence");
    assert!(path.exists());
    assert_eq!(
        retain(&options.folder, &all, &options.signing_key, None, u64::MAX, |_| false).unwrap(),
        Vec::<u64>::new()
    );
}

#[test]
fn a_copy_of_sealed_segments_with_its_head_verifies() {
    let folder = Folder::new("copy");
    let options = options(&folder);
    written(&options);
    let segments = sealed_segments(&options.folder).unwrap();
    let copy = folder.0.join("copy");
    std::fs::create_dir_all(&copy).unwrap();
    for segment in &segments[..3] {
        std::fs::copy(&segment.path, copy.join(segment.path.file_name().unwrap())).unwrap();
    }
    std::fs::write(copy.join("HEAD"), segments[2].head(&options.signing_key)).unwrap();
    assert_eq!(verify(&copy, &VerifyOptions::default()).unwrap().last_seq, 3);
}
