//! Shares windows out among buckets, such that few places of usual traffic are let through.
//!
//! A bucket lets a place through when some of its windows allows what stands at each position: not the same window at
//! all of them. So windows that are alike belong together, and common ones apart. How common a bucket is, is counted
//! on `traffic.txt`, pieces of LLM streams, traces, logs, source code, minified code, base64 and identifiers.

use std::collections::HashMap;
use std::ops::Range;

use super::symbol::ByteSet;

const TRAFFIC: &[u8] = include_bytes!("traffic.txt");

/// A bit for each place of the traffic.
type Places = Box<[u64]>;

/// What stands at the positions of windows in usual traffic.
pub(super) struct Traffic {
    /// By position: the codes of all places.
    positions: Vec<Vec<u8>>,
}

impl Traffic {
    /// `code` tells what a window has at one of its `positions`, given the traffic from the byte before it on.
    pub(super) fn new(positions: usize, code: impl Fn(&[u8], usize) -> u8) -> Traffic {
        let places = || (0..TRAFFIC.len() - 32).map(|at| &TRAFFIC[at..at + 32]);
        let positions = (0..positions).map(|p| places().map(|bytes| code(bytes, p)).collect());
        Traffic { positions: positions.collect() }
    }

    /// The places that have one of the codes at the position.
    fn places(&self, position: usize, codes: &ByteSet) -> Places {
        let at = self.positions.get(position).map(Vec::as_slice).unwrap_or_default();
        let word = |places: &[u8]| {
            (0u32..).zip(places).fold(0, |word, (n, code)| word | u64::from(codes.has(*code)) << n)
        };
        at.chunks(64).map(word).collect()
    }
}

/// Places of traffic that a bucket lets through.
struct Bucket {
    codes: Vec<ByteSet>,
    places: Vec<Places>,
    count: u32,
    windows: u32,
}

/// The bucket of each of `windows`, which are told by their codes at each position: one of the buckets that it names.
pub(super) fn share_out(windows: &[(Vec<ByteSet>, Range<usize>)], traffic: &Traffic) -> Vec<usize> {
    let mut known: HashMap<(usize, ByteSet), Places> = HashMap::new();
    let mut keys: Vec<&(Vec<ByteSet>, Range<usize>)> = windows.iter().collect();
    keys.sort_unstable_by_key(|(codes, range)| (range.start, codes.iter().map(|c| c.0).collect::<Vec<_>>()));
    keys.dedup();
    for (codes, _) in &keys {
        for (position, codes) in codes.iter().enumerate() {
            known.entry((position, *codes)).or_insert_with(|| traffic.places(position, codes));
        }
    }
    let places = |codes: &[ByteSet]| -> Vec<&Places> {
        codes.iter().enumerate().filter_map(|(p, c)| known.get(&(p, *c))).collect()
    };
    let own = |places: &[&Places]| count(u32::MAX, places.iter().map(|p| (p.as_ref(), None)));
    let mut keys: Vec<_> = keys.into_iter().map(|key| (key, places(&key.0))).collect();
    keys.sort_by_cached_key(|(_, places)| std::cmp::Reverse(own(places)));
    let count_buckets = windows.iter().map(|(_, range)| range.end).max().unwrap_or(0);
    let mut buckets: Vec<Option<Bucket>> = (0..count_buckets).map(|_| None).collect();
    let mut chosen: HashMap<&(Vec<ByteSet>, Range<usize>), usize> = HashMap::new();
    for (key, places) in &keys {
        let bucket = cheapest(&buckets, &key.0, places, key.1.clone());
        chosen.insert(key, bucket);
        if let Some(slot) = buckets.get_mut(bucket) {
            slot.get_or_insert_with(|| Bucket::empty(places)).add(&key.0, places);
        }
    }
    windows.iter().map(|window| chosen.get(window).copied().unwrap_or(window.1.start)).collect()
}

/// The bucket that lets the fewest more places through with the window in it.
fn cheapest(buckets: &[Option<Bucket>], codes: &[ByteSet], places: &[&Places], range: Range<usize>) -> usize {
    let mut best = (u32::MAX, u32::MAX, range.start);
    for (n, bucket) in buckets.iter().enumerate().take(range.end).skip(range.start) {
        let Some(bucket) = bucket else {
            best = best.min((0, 0, n));
            continue;
        };
        let more = if bucket.has(codes) {
            0
        } else {
            let most = bucket.count.saturating_add(best.0).saturating_add(1);
            let both = places.iter().zip(&bucket.places).map(|(own, all)| (own.as_ref(), Some(all.as_ref())));
            count(most, both).saturating_sub(bucket.count)
        };
        best = best.min((more, bucket.windows, n));
    }
    best.2
}

impl Bucket {
    fn empty(places: &[&Places]) -> Bucket {
        Bucket {
            codes: vec![ByteSet::EMPTY; places.len()],
            places: places.iter().map(|p| vec![0; p.len()].into()).collect(),
            count: 0,
            windows: 0,
        }
    }

    fn has(&self, codes: &[ByteSet]) -> bool {
        self.codes.iter().zip(codes).all(|(all, own)| all.union(own) == *all)
    }

    fn add(&mut self, codes: &[ByteSet], places: &[&Places]) {
        for ((all, own), (all_places, own_places)) in
            self.codes.iter_mut().zip(codes).zip(self.places.iter_mut().zip(places))
        {
            *all = all.union(own);
            all_places.iter_mut().zip(own_places.iter()).for_each(|(a, o)| *a |= o);
        }
        self.count = count(u32::MAX, self.places.iter().map(|p| (p.as_ref(), None)));
        self.windows += 1;
    }
}

/// Places that are in all of the sets, each of which may be the union of two; it stops at `most`.
fn count<'a>(most: u32, sets: impl Iterator<Item = (&'a [u64], Option<&'a [u64]>)> + Clone) -> u32 {
    const AT_ONCE: usize = 64;
    let len = sets.clone().map(|(a, _)| a.len()).min().unwrap_or(0);
    let mut sum = 0;
    for from in (0..len).step_by(AT_ONCE) {
        let to = len.min(from + AT_ONCE);
        let mut all = [u64::MAX; AT_ONCE];
        for (a, b) in sets.clone() {
            let parts = all.iter_mut().zip(&a[from..to]);
            match b {
                Some(b) => parts.zip(&b[from..to]).for_each(|((all, a), b)| *all &= a | b),
                None => parts.for_each(|(all, a)| *all &= a),
            }
        }
        sum += all[..to - from].iter().map(|word| word.count_ones()).sum::<u32>();
        if sum >= most {
            break;
        }
    }
    sum
}
