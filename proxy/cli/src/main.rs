//! The `sluice` command.
#![forbid(unsafe_code)]
// They panic where the reader has left: see `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod approvals;
mod args;
mod audit;
mod check;
mod demo;
mod failure;
mod mask;
mod pack;
mod read_ahead;
mod running;
mod scan;
mod serve;
mod sessions;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Rulesets are many small tables: backed by huge pages they take twice the memory for no gain that was measured.
    // A kernel without the setting serves all the same.
    let _ = nix_process::sys::prctl::set_thp_disable(true);
    let args = args::Args::parse();
    let terminal = terminal::Terminal::new(args.color, args.quiet);
    let done = match args.command {
        args::Command::Mask(mask) => mask::run(&mask),
        args::Command::Scan(scan) => scan::run(&scan, &terminal),
        args::Command::Pack(pack) => pack::run(&pack, &terminal),
        args::Command::Check(check) => check::run(&check),
        args::Command::Serve(serve) => serve::run(serve, &terminal),
        args::Command::Sessions(command) => sessions::run(&command),
        args::Command::Audit(command) => audit::run(&command, &terminal),
        args::Command::Approvals(approvals) => approvals::run(&approvals, &terminal),
        args::Command::Demo(demo) => demo::run(&demo, &terminal),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}
