//! What the writer asks of a disk: few things, so that tests can let each of them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Makes and opens files.
pub(crate) trait Disk: Send {
    /// A new file; an error where there is one already.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A file that may be there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Makes names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// Writes a file.
pub(crate) trait DiskFile: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

/// The system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemDisk;

/// Only its owner reads the record.
const MODE: u32 = 0o600;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)?;
        Ok(Box::new(file))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}
