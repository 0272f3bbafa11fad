//! Decodes a stack of codings as the body comes in.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{DParameter, Decoder as RawZstd};
use zstd::stream::write::Decoder as ZstdDecoder;

use super::{Coding, CodingError, CodingErrorKind, CodingLimits, Codings};

/// Bytes of the body that the layers are given at once, and for which each of them is allowed output. Pieces are counted
/// from the start, so that a limit does not depend on chunks.
const PIECE_BYTES: usize = 4096;
/// Bytes that a layer may give for one piece, whatever the ratio leaves: what lies between two layers, and what a
/// [`Decoder`] appends for a piece. DEFLATE never gives more; of the others a few bytes can make gigabytes.
const PIECE_OUTPUT_BYTES_MAX: u64 = PIECE_BYTES as u64 * 1032;

/// Decodes one body as it streams.
///
/// ```
/// use sluice_engine::{Codings, Decoder, Encoder, CodingLimits};
///
/// let codings = Codings::parse("br")?;
/// let (mut encoder, mut coded) = (Encoder::new(&codings), Vec::new());
/// encoder.push(b"some text", &mut coded)?;
/// encoder.finish(&mut coded)?;
/// let (mut decoder, mut text) = (Decoder::new(&codings, CodingLimits::default()), Vec::new());
/// decoder.push(&coded, &mut text)?;
/// decoder.finish(&mut text)?;
/// assert_eq!(text, b"some text");
/// # Ok::<(), sluice_engine::CodingError>(())
/// ```
pub struct Decoder {
    /// Outermost coding first.
    layers: Vec<Layer>,
    limits: CodingLimits,
    /// Bytes of the body.
    taken: u64,
    error: Option<CodingError>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("codings", &self.codings()).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(codings: &Codings, limits: CodingLimits) -> Decoder {
        let layers = codings.list().iter().rev().map(|c| Layer::new(*c, limits)).collect();
        Decoder { layers, limits, taken: 0, error: None }
    }

    /// Takes the next bytes and appends to `out` all they tell.
    ///
    /// # Errors
    /// The body is not valid in its codings, or passes a limit; every further call returns the same.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let done = self.take(bytes, out);
        done.inspect_err(|error| self.error = Some(error.clone()))
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let begun = (self.taken % PIECE_BYTES as u64) as usize;
            if begun == 0 {
                self.layers.iter_mut().for_each(|l| l.given_for_piece = 0);
            }
            let (piece, after) = rest.split_at((PIECE_BYTES - begun).min(rest.len()));
            rest = after;
            self.taken += piece.len() as u64;
            let allowed = self.allowed();
            push(&mut self.layers, piece, allowed, out)?;
        }
        Ok(())
    }

    /// What each layer may have given by now: the pieces that have begun count whole.
    fn allowed(&self) -> u64 {
        let pieces = self.taken.div_ceil(PIECE_BYTES as u64) * PIECE_BYTES as u64;
        pieces.saturating_mul(u64::from(self.limits.ratio_max)).max(u64::from(self.limits.free_bytes))
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Decoder::push`]; also where the body ends too early. An empty body is valid in every coding.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let allowed = self.allowed();
        let mut layers = &mut self.layers[..];
        let mut done = Ok(());
        while let Some((layer, inner)) = layers.split_first_mut() {
            let mut rest = Vec::new();
            done = done
                .and_then(|()| layer.finish(allowed, &mut rest))
                .and_then(|()| push(inner, &rest, allowed, out));
            layers = inner;
        }
        // A decoder that has ended takes nothing more.
        let ended = CodingError(CodingErrorKind::Invalid("more after the end of the coded body"));
        self.error = Some(done.clone().err().unwrap_or(ended));
        done
    }

    /// The codings as they were found, in the order in which they were applied: [`Coding::RawDeflate`] where data
    /// said to be `deflate` was that.
    #[must_use]
    pub fn codings(&self) -> Codings {
        Codings(self.layers.iter().rev().map(|l| l.coding).collect())
    }
}

fn push(layers: &mut [Layer], bytes: &[u8], allowed: u64, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        out.extend_from_slice(bytes);
        return Ok(());
    };
    if inner.is_empty() {
        return layer.push(bytes, allowed, out);
    }
    let mut between = Vec::new();
    layer.push(bytes, allowed, &mut between)?;
    push(inner, &between, allowed, out)
}

/// Takes what a library decodes, and no more than is allowed.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    allowed: u64,
    over: bool,
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len() as u64;
        if len > self.allowed {
            self.over = true;
            return Err(io::Error::other("over the limit"));
        }
        self.allowed -= len;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The machine of one coding.
enum Machine {
    /// The first bytes have yet to tell how to go on.
    Begin(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Room>>),
    Zlib(Box<ZlibDecoder<Room>>),
    Deflate(Box<DeflateDecoder<Room>>),
    Br(Box<brotli::DecompressorWriter<Room>>),
    Zstd(Box<ZstdDecoder<'static, Room>>),
}

struct Layer {
    coding: Coding,
    limits: CodingLimits,
    machine: Machine,
    /// Whether it has been given a byte.
    has_begun: bool,
    given: u64,
    given_for_piece: u64,
}

impl Layer {
    fn new(coding: Coding, limits: CodingLimits) -> Layer {
        Layer {
            coding,
            limits,
            machine: Machine::Begin(Vec::new()),
            has_begun: false,
            given: 0,
            given_for_piece: 0,
        }
    }

    /// Chooses the machine by the first bytes; true once it is chosen.
    fn begin(&mut self, end: bool) -> Result<bool, CodingError> {
        let Machine::Begin(start) = &self.machine else { return Ok(true) };
        let needed = if self.coding == Coding::Deflate && !end { 2 } else { 1 };
        if start.len() < needed {
            return Ok(false);
        }
        let room = Room::default();
        let window = self.limits.window_log_max;
        let too_large = CodingError(CodingErrorKind::Limit("the window of a content coding"));
        self.machine = match self.coding {
            Coding::Gzip => Machine::Gzip(Box::new(MultiGzDecoder::new(room))),
            Coding::Deflate if is_zlib(start) => Machine::Zlib(Box::new(ZlibDecoder::new(room))),
            Coding::Deflate | Coding::RawDeflate => {
                self.coding = Coding::RawDeflate;
                Machine::Deflate(Box::new(DeflateDecoder::new(room)))
            }
            Coding::Br => {
                if br_window_log(start.first().copied().unwrap_or(0)).is_none_or(|log| log > window) {
                    return Err(too_large);
                }
                Machine::Br(Box::new(brotli::DecompressorWriter::new(room, PIECE_BYTES)))
            }
            Coding::Zstd => {
                let made = RawZstd::new().and_then(|mut raw| {
                    raw.set_parameter(DParameter::WindowLogMax(window))?;
                    Ok(ZstdDecoder::with_decoder(room, raw))
                });
                Machine::Zstd(Box::new(made.map_err(|_| too_large)?))
            }
        };
        Ok(true)
    }

    /// Takes bytes; `allowed` is what it may have given after them.
    fn push(&mut self, bytes: &[u8], allowed: u64, out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.has_begun |= !bytes.is_empty();
        if let Machine::Begin(start) = &mut self.machine {
            start.extend_from_slice(bytes);
            let start = start.clone();
            return if self.begin(false)? { self.run(&start, allowed, out) } else { Ok(()) };
        }
        self.run(bytes, allowed, out)
    }

    fn finish(&mut self, allowed: u64, out: &mut Vec<u8>) -> Result<(), CodingError> {
        if !self.has_begun {
            return Ok(());
        }
        if let Machine::Begin(start) = &self.machine {
            let start = start.clone();
            self.begin(true)?;
            self.run(&start, allowed, out)?;
        }
        self.allow(allowed);
        let done = match &mut self.machine {
            Machine::Begin(_) => Ok(()),
            Machine::Gzip(machine) => machine.try_finish(),
            Machine::Zlib(machine) => machine.try_finish(),
            Machine::Deflate(machine) => machine.try_finish(),
            Machine::Br(machine) => machine.close(),
            Machine::Zstd(machine) => machine.do_finish(),
        };
        self.settle(done, out)
    }

    fn run(&mut self, bytes: &[u8], allowed: u64, out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.allow(allowed);
        let done = match &mut self.machine {
            Machine::Begin(_) => Ok(()),
            Machine::Gzip(machine) => run(&mut **machine, bytes),
            Machine::Zlib(machine) => run(&mut **machine, bytes),
            Machine::Deflate(machine) => run(&mut **machine, bytes),
            Machine::Br(machine) => run(&mut **machine, bytes),
            Machine::Zstd(machine) => run(&mut **machine, bytes),
        };
        self.settle(done, out)
    }

    fn room(&mut self) -> Option<&mut Room> {
        match &mut self.machine {
            Machine::Begin(_) => None,
            Machine::Gzip(machine) => Some(machine.get_mut()),
            Machine::Zlib(machine) => Some(machine.get_mut()),
            Machine::Deflate(machine) => Some(machine.get_mut()),
            Machine::Br(machine) => Some(machine.get_mut()),
            Machine::Zstd(machine) => Some(machine.get_mut()),
        }
    }

    /// Makes room up to what it may have given.
    fn allow(&mut self, allowed: u64) {
        let room_left = allowed.saturating_sub(self.given);
        let of_piece = PIECE_OUTPUT_BYTES_MAX.saturating_sub(self.given_for_piece);
        if let Some(room) = self.room() {
            room.allowed = room_left.min(of_piece);
        }
    }

    fn settle(&mut self, done: io::Result<()>, out: &mut Vec<u8>) -> Result<(), CodingError> {
        let Some(room) = self.room() else { return Ok(()) };
        let over = room.over;
        let given = room.bytes.len() as u64;
        out.append(&mut room.bytes);
        self.given += given;
        self.given_for_piece += given;
        match done {
            Ok(()) if !over => Ok(()),
            _ if over => Err(CodingError(CodingErrorKind::Limit("output to input of a content coding"))),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CodingError(CodingErrorKind::Invalid("the coded body ends too early")))
            }
            _ => Err(CodingError(CodingErrorKind::Invalid("the body is not valid in its content coding"))),
        }
    }
}

fn run(machine: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    machine.write_all(bytes)?;
    machine.flush()
}

/// Whether data begins with a header of zlib (RFC 1950, section 2.2), which bare DEFLATE data does once in a thousand:
/// that is refused by its check value.
fn is_zlib(start: &[u8]) -> bool {
    let [cmf, flg, ..] = *start else { return false };
    cmf & 0x0F == 8 && cmf >> 4 <= 7 && (u16::from(cmf) << 8 | u16::from(flg)) % 31 == 0
}

/// The logarithm of the window of a stream of `br` by its first byte (RFC 7932, section 9.1); `None` for what the RFC
/// does not define, such as large windows.
fn br_window_log(first: u8) -> Option<u32> {
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => Some(16),
        (_, n @ 1..=7, _) => Some(17 + u32::from(n)),
        (_, _, 0) => Some(17),
        (_, _, 1) => None,
        (_, _, m) => Some(8 + u32::from(m)),
    }
}
