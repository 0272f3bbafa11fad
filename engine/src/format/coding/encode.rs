//! Encodes a stack of codings as the body goes out.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use zstd::stream::write::Encoder as ZstdEncoder;

use super::{Coding, CodingError, CodingErrorKind, Codings};

/// Fast levels: the body was compressed before, and what is gained a second time is little.
const BR_QUALITY: u32 = 2;
/// 256 KiB: what `br` of that quality makes use of.
const BR_WINDOW_LOG: u32 = 18;
const ZSTD_LEVEL: i32 = 1;
/// Room that `br` writes from.
const BUFFER_BYTES: usize = 4096;

/// Encodes one body as it streams.
pub struct Encoder {
    /// Innermost coding first.
    layers: Vec<Layer>,
    codings: Codings,
}

enum Layer {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zlib(Box<ZlibEncoder<Vec<u8>>>),
    Deflate(Box<DeflateEncoder<Vec<u8>>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
    Failed,
}

/// What a layer does with what it has been given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    More,
    Flush,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("codings", &self.codings).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder at the start of a body.
    #[must_use]
    pub fn new(codings: &Codings) -> Encoder {
        Encoder { layers: codings.list().iter().map(|c| Layer::new(*c)).collect(), codings: codings.clone() }
    }

    /// Takes the next bytes; appends to `out` what leaves by now, which may be nothing.
    ///
    /// # Errors
    /// The library failed, which happens where it gets no memory.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        run(&mut self.layers, bytes, Until::More, out)
    }

    /// Appends all that was given so far, so that the other side can decode it.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        run(&mut self.layers, b"", Until::Flush, out)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), CodingError> {
        let mut bytes = Vec::new();
        for layer in self.layers {
            bytes = layer.finish(&bytes).map_err(failed)?;
        }
        out.extend_from_slice(&bytes);
        Ok(())
    }
}

fn failed(_: io::Error) -> CodingError {
    CodingError(CodingErrorKind::Invalid("the content can't be encoded"))
}

fn run(layers: &mut [Layer], bytes: &[u8], until: Until, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let Some((layer, outer)) = layers.split_first_mut() else {
        out.extend_from_slice(bytes);
        return Ok(());
    };
    let coded = layer.run(bytes, until).map_err(failed)?;
    run(outer, &coded, until, out)
}

impl Layer {
    fn new(coding: Coding) -> Layer {
        let room = Vec::new();
        match coding {
            Coding::Gzip => Layer::Gzip(Box::new(GzEncoder::new(room, Compression::fast()))),
            Coding::Deflate => Layer::Zlib(Box::new(ZlibEncoder::new(room, Compression::fast()))),
            Coding::RawDeflate => Layer::Deflate(Box::new(DeflateEncoder::new(room, Compression::fast()))),
            Coding::Br => {
                let made = brotli::CompressorWriter::new(room, BUFFER_BYTES, BR_QUALITY, BR_WINDOW_LOG);
                Layer::Br(Box::new(made))
            }
            Coding::Zstd => {
                ZstdEncoder::new(room, ZSTD_LEVEL).map_or(Layer::Failed, |made| Layer::Zstd(Box::new(made)))
            }
        }
    }

    fn run(&mut self, bytes: &[u8], until: Until) -> io::Result<Vec<u8>> {
        fn run(machine: &mut impl Write, bytes: &[u8], until: Until) -> io::Result<()> {
            machine.write_all(bytes)?;
            if until == Until::Flush { machine.flush() } else { Ok(()) }
        }
        let room = match self {
            Layer::Gzip(machine) => {
                run(&mut **machine, bytes, until)?;
                machine.get_mut()
            }
            Layer::Zlib(machine) => {
                run(&mut **machine, bytes, until)?;
                machine.get_mut()
            }
            Layer::Deflate(machine) => {
                run(&mut **machine, bytes, until)?;
                machine.get_mut()
            }
            Layer::Br(machine) => {
                run(&mut **machine, bytes, until)?;
                machine.get_mut()
            }
            Layer::Zstd(machine) => {
                run(&mut **machine, bytes, until)?;
                machine.get_mut()
            }
            Layer::Failed => return Err(io::Error::other("no machine")),
        };
        Ok(std::mem::take(room))
    }

    fn finish(mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut coded = self.run(bytes, Until::More)?;
        let rest = match self {
            Layer::Gzip(machine) => machine.finish()?,
            Layer::Zlib(machine) => machine.finish()?,
            Layer::Deflate(machine) => machine.finish()?,
            Layer::Br(machine) => machine.into_inner(),
            Layer::Zstd(machine) => machine.finish()?,
            Layer::Failed => return Err(io::Error::other("no machine")),
        };
        coded.extend_from_slice(&rest);
        Ok(coded)
    }
}
