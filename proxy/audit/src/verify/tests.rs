//! Whatever is done to a record that is not the writer's doing is found.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::log::tests::{Folder, numbered, options};
use crate::log::{Log, LogOptions, SystemDisk};
use crate::segment::tombstone_name;
use crate::{SigningKey, segment};

/// Three sealed segments of a few records, closed.
fn written(options: &LogOptions) {
    fs::create_dir_all(&options.folder).unwrap();
    let mut log = Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap();
    for n in 1..8 {
        log.append([(&numbered(n), None)], n).unwrap();
        log.commit().unwrap();
        if n % 3 == 0 {
            log.seal(n).unwrap();
        }
    }
    log.close(9).unwrap();
}

fn key(folder: &Folder, name: &str) -> SigningKey {
    SigningKey::load_or_create(&folder.0.join(name)).unwrap()
}

fn verify_with(options: &LogOptions, keys: Vec<PublicKey>) -> Result<Verified, VerifyFault> {
    verify(&options.folder, &VerifyOptions { keys, ..VerifyOptions::default() })
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.ends_with("lock"));
    files.sort();
    files
}

#[test]
fn a_good_record_is_verified_by_its_public_key_alone() {
    let folder = Folder::new("good");
    let options = options(&folder);
    written(&options);
    let public = options.signing_key.public();
    let found = verify_with(&options, vec![public]).unwrap();
    assert_eq!((found.segments, found.records, found.last_seq), (3, 7, 7));
    assert_eq!((found.keys, found.gaps.len(), found.notes.len()), (vec![public], 0, 0));
    let other = key(&folder, "other.pem").public();
    let fault = verify_with(&options, vec![other]).unwrap_err();
    assert!(fault.to_string().contains("not trusted"), "{fault}");
}

#[test]
fn each_changed_byte_of_each_file_is_found() {
    let folder = Folder::new("bytes");
    let options = options(&folder);
    written(&options);
    for file in files_of(&options.folder) {
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&file, &changed).unwrap();
            let fault = verify_with(&options, Vec::new()).expect_err("a changed byte");
            assert!(!fault.reason.is_empty());
            if at % 5 == 0 {
                fs::write(&file, &whole[..at]).unwrap();
                verify_with(&options, Vec::new()).expect_err("a truncated file");
            }
        }
        fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
        verify_with(&options, Vec::new()).expect_err("a longer file");
        fs::remove_file(&file).unwrap();
        verify_with(&options, Vec::new()).expect_err("a file that is gone");
        fs::write(&file, &whole).unwrap();
    }
    verify_with(&options, Vec::new()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn bytes_put_in_taken_out_or_moved_are_found(
        at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), length in 1usize..90, what in 0..3
    ) {
        let folder = Folder::new("moved");
        let options = options(&folder);
        written(&options);
        let files = files_of(&options.folder);
        let file = &files[other.index(files.len())];
        let whole = fs::read(file).unwrap();
        let begin = at.index(whole.len());
        let end = (begin + length).min(whole.len());
        let part = whole[begin..end].to_vec();
        let mut changed = whole.clone();
        changed.drain(begin..end);
        match what {
            0 => {}
            1 => { changed = whole.clone(); changed.splice(begin..begin, part); }
            _ => { let to = other.index(changed.len() + 1); changed.splice(to..to, part); }
        }
        fs::write(file, &changed).unwrap();
        prop_assert_eq!(verify_with(&options, Vec::new()).is_err(), changed != whole);
    }
}

#[test]
fn segments_that_change_places_or_come_from_another_record_are_found() {
    let folder = Folder::new("places");
    let (one, mut two) = (options(&folder), options(&folder));
    two.folder = folder.0.join("another");
    written(&one);
    written(&two);
    let [first, second] = [1, 2].map(|n| one.folder.join(file_name(n)));
    let whole = fs::read(&first).unwrap();
    fs::rename(&first, folder.0.join("x")).unwrap();
    fs::copy(&second, &first).unwrap();
    assert!(verify_with(&one, Vec::new()).unwrap_err().to_string().contains("record 1"));
    // A fork: the same key, the same numbers, another record.
    fs::copy(two.folder.join(file_name(1)), &first).unwrap();
    assert!(verify_with(&one, Vec::new()).unwrap_err().reason.contains("another record"));
    fs::write(&first, whole).unwrap();
    fs::copy(two.folder.join(file_name(3)), one.folder.join(file_name(4))).unwrap();
    verify_with(&one, Vec::new()).expect_err("a segment too many");
    fs::remove_file(one.folder.join(file_name(4))).unwrap();
    fs::write(one.folder.join("segment-4.slr"), b"").unwrap();
    verify_with(&one, Vec::new()).expect_err("a name that hides");
}

#[test]
fn a_fork_of_the_same_record_is_found() {
    let folder = Folder::new("fork");
    let mut options = options(&folder);
    written(&options);
    let original = options.folder.clone();
    options.folder = folder.0.join("fork");
    fs::create_dir_all(&options.folder).unwrap();
    for file in files_of(&original) {
        fs::copy(&file, options.folder.join(file.file_name().unwrap())).unwrap();
    }
    for (folder, n) in [(&original, 100), (&options.folder, 200)] {
        let options = LogOptions { folder: folder.clone(), ..options.clone() };
        let mut log = Log::open(options, Box::new(SystemDisk), 1).unwrap();
        log.append([(&numbered(n), None)], n).unwrap();
        log.commit().unwrap();
        log.close(n).unwrap();
    }
    verify_with(&options, Vec::new()).unwrap();
    // The fork's segment in the original: signed by the same key, and not what its head says.
    fs::copy(options.folder.join(file_name(4)), original.join(file_name(4))).unwrap();
    let options = LogOptions { folder: original, ..options };
    assert!(verify_with(&options, Vec::new()).unwrap_err().reason.contains("not the one that was signed"));
}

#[test]
fn a_new_key_is_believed_where_the_old_one_vouches_or_it_is_given() {
    for vouches in [true, false] {
        let folder = Folder::new("rotate");
        let mut options = options(&folder);
        let old = options.signing_key.clone();
        written(&options);
        options.signing_key = key(&folder, "new.pem");
        options.previous_key = Some(old.clone()).filter(|_| vouches);
        written(&options);
        let new = options.signing_key.public();
        let both = vec![old.public(), new];
        assert_eq!(verify_with(&options, both.clone()).unwrap().keys, both);
        let by_the_old_one = verify_with(&options, vec![old.public()]);
        assert_eq!(by_the_old_one.is_ok(), vouches, "{by_the_old_one:?}");
        verify_with(&options, vec![new]).expect_err("the old key is not trusted");
    }
}

#[test]
fn an_encrypted_record_is_verified_with_and_without_its_key() {
    let folder = Folder::new("closed");
    let mut options = options(&folder);
    options.encryption_key = Some(EncryptionKey::from_hex(&"0f".repeat(32)).unwrap());
    written(&options);
    let with = VerifyOptions { encryption_key: options.encryption_key.clone(), ..VerifyOptions::default() };
    let found = verify(&options.folder, &with).unwrap();
    assert_eq!((found.records, found.notes.len()), (7, 0));
    assert_eq!(verify_with(&options, Vec::new()).unwrap().records, 7);
    let wrong = Some(EncryptionKey::from_hex(&"1f".repeat(32)).unwrap());
    let fault = verify(&options.folder, &VerifyOptions { encryption_key: wrong, ..with }).unwrap_err();
    assert!(fault.reason.contains("decrypted"), "{fault}");
    for file in files_of(&options.folder) {
        let whole = fs::read(&file).unwrap();
        assert!(!whole.windows(6).any(|part| part == b"record" || part == b"\"seq\":"));
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).unwrap();
            verify_with(&options, Vec::new()).expect_err("a changed byte, without the key");
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn an_open_record_is_good_up_to_its_head_and_what_is_added_is_found() {
    let folder = Folder::new("open");
    let options = options(&folder);
    written(&options);
    let mut log = Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap();
    log.append([(&numbered(8), None)], 8).unwrap();
    log.commit().unwrap();
    assert_eq!(verify_with(&options, Vec::new()).unwrap().last_seq, 8);
    log.append([(&numbered(9), None)], 9).unwrap();
    drop(log);
    let fault = verify_with(&options, Vec::new()).unwrap_err();
    assert_eq!(fault.seq, Some(9), "{fault}");
    let lock = crate::log::lock(&options.folder).unwrap();
    assert_eq!(verify_with(&options, Vec::new()).unwrap().last_seq, 9, "a writer is about to sign it");
    drop(lock);
    // The record goes on, and what was kept is signed.
    written(&options);
    assert_eq!(verify_with(&options, Vec::new()).unwrap().last_seq, 16);
}

#[test]
fn what_was_noted_earlier_must_still_be_there() {
    let folder = Folder::new("pin");
    let options = options(&folder);
    written(&options);
    let found = verify_with(&options, Vec::new()).unwrap();
    let pin = |pin| verify(&options.folder, &VerifyOptions { pin: Some(pin), ..VerifyOptions::default() });
    pin((found.last_seq, found.last_record)).unwrap();
    pin((found.last_seq + 1, found.last_record)).expect_err("a rollback");
    pin((found.last_seq, Hash::ZERO)).expect_err("another history");
}

#[test]
fn a_deleted_segment_needs_its_tombstone() {
    let folder = Folder::new("tombstone");
    let options = options(&folder);
    written(&options);
    let path = options.folder.join(file_name(1));
    let walked = segment::walk(&path, None, |_| {}).unwrap();
    let public = options.signing_key.public();
    let tombstone = Tombstone::of(&walked, &public, 77, "age").unwrap();
    let bytes = tombstone.to_bytes(&options.signing_key).unwrap();
    let place = options.folder.join(tombstone_name(1));
    fs::write(&place, &bytes).unwrap();
    let found = verify_with(&options, vec![public]).unwrap();
    assert!(found.notes.iter().any(|note| note.contains("still there")), "{:?}", found.notes);
    fs::remove_file(&path).unwrap();
    let found = verify_with(&options, vec![public]).unwrap();
    assert_eq!((found.tombstones, found.segments, found.records), (1, 2, 4));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&place, &changed).unwrap();
        verify_with(&options, vec![public]).expect_err("a changed tombstone");
    }
    // Signed by somebody else.
    let other = key(&folder, "other.pem");
    let forged = Tombstone { signer: other.public().to_string(), ..tombstone };
    fs::write(&place, forged.to_bytes(&other).unwrap()).unwrap();
    verify_with(&options, vec![public]).expect_err("a forged tombstone");
}
