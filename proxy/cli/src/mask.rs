//! `sluice mask`: a pipe.
//!
//! It adds to the engine's own work as little as there can be: the input is read ahead on a thread of its own
//! ([`ReadAhead`]) into buffers that are used again; the engine appends to one buffer, and that is what the kernel
//! gets, with no buffer of the standard library in between. `cargo bench -p sluice --bench pipe` measures it.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sluice_engine::{
    CompileOptions, FormatError, Masker, MaskerOptions, OnError, Ruleset, Scratch, Strategy, TokenKey,
};
use sluice_patterns::PackSet;

use crate::args::{FormatArg, MaskArgs, PackArgs};
use crate::failure::Failure;
use crate::read_ahead::ReadAhead;
use crate::terminal::{tell, unwritable};

/// Least bytes that are asked of one read; a smaller `--chunk` is cut from it. Chosen by `cargo bench -p sluice
/// --bench pipe`: with less, threads wait for each other too often; with more, nothing is won.
const READ_BYTES_MIN: usize = 256 * 1024;
/// Masked bytes that are written at once, if the read has more of them; few enough to be still in a core's cache.
const WRITE_BYTES: usize = 64 * 1024;
/// Where a token key is looked for besides the flag.
const TOKEN_KEY_VARIABLE: &str = "SLUICE_TOKEN_KEY";

/// Loads and compiles packs.
pub(crate) fn compile(packs: &PackArgs, options: &CompileOptions) -> Result<Arc<Ruleset>, Failure> {
    let set = PackSet::load(&packs.packs).map_err(Failure::faults)?;
    set.compile(options).map_err(Failure::faults)
}

pub(crate) fn run(args: &MaskArgs) -> Result<u8, Failure> {
    let token_key = token_key(args)?;
    if args.strategy == Some(Strategy::Token) && token_key.is_none() {
        return Err(Failure::usage(format!(
            "the strategy token needs a key: give --token-key-file, or set {TOKEN_KEY_VARIABLE}"
        )));
    }
    let options = CompileOptions { strategy: args.strategy.clone(), token_key, ..CompileOptions::default() };
    let ruleset = compile(&args.packs, &options)?;
    let on_error = match args.format {
        // What is no message may have been taken for numbers up to where that shows, values cut there.
        FormatArg::OtlpProto => OnError::Block,
        _ => args.on_error.into(),
    };
    let options = MaskerOptions { on_error, ..MaskerOptions::default() };
    let (input, name) = open(args.file.as_deref())?;
    let mut pipe = Pipe {
        masker: Masker::new(&ruleset, args.format.into(), options),
        scratch: Scratch::new(),
        // Not `Stdout`, which looks for line ends and copies what follows the last one.
        output: io::stdout().as_fd().try_clone_to_owned().map_err(unwritable)?.into(),
        masked: Vec::new(),
        counts: vec![0; ruleset.names().count()],
        bytes_in: 0,
        bytes_out: 0,
    };
    let started = Instant::now();
    let result = pipe.pump(input, args.chunk);
    if args.stats {
        pipe.print(&ruleset, started);
    }
    match result {
        Ok(()) => Ok(0),
        // Whoever read the output has enough.
        Err(Broken::Write(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(0),
        Err(Broken::Write(e)) => Err(unwritable(e)),
        Err(Broken::Read(e)) => Err(Failure::work(format!("{name}: {e}"))),
        Err(Broken::Format(e)) => {
            let is_text = !matches!(args.format, FormatArg::OtlpProto | FormatArg::Grpc);
            let hint = if is_text { " (--on-error text scans the rest as text)" } else { "" };
            Err(Failure::work(format!("{name}: {e}; nothing after it was written{hint}")))
        }
    }
}

fn token_key(args: &MaskArgs) -> Result<Option<TokenKey>, Failure> {
    let bytes = match &args.token_key_file {
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
            Some(bytes.trim_ascii_end().to_vec())
        }
        None => std::env::var_os(TOKEN_KEY_VARIABLE).map(|v| v.into_encoded_bytes()),
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let short = || Failure::usage(format!("a token key has at least {} bytes", TokenKey::BYTES_MIN));
    TokenKey::new(bytes).map(Some).ok_or_else(short)
}

/// The input and its name in messages.
fn open(file: Option<&Path>) -> Result<(File, String), Failure> {
    match file.filter(|path| path.as_os_str() != "-") {
        None => {
            let name = "standard input".to_owned();
            // Not `Stdin`, which reads into a buffer of its own.
            let input = io::stdin().as_fd().try_clone_to_owned();
            Ok((input.map_err(|e| Failure::work(format!("{name}: {e}")))?.into(), name))
        }
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|e| Failure::usage(format!("{name}: {e}")))?;
            Ok((file, name))
        }
    }
}

struct Pipe {
    masker: Masker,
    scratch: Scratch,
    output: File,
    /// What may leave and has not yet.
    masked: Vec<u8>,
    /// Findings by rule.
    counts: Vec<u64>,
    bytes_in: u64,
    bytes_out: u64,
}

enum Broken {
    Read(io::Error),
    Write(io::Error),
    Format(FormatError),
}

impl Pipe {
    /// What one read gave is masked `chunk` bytes at a time and written before the next is looked at, so that a
    /// pause in the input holds nothing back that could leave.
    fn pump(&mut self, input: File, chunk: usize) -> Result<(), Broken> {
        let input = ReadAhead::start(input, READ_BYTES_MIN.next_multiple_of(chunk)).map_err(Broken::Read)?;
        while let Some(filled) = input.next().map_err(Broken::Read)? {
            self.bytes_in += filled.bytes().len() as u64;
            for bytes in filled.bytes().chunks(chunk) {
                let pushed = self.masker.push(&mut self.scratch, bytes, &mut self.masked);
                if pushed.is_err() || self.masked.len() >= WRITE_BYTES {
                    self.write()?;
                }
                pushed.map_err(Broken::Format)?;
            }
            input.give_back(filled);
            self.write()?;
        }
        let finished = self.masker.finish(&mut self.scratch, &mut self.masked);
        self.write()?;
        finished.map_err(Broken::Format)
    }

    fn write(&mut self) -> Result<(), Broken> {
        for finding in self.masker.take_findings() {
            if let Some(count) = self.counts.get_mut(finding.rule.0 as usize) {
                *count += 1;
            }
        }
        self.bytes_out += self.masked.len() as u64;
        self.output.write_all(&self.masked).map_err(Broken::Write)?;
        self.masked.clear();
        Ok(())
    }

    fn print(&self, ruleset: &Ruleset, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        let mut counts: Vec<(u64, &str)> =
            self.counts.iter().zip(ruleset.names()).map(|(n, name)| (*n, name.id)).collect();
        counts.retain(|(n, _)| *n > 0);
        counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        for (count, rule) in &counts {
            tell(format_args!("{count:>10}  {rule}"));
        }
        let total: u64 = counts.iter().map(|(n, _)| n).sum();
        let speed = self.bytes_in as f64 / seconds.max(1e-9) / 1e6;
        tell(format_args!("{total:>10}  matches"));
        tell(format_args!("{:>10}  bytes in", self.bytes_in));
        tell(format_args!("{:>10}  bytes out", self.bytes_out));
        tell(format_args!("{seconds:>10.3}  seconds"));
        tell(format_args!("{speed:>10.1}  MB/s"));
    }
}
