//! `sluice mask`: a pipe.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sluice_engine::{
    CompileOptions, FormatError, Masker, MaskerOptions, OnError, RuleId, Ruleset, Scratch, Strategy, TokenKey,
};
use sluice_patterns::PackSet;

use crate::args::{MaskArgs, OnErrorArg, PackArgs};
use crate::failure::Failure;

/// Where a token key is looked for besides the flag.
const TOKEN_KEY_VARIABLE: &str = "SLUICE_TOKEN_KEY";

/// Loads and compiles packs.
pub(crate) fn compile(packs: &PackArgs, options: &CompileOptions) -> Result<Arc<Ruleset>, Failure> {
    let set = PackSet::load(&packs.packs).map_err(Failure::faults)?;
    set.compile(options).map_err(Failure::faults)
}

pub(crate) fn run(args: &MaskArgs) -> Result<u8, Failure> {
    let format = args.format.format().map_err(Failure::usage)?;
    let token_key = token_key(args)?;
    if args.strategy == Some(Strategy::Token) && token_key.is_none() {
        return Err(Failure::usage(format!(
            "the strategy token needs a key: give --token-key-file, or set {TOKEN_KEY_VARIABLE}"
        )));
    }
    let options = CompileOptions { strategy: args.strategy.clone(), token_key, ..CompileOptions::default() };
    let ruleset = compile(&args.packs, &options)?;
    let on_error = match args.on_error {
        OnErrorArg::Block => OnError::Block,
        OnErrorArg::Text => OnError::Text,
    };
    let (mut input, name) = open(args.file.as_deref())?;
    let mut pipe = Pipe {
        masker: Masker::new(&ruleset, format, MaskerOptions { on_error, strategy: None }),
        scratch: Scratch::new(),
        counts: BTreeMap::new(),
        out: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
    };
    let started = Instant::now();
    let result = pipe.pump(&mut input, args.chunk);
    if args.stats {
        pipe.print(&ruleset, started);
    }
    match result {
        Ok(()) => Ok(0),
        // Whoever read the output has enough.
        Err(Broken::Write(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(0),
        Err(Broken::Write(e)) => Err(Failure::work(format!("can't write the output: {e}"))),
        Err(Broken::Read(e)) => Err(Failure::work(format!("{name}: {e}"))),
        Err(Broken::Format(e)) => Err(Failure::work(format!(
            "{name}: {e}; nothing after it was written (--on-error text scans the rest as text)"
        ))),
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
fn open(file: Option<&Path>) -> Result<(Box<dyn Read>, String), Failure> {
    match file {
        None => Ok((Box::new(io::stdin()), "standard input".into())),
        Some(path) if path.as_os_str() == "-" => Ok((Box::new(io::stdin()), "standard input".into())),
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|e| Failure::usage(format!("{name}: {e}")))?;
            Ok((Box::new(file), name))
        }
    }
}

struct Pipe {
    masker: Masker,
    scratch: Scratch,
    counts: BTreeMap<RuleId, u64>,
    out: Vec<u8>,
    bytes_in: u64,
    bytes_out: u64,
}

enum Broken {
    Read(io::Error),
    Write(io::Error),
    Format(FormatError),
}

impl Pipe {
    /// Each read is masked and written before the next, so that a pause in the input holds nothing back that
    /// could leave.
    fn pump(&mut self, input: &mut dyn Read, chunk: usize) -> Result<(), Broken> {
        let mut output = io::stdout().lock();
        let mut buffer = vec![0; chunk];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Broken::Read(e)),
            };
            self.bytes_in += read as u64;
            let taken = buffer.get(..read).unwrap_or_default();
            let pushed = self.masker.push(&mut self.scratch, taken, &mut self.out);
            self.write(&mut output)?;
            pushed.map_err(Broken::Format)?;
        }
        let finished = self.masker.finish(&mut self.scratch, &mut self.out);
        self.write(&mut output)?;
        finished.map_err(Broken::Format)
    }

    fn write(&mut self, output: &mut impl Write) -> Result<(), Broken> {
        for finding in self.masker.take_findings() {
            *self.counts.entry(finding.rule).or_default() += 1;
        }
        self.bytes_out += self.out.len() as u64;
        output.write_all(&self.out).and_then(|()| output.flush()).map_err(Broken::Write)?;
        self.out.clear();
        Ok(())
    }

    fn print(&self, ruleset: &Ruleset, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        let mut counts: Vec<(u64, &str)> =
            self.counts.iter().map(|(id, n)| (*n, ruleset.rule(*id).map_or("", |r| r.id.as_str()))).collect();
        counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        for (count, rule) in &counts {
            eprintln!("{count:>10}  {rule}");
        }
        let total: u64 = counts.iter().map(|(n, _)| n).sum();
        let speed = self.bytes_in as f64 / seconds.max(1e-9) / 1e6;
        eprintln!("{total:>10}  matches");
        eprintln!("{:>10}  bytes in", self.bytes_in);
        eprintln!("{:>10}  bytes out", self.bytes_out);
        eprintln!("{seconds:>10.3}  seconds");
        eprintln!("{speed:>10.1}  MB/s");
    }
}
