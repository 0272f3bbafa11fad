//! Hyperscan 5.4 (or Vectorscan), by the few calls of its C interface that are needed (`hs/hs.h`), behind a safe API.
//!
//! A [`Database`] is a list of expressions, compiled; a [`Room`] is the memory to search with it. The engine finds windows
//! with it where [`CompileOptions::hyperscan`](crate::CompileOptions::hyperscan) says so, in one call a piece
//! ([`Mode::Block`]); the bench `engine` measures it beside ours ([`Mode::Stream`]).
//!
//! # Invariants
//! * A database is never written to after it was compiled: threads share it. It is freed once.
//! * A room is used by one call at a time, for it is borrowed exclusively, and only once it was made to fit the database of
//!   that call. It is freed once.
//! * A stream lives within one call of [`Database::scan_chunks`], and is closed on every way out.
//! * The callback gets a pointer to the closure that the call borrows, and nothing else touches it meanwhile. A closure that
//!   panics ends the process, for a panic does not pass through C.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

const SUCCESS: c_int = 0;
const FLAG_SOM_LEFTMOST: c_uint = 256;
const MODE_BLOCK: c_uint = 1;
const MODE_STREAM: c_uint = 2;
/// Starts are told however far back they are.
const MODE_SOM_HORIZON_LARGE: c_uint = 1 << 24;
/// Bits of `cpu_features`.
const FEATURES: [(c_ulonglong, &str); 3] = [(1 << 2, "AVX2"), (1 << 3, "AVX-512"), (1 << 4, "AVX-512 VBMI")];

/// A type of Hyperscan's that is only ever behind a pointer.
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

/// `hs_compile_error_t`.
#[repr(C)]
struct CompileError {
    message: *const c_char,
    expression: c_int,
}

/// `hs_platform_info_t`.
#[repr(C)]
#[derive(Default)]
struct Platform {
    tune: c_uint,
    cpu_features: c_ulonglong,
    reserved1: c_ulonglong,
    reserved2: c_ulonglong,
}

/// `match_event_handler`.
type OnMatch = unsafe extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

#[link(name = "hs")]
unsafe extern "C" {
    fn hs_version() -> *const c_char;
    fn hs_populate_platform(platform: *mut Platform) -> c_int;
    fn hs_compile_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        elements: c_uint,
        mode: c_uint,
        platform: *const Platform,
        database: *mut *mut Opaque,
        error: *mut *mut CompileError,
    ) -> c_int;
    fn hs_free_compile_error(error: *mut CompileError) -> c_int;
    fn hs_database_size(database: *const Opaque, size: *mut usize) -> c_int;
    fn hs_free_database(database: *mut Opaque) -> c_int;
    fn hs_alloc_scratch(database: *const Opaque, scratch: *mut *mut Opaque) -> c_int;
    fn hs_free_scratch(scratch: *mut Opaque) -> c_int;
    fn hs_scan(
        database: *const Opaque,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut Opaque,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
    fn hs_open_stream(database: *const Opaque, flags: c_uint, stream: *mut *mut Opaque) -> c_int;
    fn hs_scan_stream(
        stream: *mut Opaque,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut Opaque,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
    fn hs_close_stream(
        stream: *mut Opaque,
        scratch: *mut Opaque,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
}

/// How a database is scanned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Texts that are there as a whole; the ends of matches are told, and nothing of their starts.
    Block,
    /// Texts in chunks; the leftmost start of every end is told.
    Stream,
}

/// A match: of several ends of one expression, each is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Index of the expression.
    pub expression: u32,
    /// Its first byte; 0 with [`Mode::Block`].
    pub start: u64,
    /// The byte after its last.
    pub end: u64,
}

/// Hyperscan refused the expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which one, where it is one.
    pub expression: Option<usize>,
    /// In its own words.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hyperscan: {}", self.reason)
    }
}

impl std::error::Error for Refused {}

/// A scan gave up: what it told by then may be a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    status: c_int,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hyperscan gave up with status {}", self.status)
    }
}

impl std::error::Error for ScanError {}

fn check(status: c_int) -> Result<(), ScanError> {
    if status == SUCCESS { Ok(()) } else { Err(ScanError { status }) }
}

/// Expressions, compiled: immutable, shared by all threads.
pub struct Database {
    database: NonNull<Opaque>,
    /// Of no other database of this process, not even one that is gone.
    number: u64,
}

// SAFETY: a database is plain memory without ties to a thread, and no call writes to it but the one that frees it
// ("databases are immutable, and can be shared between threads", Hyperscan's developer reference).
unsafe impl Send for Database {}
// SAFETY: as above.
unsafe impl Sync for Database {}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

impl Database {
    /// Compiles PCRE expressions, of bytes and without flags.
    ///
    /// # Errors
    /// When one, or all together, can't be compiled, or this machine is none that Hyperscan runs on.
    pub fn compile(expressions: &[CString], mode: Mode) -> Result<Database, Refused> {
        let pointers: Vec<*const c_char> = expressions.iter().map(|text| text.as_ptr()).collect();
        let (mode, flags) = match mode {
            Mode::Block => (MODE_BLOCK, 0),
            Mode::Stream => (MODE_STREAM | MODE_SOM_HORIZON_LARGE, FLAG_SOM_LEFTMOST),
        };
        let flags = vec![flags; expressions.len()];
        let ids: Vec<c_uint> = (0..).take(expressions.len()).collect();
        // As many as there are identifiers, should there be more than those can count.
        let count = ids.len() as c_uint;
        let (mut database, mut error) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the three lists have `count` elements each at least and outlive the call, as do the strings, which end
        // with a NUL; a null platform is this machine.
        let status = unsafe {
            hs_compile_multi(
                pointers.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                count,
                mode,
                ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        if let (SUCCESS, Some(database)) = (status, NonNull::new(database)) {
            static DATABASES: AtomicU64 = AtomicU64::new(0);
            return Ok(Database { database, number: DATABASES.fetch_add(1, Ordering::Relaxed) });
        }
        if error.is_null() {
            return Err(Refused { expression: None, reason: format!("hs_compile_multi gave {status}") });
        }
        // SAFETY: on failure Hyperscan gives an error with a message, which is ours to free once.
        unsafe {
            let reason = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
            let expression = usize::try_from((*error).expression).ok();
            hs_free_compile_error(error);
            Err(Refused { expression, reason })
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let mut size = 0;
        // SAFETY: the database is valid as long as `self` is.
        unsafe { hs_database_size(self.database.as_ptr(), &raw mut size) };
        size
    }

    /// Scans a text as a whole; matches come in the order of their ends.
    ///
    /// # Errors
    /// When the database is of another [`Mode`] than [`Mode::Block`], the text has 4 GiB, or there is no memory left.
    pub fn scan<F: FnMut(Match)>(
        &self,
        room: &mut Room,
        text: &[u8],
        mut on_match: F,
    ) -> Result<(), ScanError> {
        let scratch = room.fit(self)?;
        let (data, length) = parts(text)?;
        let context = (&raw mut on_match).cast::<c_void>();
        // SAFETY: the database is valid as long as `self` is, the scratch fits it and is used by no other call, `data` is
        // readable for `length` bytes, and `context` is the `F` that `tell` wants.
        check(unsafe {
            hs_scan(self.database.as_ptr(), data, length, 0, scratch.as_ptr(), tell::<F>, context)
        })
    }

    /// Scans the chunks of a text as one stream; matches come in the order of their ends.
    ///
    /// # Errors
    /// When the database is of another [`Mode`] than [`Mode::Stream`], a chunk has 4 GiB, or there is no memory left.
    pub fn scan_chunks<'a, F: FnMut(Match)>(
        &self,
        room: &mut Room,
        chunks: impl IntoIterator<Item = &'a [u8]>,
        mut on_match: F,
    ) -> Result<(), ScanError> {
        let scratch = room.fit(self)?;
        let context = (&raw mut on_match).cast::<c_void>();
        let mut stream = ptr::null_mut();
        // SAFETY: the database is valid as long as `self` is.
        check(unsafe { hs_open_stream(self.database.as_ptr(), 0, &raw mut stream) })?;
        let mut scanned = Ok(());
        for chunk in chunks {
            scanned = parts(chunk).and_then(|(data, length)| {
                // SAFETY: the stream is open and of this database, the scratch fits it and is used by no other call,
                // `data` is readable for `length` bytes, and `context` is the `F` that `tell` wants.
                check(unsafe {
                    hs_scan_stream(stream, data, length, 0, scratch.as_ptr(), tell::<F>, context)
                })
            });
            if scanned.is_err() {
                break;
            }
        }
        // SAFETY: as above; the stream is not used again.
        let closed = check(unsafe { hs_close_stream(stream, scratch.as_ptr(), tell::<F>, context) });
        scanned.and(closed)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: it is ours, no call uses it, and it is not used again.
        unsafe { hs_free_database(self.database.as_ptr()) };
    }
}

/// A text as Hyperscan takes it.
fn parts(text: &[u8]) -> Result<(*const c_char, c_uint), ScanError> {
    /// `HS_INVALID`.
    const INVALID: c_int = -1;
    let length = c_uint::try_from(text.len()).map_err(|_| ScanError { status: INVALID })?;
    Ok((text.as_ptr().cast::<c_char>(), length))
}

/// Hands a match to the closure behind `context`; 0 goes on.
///
/// # Safety
/// `context` points to an `F` that nothing else refers to.
unsafe extern "C" fn tell<F: FnMut(Match)>(
    id: c_uint,
    from: c_ulonglong,
    to: c_ulonglong,
    _flags: c_uint,
    context: *mut c_void,
) -> c_int {
    // SAFETY: the calls that scan pass a pointer to their own `F`, and do not use it until they return.
    let on_match = unsafe { &mut *context.cast::<F>() };
    on_match(Match { expression: id, start: from, end: to });
    0
}

/// Memory to search with, for any database: one a thread. Grows when it is used with a larger one.
#[derive(Default)]
pub struct Room {
    scratch: Option<NonNull<Opaque>>,
    /// The databases that it was made to fit last, by number: asking Hyperscan costs a check of the whole database.
    fits: Vec<u64>,
}

/// Databases that a room remembers to fit.
const FITS_MAX: usize = 16;

// SAFETY: a scratch is plain memory without ties to a thread; it may be used by any, one at a time.
unsafe impl Send for Room {}
// SAFETY: nothing can be done with a shared room.
unsafe impl Sync for Room {}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl Room {
    /// The scratch, large enough for the database.
    fn fit(&mut self, database: &Database) -> Result<NonNull<Opaque>, ScanError> {
        if let Some(scratch) = self.scratch
            && self.fits.contains(&database.number)
        {
            return Ok(scratch);
        }
        let mut scratch = self.scratch.map_or(ptr::null_mut(), NonNull::as_ptr);
        // SAFETY: the database is valid; the scratch is ours and used by no call, or null: then a new one is allocated.
        // Else it becomes one that fits what it did and the database; where that fails it is null, or as it was.
        let status = unsafe { hs_alloc_scratch(database.database.as_ptr(), &raw mut scratch) };
        self.scratch = NonNull::new(scratch);
        let Some(scratch) = self.scratch.filter(|_| status == SUCCESS) else {
            self.fits.clear();
            return Err(ScanError { status });
        };
        if self.fits.len() == FITS_MAX {
            self.fits.remove(0);
        }
        self.fits.push(database.number);
        Ok(scratch)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch {
            // SAFETY: it is ours, no call uses it, and it is not used again.
            unsafe { hs_free_scratch(scratch.as_ptr()) };
        }
    }
}

/// The library's version, and what it may use of this machine.
#[must_use]
pub fn describe() -> String {
    let mut platform = Platform::default();
    // SAFETY: the version is a static string; the platform is written to.
    let (version, status) =
        unsafe { (CStr::from_ptr(hs_version()).to_string_lossy(), hs_populate_platform(&raw mut platform)) };
    let has = FEATURES.iter().filter(|(bit, _)| platform.cpu_features & bit != 0).map(|(_, name)| *name);
    let has: Vec<&str> = has.collect();
    let has = if status == SUCCESS { has.join(", ") } else { "nothing known".into() };
    format!("Hyperscan {version}; on this machine it has {has}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(expressions: &[&str], mode: Mode) -> Result<Database, Refused> {
        let expressions: Vec<CString> = expressions.iter().map(|text| CString::new(*text).unwrap()).collect();
        Database::compile(&expressions, mode)
    }

    fn ends(database: &Database, room: &mut Room, text: &[u8]) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        database.scan(room, text, |m| found.push((m.expression, m.end))).unwrap();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_block_tells_every_end_and_a_stream_the_starts() {
        let mut room = Room::default();
        let block = database(&["[a][b]", "[\\x00-\\xff][b]", "x{2}"], Mode::Block).unwrap();
        assert_eq!(ends(&block, &mut room, b"ab\xffbb"), [(0, 2), (1, 2), (1, 4), (1, 5)]);
        assert_eq!(ends(&block, &mut room, b""), []);
        let stream = database(&["ab+"], Mode::Stream).unwrap();
        let mut found = Vec::new();
        let chunks: [&[u8]; 3] = [b"xa", b"", b"bb"];
        stream.scan_chunks(&mut room, chunks, |m| found.push((m.start, m.end))).unwrap();
        assert_eq!(found, [(1, 3), (1, 4)]);
        assert!(block.memory_bytes() > 0 && describe().contains('.'));
    }

    #[test]
    fn one_room_serves_databases_of_all_sizes_in_turn() {
        let sizes = [3, 60, 1, 20];
        let make = |size: &usize| {
            let texts: Vec<String> = (0..*size).map(|n| format!("[0-9]{{3}}k{n:03}[a-f]{{4}}")).collect();
            database(&texts.iter().map(String::as_str).collect::<Vec<_>>(), Mode::Block).unwrap()
        };
        let mut databases: Vec<Database> = sizes.iter().map(make).collect();
        let mut room = Room::default();
        // More than a room remembers.
        for round in 0..3 * FITS_MAX {
            for (database, size) in databases.iter().zip(sizes) {
                let text = format!("--123k{:03}abcd--", size - 1);
                assert_eq!(ends(database, &mut room, text.as_bytes()), [(size as u32 - 1, 13)]);
            }
            // A database that is gone leaves nothing behind: another may be where it was.
            let index = round % sizes.len();
            databases[index] = make(&sizes[index]);
        }
        assert_eq!(room.fits.len(), FITS_MAX);
    }

    #[test]
    fn threads_share_a_database() {
        let database = database(&["[a-c]{3}[0-9]"], Mode::Block).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let database = &database;
                scope.spawn(move || {
                    let mut room = Room::default();
                    let text = "-".repeat(thread) + "abc1";
                    for _ in 0..1000 {
                        assert_eq!(ends(database, &mut room, text.as_bytes()), [(0, 4 + thread as u64)]);
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_refused_says_which_and_why() {
        let refused = database(&["ab", "a("], Mode::Block).unwrap_err();
        assert_eq!(refused.expression, Some(1));
        assert!(refused.to_string().starts_with("Hyperscan: "), "{refused}");
        assert_eq!(database(&[], Mode::Block).unwrap_err().expression, None);
    }

    #[test]
    fn another_mode_is_an_error_and_the_room_is_good_afterwards() {
        let (block, stream) = (database(&["ab"], Mode::Block), database(&["ab"], Mode::Stream));
        let (block, stream) = (block.unwrap(), stream.unwrap());
        let mut room = Room::default();
        assert!(stream.scan(&mut room, b"ab", |_| ()).is_err());
        assert!(block.scan_chunks(&mut room, [&b"ab"[..]], |_| ()).is_err());
        assert_eq!(ends(&block, &mut room, b"ab"), [(0, 2)]);
    }
}
