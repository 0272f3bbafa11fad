//! `sluice check`: a configuration, resolved.

use sluice_control::Config;

use crate::args::CheckArgs;
use crate::failure::Failure;
use crate::terminal::{print, tell};

pub(crate) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let config = Config::read(&args.config).map_err(Failure::faults)?;
    config.warnings.iter().for_each(tell);
    print(config.to_toml().trim_end())?;
    Ok(0)
}
