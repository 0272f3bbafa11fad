//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sluice_data::{IoDriver, ResponseCoding, UpstreamUrl};
use sluice_engine::{Format, OnError, Schema, Strategy};
use sluice_patterns::import::Dialect;

use crate::approvals::ApprovalsArgs;
use crate::terminal::Color;

mod record;

pub(crate) use record::{
    AuditCommand, ExportArgs, ListArgs, RecordArgs, RecordKeyArgs, ReplayArgs, RetainArgs, SessionsCommand,
    VerdictArg, VerifyArgs,
};

/// Masks secrets and personal data while they stream: in a pipe, in files, and as a gateway before LLM endpoints.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    /// Colours in output for people
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// No notes and no progress on standard error
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mask(MaskArgs),
    Scan(ScanArgs),
    #[command(subcommand)]
    Pack(PackCommand),
    Serve(ServeArgs),
    Check(CheckArgs),
    Approvals(ApprovalsArgs),
    #[command(subcommand)]
    Policy(PolicyCommand),
    #[command(subcommand)]
    Sessions(SessionsCommand),
    #[command(subcommand)]
    Audit(AuditCommand),
    Demo(DemoArgs),
}

/// Packs of rules.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// A pack: a TOML file, a built pack, or builtin:NAME; may be given again [default: builtin:secrets and builtin:pii]
    #[arg(long = "pack", value_name = "P")]
    pub(crate) packs: Vec<String>,
}

/// Mask standard input, or FILE, to standard output while it streams, in constant memory.
///
/// Exit: 0 done; 1 the input is not valid for its format (what was written by then is masked); 2 usage.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tail -f app.log | sluice mask\n  sluice mask --format json --stats < body.json > masked.json\n  SLUICE_TOKEN_KEY=$(cat key) sluice mask --strategy token traces.jsonl"
)]
pub(crate) struct MaskArgs {
    #[command(flatten)]
    pub(crate) packs: PackArgs,
    /// How the input carries its texts; auto tells by its first bytes and then refuses nothing
    #[arg(long, value_enum, default_value_t = FormatArg::Auto, value_name = "F")]
    pub(crate) format: FormatArg,
    /// What stands for a value, in place of each rule's own: label, fill, drop, token, keep:FIRST,LAST, constant:TEXT
    #[arg(long, value_name = "S")]
    pub(crate) strategy: Option<Strategy>,
    /// Feed N bytes at a time; the output does not depend on it
    #[arg(long, value_name = "N", default_value_t = 256 * 1024, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1 << 30))]
    pub(crate) chunk: usize,
    /// What happens to input that is not valid in its format
    #[arg(long, value_enum, default_value_t = OnErrorArg::Block, value_name = "WHAT")]
    pub(crate) on_error: OnErrorArg,
    /// Key of the strategy `token`, at least 16 bytes (or in the environment: SLUICE_TOKEN_KEY)
    #[arg(long, value_name = "F")]
    pub(crate) token_key_file: Option<PathBuf>,
    /// Counts by rule, bytes, seconds and MB/s on standard error
    #[arg(long)]
    pub(crate) stats: bool,
    /// The input; none or `-`: standard input
    pub(crate) file: Option<PathBuf>,
}

/// Find values in files and directories; JSON Lines on standard output, never the value itself.
///
/// Directories are walked like ripgrep does: .gitignore and .ignore count, hidden files are left out. Lines and
/// columns begin at 1; a column counts bytes.
///
/// Exit: 0 done; 3 with --fail, when something was found; 2 usage, or a file could not be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  sluice scan src/ --fail\n  git diff | sluice scan -")]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    pub(crate) packs: PackArgs,
    /// How the files carry their texts
    #[arg(long, value_enum, default_value_t = FormatArg::Auto, value_name = "F")]
    pub(crate) format: FormatArg,
    /// Exit 3 when something was found
    #[arg(long)]
    pub(crate) fail: bool,
    /// Files and directories; `-`: standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Packs of rules: list, check, test, score, build, sign, import, explain.
#[derive(Debug, Subcommand)]
pub(crate) enum PackCommand {
    /// List the built-in packs
    List,
    /// Validate packs: each fault as file:line: reason, exit 2
    Check {
        /// A TOML file, a built pack, or builtin:NAME
        #[arg(required = true, value_name = "P")]
        packs: Vec<String>,
    },
    /// Run the examples in packs; exit 1 when one does not hold
    Test {
        /// Run them again whenever a file changes, until Ctrl-C
        #[arg(long)]
        watch: bool,
        /// A TOML file, a built pack, or builtin:NAME
        #[arg(required = true, value_name = "P")]
        packs: Vec<String>,
    },
    Score(ScoreArgs),
    Import(ImportArgs),
    /// Compile packs to one file that loads in milliseconds; it is for the sluice that built it
    Build {
        /// A TOML file, a built pack, or builtin:NAME
        #[arg(required = true, value_name = "P")]
        packs: Vec<String>,
        /// The file to write
        #[arg(long, short, value_name = "OUT")]
        out: PathBuf,
        /// Sign it with this Ed25519 private key, PEM (PKCS #8)
        #[arg(long, value_name = "KEY")]
        sign_key: Option<PathBuf>,
    },
    /// Sign a built pack, in place of a signature that it has
    Sign {
        /// A built pack
        #[arg(value_name = "BUILT")]
        pack: PathBuf,
        /// An Ed25519 private key, PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` makes it
        #[arg(long, value_name = "KEY")]
        key: PathBuf,
        /// The file to write [default: the pack itself]
        #[arg(long, short, value_name = "OUT")]
        out: Option<PathBuf>,
    },
    /// Hash values, one a line of standard input, for a pack's `[[allow]]`; the values are not kept
    Hash {
        /// At least 8 bytes as digits of hex [default: 16 random bytes]
        #[arg(long, value_name = "HEX")]
        salt: Option<String>,
    },
    /// Print the JSON Schema of a pack, for editors
    Schema,
    /// Say step by step why TEXT does or does not match a rule; never shows the value
    Explain {
        /// A TOML file, a built pack, or builtin:NAME
        #[arg(value_name = "P")]
        pack: String,
        /// The rule
        #[arg(long, value_name = "ID")]
        rule: String,
        /// The text; `-`: standard input, at most 1 MiB
        text: String,
    },
}

/// How well packs find what a labelled corpus says that there is: precision, recall and F1, overall and by category.
///
/// CORPUS is a file of labelled rows (JSON Lines) or a folder: its *.jsonl, and files without any value in clean/.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sluice pack score ../shared/corpus/dev.jsonl\n  sluice pack score --diff old.toml new.toml corpus/"
)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) packs: PackArgs,
    /// Write what was found, a JSON object a row: `{"id","spans":[[start,end,rule]…]}`
    #[arg(long, value_name = "OUT")]
    pub(crate) predictions: Option<PathBuf>,
    /// Matches gained and lost from OLD to NEW: packs, or files of predictions (*.jsonl)
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["packs", "predictions", "json"])]
    pub(crate) diff: Vec<String>,
    /// All counts as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// All categories, not only the worst
    #[arg(long)]
    pub(crate) categories: bool,
    /// Leave out negative rows that another rule set flags
    #[arg(long)]
    pub(crate) no_contested: bool,
    /// Labelled rows
    #[arg(value_name = "CORPUS")]
    pub(crate) corpus: PathBuf,
}

/// Carry the rules of another tool over to a pack; each rule that can't be carried is named with the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice pack import --from gitleaks gitleaks.toml -o gitleaks-pack.toml")]
pub(crate) struct ImportArgs {
    /// Whose rules they are
    #[arg(long, value_enum, value_name = "TOOL")]
    pub(crate) from: DialectArg,
    /// A file of rules (TOML, YAML, JSON, Python), or a folder of them
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The pack to write
    #[arg(long, short, value_name = "P")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DialectArg {
    /// gitleaks.toml, or a JSON list of its rules
    Gitleaks,
    /// YAML or JSON
    Kingfisher,
    /// YAML or JSON
    #[value(name = "noseyparker")]
    NoseyParker,
    /// Python source, or YAML or JSON of declared rules
    Presidio,
}

impl From<DialectArg> for Dialect {
    fn from(dialect: DialectArg) -> Dialect {
        match dialect {
            DialectArg::Gitleaks => Dialect::Gitleaks,
            DialectArg::Kingfisher => Dialect::Kingfisher,
            DialectArg::NoseyParker => Dialect::NoseyParker,
            DialectArg::Presidio => Dialect::Presidio,
        }
    }
}

/// What a configuration file says itself.
const FLAGS_OF_ONE_ROUTE: &[&str] = &[
    "listen",
    "upstream",
    "packs",
    "admin",
    "shards",
    "tls_cert",
    "tls_key",
    "upstream_ca",
    "io",
    "drain_seconds",
    "body_bytes_max",
    "connections_max",
    "on_error",
    "response_coding",
    "coding_ratio_max",
    "coded_bodies_max",
    "upstream_seconds_max",
    "allow_anonymous",
    "record",
];

/// Run the gateway, masking both ways: as FILE says, or everything from ADDR to URL.
///
/// SIGTERM and SIGINT drain: nothing new is accepted, what runs may finish; a second one ends at once. SIGHUP
/// reads the configuration and the packs again; one fault, and nothing changes. SIGUSR2 starts the program anew on the
/// same sockets and drains.
///
/// Exit: 0 after a drain; 2 usage, or a bad configuration or pack, each fault as file:line: reason.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sluice serve --config sluice.toml\n  sluice serve --listen 127.0.0.1:8080 --upstream https://api.openai.com --admin 127.0.0.1:9090 --allow-anonymous\n  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python app.py"
)]
pub(crate) struct ServeArgs {
    /// Where clients connect; port 0: one that is free
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where everything goes: http://HOST:PORT/PATH or https://… (port and path may be left out)
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<UpstreamUrl>,
    #[command(flatten)]
    pub(crate) packs: PackArgs,
    /// Where the admin server listens: health, metrics, console
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// Threads that serve, each pinned to a core [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) shards: Option<u16>,
    /// Certificate chain of the listener, PEM
    #[arg(long, value_name = "F", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the listener, PEM
    #[arg(long, value_name = "F", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Roots trusted for an https upstream, PEM, in place of the system's
    #[arg(long, value_name = "F")]
    pub(crate) upstream_ca: Option<PathBuf>,
    /// How sockets are driven
    #[arg(long, value_enum, default_value_t = IoArg::Auto)]
    pub(crate) io: IoArg,
    /// Seconds that running exchanges get to finish in a drain
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) drain_seconds: u64,
    /// Largest request body, in bytes [default: no limit; bodies are never held whole]
    #[arg(long, value_name = "N")]
    pub(crate) body_bytes_max: Option<u64>,
    /// Connections that a shard serves at once; one more is answered with `overloaded` [default: 16384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections_max: Option<u32>,
    /// What happens to a body that is not valid in its declared format, either way
    #[arg(long, value_enum, default_value_t = OnErrorArg::Block, value_name = "WHAT")]
    pub(crate) on_error: OnErrorArg,
    /// How an answer leaves that came with a content coding
    #[arg(long, value_enum, default_value_t = ResponseCodingArg::Same, value_name = "WHICH")]
    pub(crate) response_coding: ResponseCodingArg,
    /// Bytes that a byte of a coded body may decode to, after the first MiB [default: 250]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) coding_ratio_max: Option<u32>,
    /// Coded bodies that a shard has in work at once; one more is answered with `overloaded` [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) coded_bodies_max: Option<u32>,
    /// Seconds that the upstream gets to answer, and between two reads of its answer [default: 600]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) upstream_seconds_max: Option<u32>,
    /// Serve callers whose identity nobody proves
    #[arg(long)]
    pub(crate) allow_anonymous: bool,
    /// The gateway from a file, in place of all flags (`sluice check` tells what is wrong with it)
    #[arg(long, value_name = "FILE", conflicts_with_all = FLAGS_OF_ONE_ROUTE)]
    pub(crate) config: Option<PathBuf>,
    /// Record every exchange in DIR, masked, signed, on disk before it goes upstream
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
}

/// Print a configuration with every default, as TOML that is a configuration itself.
///
/// Everything that it names is read: packs are compiled, TLS files loaded. Nothing is bound, and nobody is asked.
///
/// Exit: 0 it holds no fault; 2 each fault as file:line: reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluice check --config sluice.toml")]
pub(crate) struct CheckArgs {
    /// The file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Policies: check, test, explain.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Validate files of policies, as one set: each fault as file:line: reason, exit 2
    Check {
        /// TOML files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run cases, and name the policies that none was decided by; exit 1 when one does not hold
    Test {
        /// The gateway's configuration, which names the policies
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Fail where a policy is covered by no case
        #[arg(long)]
        covered: bool,
        /// A TOML file of cases
        cases: PathBuf,
    },
    /// Print what is decided of a request, and of each policy why it does or does not match
    Explain {
        /// The gateway's configuration, which names the policies
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// A request in JSON; `-`: standard input
        request: PathBuf,
    },
}

/// Try it: a fake LLM and a fake trace store, the gateway before them, and the console, all on this machine.
///
/// Prints lines to try. Exit: 0 on Ctrl-C.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the gateway listens [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the fake LLM and trace store listen [default: 127.0.0.1:8081, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) llm: Option<SocketAddr>,
    /// Where the admin server and console listen [default: 127.0.0.1:9090, or a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) packs: PackArgs,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) shards: Option<u16>,
    /// How sockets are driven
    #[arg(long, value_enum, default_value_t = IoArg::Auto)]
    pub(crate) io: IoArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// By the first bytes
    Auto,
    /// One text, any bytes
    Text,
    /// One JSON value
    Json,
    /// JSON values, one a line
    Ndjson,
    /// Server-sent events, LLM deltas joined
    Sse,
    /// application/x-www-form-urlencoded
    Form,
    /// OTLP in JSON
    OtlpJson,
    /// One message of OTLP in protobuf; replacements are of equal length
    OtlpProto,
    /// gRPC messages, uncompressed; replacements are of equal length
    Grpc,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Auto => Format::Auto,
            FormatArg::Text => Format::Text,
            FormatArg::Json | FormatArg::OtlpJson => Format::Json,
            FormatArg::Ndjson => Format::Ndjson,
            FormatArg::Sse => Format::Sse,
            FormatArg::Form => Format::Form,
            FormatArg::OtlpProto => Format::Protobuf(Schema::Otlp),
            FormatArg::Grpc => Format::Grpc { schema: Schema::Unknown, coding: None },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnErrorArg {
    /// Nothing more leaves: `mask` exits with 1, `serve` refuses or breaks off
    Block,
    /// The rest is scanned as text, but for protobuf, gRPC and event streams, which are always blocked
    Text,
}

impl From<OnErrorArg> for OnError {
    fn from(on_error: OnErrorArg) -> OnError {
        match on_error {
            OnErrorArg::Block => OnError::Block,
            OnErrorArg::Text => OnError::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResponseCodingArg {
    /// With that coding; without, where the client takes no such coding
    Same,
    /// Without, where the client takes that: less time, more network
    Identity,
}

impl From<ResponseCodingArg> for ResponseCoding {
    fn from(coding: ResponseCodingArg) -> ResponseCoding {
        match coding {
            ResponseCodingArg::Same => ResponseCoding::Same,
            ResponseCodingArg::Identity => ResponseCoding::Identity,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoArg {
    /// io_uring where the kernel allows it, else epoll
    Auto,
    /// io_uring
    Uring,
    /// epoll
    Epoll,
}

impl From<IoArg> for IoDriver {
    fn from(io: IoArg) -> IoDriver {
        match io {
            IoArg::Auto => IoDriver::Auto,
            IoArg::Uring => IoDriver::Uring,
            IoArg::Epoll => IoDriver::Epoll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_file_is_given_in_place_of_all_flags() {
        let serve = Args::command().find_subcommand("serve").unwrap().clone();
        for flag in serve.get_arguments().map(|a| a.get_id().as_str()) {
            let is_own = matches!(flag, "config" | "help" | "version" | "color" | "quiet");
            assert!(is_own || FLAGS_OF_ONE_ROUTE.contains(&flag), "{flag} is ignored beside --config");
        }
    }

    #[test]
    fn what_parses() {
        for (line, ok) in [
            ("sluice mask", true),
            ("sluice mask --chunk 1 --stats -", true),
            ("sluice mask --chunk 0", false),
            ("sluice mask --strategy keep:1,2", true),
            ("sluice mask --strategy hide", false),
            ("sluice mask --format xml", false),
            ("sluice scan", false),
            ("sluice scan --fail . -", true),
            ("sluice pack check", false),
            ("sluice pack explain p --rule r text", true),
            ("sluice pack explain p text", false),
            ("sluice pack import --from noseyparker f -o p", true),
            ("sluice pack import --from trufflehog f -o p", false),
            ("sluice pack score --diff a b c", true),
            ("sluice pack score --diff a b --pack p c", false),
            ("sluice pack score", false),
            ("sluice pack sign b", false),
            ("sluice serve --listen 127.0.0.1:0 --upstream http://h --allow-anonymous", true),
            ("sluice serve --listen 127.0.0.1 --upstream http://h", false),
            ("sluice serve --upstream ftp://h", false),
            ("sluice serve --connections-max 1 --upstream-seconds-max 1", true),
            ("sluice serve --connections-max 0", false),
            ("sluice serve --upstream-seconds-max 0", false),
            ("sluice serve --on-error text --response-coding identity --coding-ratio-max 9", true),
            ("sluice serve --coding-ratio-max 0", false),
            ("sluice serve --coded-bodies-max 0", false),
            ("sluice serve --tls-cert c", false),
            ("sluice serve --config f --quiet", true),
            ("sluice serve --config f --listen 127.0.0.1:0", false),
            ("sluice serve --config f --io auto", false),
            ("sluice serve --config f --allow-anonymous", false),
            ("sluice approvals list --group dba --json", true),
            ("sluice approvals list --limit 0", false),
            ("sluice approvals show 3f --admin http://h", true),
            ("sluice approvals approve 3f --reason r", true),
            ("sluice approvals approve 3f", false),
            ("sluice approvals revoke", false),
            ("sluice check", false),
            ("sluice check --config f", true),
            ("sluice policy check", false),
            ("sluice policy check a.toml b.toml", true),
            ("sluice policy test --config f", false),
            ("sluice policy test --config f --covered cases.toml", true),
            ("sluice policy explain --config f -", true),
            ("sluice policy explain request.json", false),
            ("sluice demo --quiet --color never", true),
            ("sluice", false),
        ] {
            assert_eq!(Args::try_parse_from(line.split(' ')).is_ok(), ok, "{line}");
        }
    }
}
