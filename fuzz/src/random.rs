//! Randomness that follows from a seed alone: SplitMix64 (Steele, Lea, Flood 2014), which needs no state besides a counter.

/// Bytes that mean something in one format or another.
const MARKS: &[u8] = b"\"\\{}[],: \n\r&=%+0aA@-./<>";

/// A generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded with a number.
    #[must_use]
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// Seeded with a document (FNV-1a), so that the document is the whole case.
    #[must_use]
    pub fn of(document: &[u8]) -> Random {
        let hash = document.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(hash)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// Cuts a document into chunks: mostly a few bytes, at times many, now and then none.
    pub fn chunks<'a>(&mut self, document: &'a [u8]) -> Vec<&'a [u8]> {
        let (mut chunks, mut rest) = (Vec::new(), document);
        let longest = [1, 2, 7, 64, 4096][self.below(5)];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.below(longest + 1).min(rest.len()));
            chunks.push(chunk);
            rest = after;
            if chunk.is_empty() {
                // An empty chunk is allowed; two in a row would only make the loop longer.
                let (chunk, after) = rest.split_at(1);
                chunks.push(chunk);
                rest = after;
            }
        }
        chunks
    }

    /// A document made of others: parts of them cut, joined, repeated, with bytes changed.
    pub fn mutate(&mut self, documents: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
        let mut made = Vec::new();
        for _ in 0..=self.below(3) {
            let Some(document) = documents.get(self.below(documents.len())) else { break };
            let (a, b) = (self.below(document.len() + 1), self.below(document.len() + 1));
            let part = document.get(a.min(b)..a.max(b)).unwrap_or_default();
            made.extend_from_slice(if self.below(3) == 0 { document } else { part });
        }
        for _ in 0..self.below(4) {
            let at = self.below(made.len());
            match self.below(4) {
                0 if !made.is_empty() => made[at] = (self.number() & 0xff) as u8,
                1 if !made.is_empty() => made[at] = MARKS[self.below(MARKS.len())],
                2 if !made.is_empty() => drop(made.remove(at)),
                _ => made.insert(at, MARKS[self.below(MARKS.len())]),
            }
        }
        made.truncate(bytes_max);
        made
    }
}
