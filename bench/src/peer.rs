//! The peer: Hyperscan 5.4 in streaming mode, by the few calls of its C interface that are needed (`hs/hs.h`).
//!
//! It gets the expressions that ours gets, as [`sluice_bench::pcre`] spells them, each with the start of its match
//! (`HS_FLAG_SOM_LEFTMOST`), and no other flag: bytes, no Unicode, `.` and `$` spelled out. It tells matches and copies
//! nothing, which is less than ours does.
//!
//! # Invariants
//! * A [`Hyperscan`] owns its database and its scratch, which was allocated for that database; both are freed once.
//! * A stream lives within one call of `scan`, and is closed on every way out.
//! * The callback gets a pointer to the collector that `scan` borrows for as long as the stream lives, and nothing else
//!   touches it meanwhile.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::ptr;

use sluice_bench::contender::{Contender, Match};
use sluice_bench::import::{Imported, Refused};
use sluice_bench::pcre;

const SUCCESS: c_int = 0;
const FLAG_SOM_LEFTMOST: c_uint = 256;
const MODE_STREAM: c_uint = 2;
/// Starts are told however far back they are.
const MODE_SOM_HORIZON_LARGE: c_uint = 1 << 24;
const MODE: c_uint = MODE_STREAM | MODE_SOM_HORIZON_LARGE;
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

/// Hyperscan refused the expressions.
#[derive(Debug)]
pub(crate) struct PeerError {
    /// Which one, where it is one.
    expression: Option<usize>,
    reason: String,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer: {}", self.reason)
    }
}

impl std::error::Error for PeerError {}

/// Compiled rules, and the memory to search with them.
pub(crate) struct Hyperscan {
    database: *mut Opaque,
    scratch: *mut Opaque,
}

/// What takes matches from the callback.
trait Collect {
    fn take(&mut self, found: Match);
}

impl Collect for u64 {
    fn take(&mut self, _found: Match) {
        *self += 1;
    }
}

impl Collect for Vec<Match> {
    fn take(&mut self, found: Match) {
        self.push(found);
    }
}

/// Hands a match to the collector behind `context`; 0 goes on.
///
/// # Safety
/// `context` points to a `C` that nothing else refers to.
unsafe extern "C" fn on_match<C: Collect>(
    id: c_uint,
    from: c_ulonglong,
    to: c_ulonglong,
    _flags: c_uint,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `scan` passes its exclusive borrow of a `C`, and does not use it until the call returns.
    let collector = unsafe { &mut *context.cast::<C>() };
    collector.take(Match { rule: id, start: from, end: to });
    0
}

impl Hyperscan {
    /// Compiles all rules into one database.
    ///
    /// # Errors
    /// When one, or all together, can't be compiled.
    pub(crate) fn compile(rules: &[Imported]) -> Result<Hyperscan, PeerError> {
        let mut spelled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let error = |reason: String| PeerError { expression: Some(index), reason };
            let text = pcre::spell(&rule.expression).map_err(error)?;
            spelled.push(CString::new(text).map_err(|e| error(e.to_string()))?);
        }
        let database = compile_database(&spelled)?;
        let mut scratch = ptr::null_mut();
        // SAFETY: the database was just compiled, and `scratch` is null: a new one is allocated.
        let status = unsafe { hs_alloc_scratch(database, &raw mut scratch) };
        let built = Hyperscan { database, scratch };
        if status == SUCCESS {
            return Ok(built);
        }
        Err(PeerError { expression: None, reason: format!("hs_alloc_scratch gave {status}") })
    }

    /// Scans the document as one stream.
    fn scan<C: Collect>(&mut self, document: &[u8], chunk: usize, collector: &mut C) {
        let context = ptr::from_mut(collector).cast::<c_void>();
        let mut stream = ptr::null_mut();
        // SAFETY: the database is valid as long as `self` is.
        let opened = unsafe { hs_open_stream(self.database, 0, &raw mut stream) };
        assert_eq!(opened, SUCCESS, "hs_open_stream");
        let mut scanned = SUCCESS;
        for part in document.chunks(chunk) {
            let length = c_uint::try_from(part.len()).expect("a chunk is shorter than 4 GiB");
            // SAFETY: the stream is open and of this database, the scratch is of this database and used by no other
            // call, `part` is readable for `length` bytes, and `context` is the `C` that `on_match` wants.
            scanned = unsafe {
                let data = part.as_ptr().cast::<c_char>();
                hs_scan_stream(stream, data, length, 0, self.scratch, on_match::<C>, context)
            };
            if scanned != SUCCESS {
                break;
            }
        }
        // SAFETY: as above; the stream is not used again.
        let closed = unsafe { hs_close_stream(stream, self.scratch, on_match::<C>, context) };
        assert_eq!((scanned, closed), (SUCCESS, SUCCESS), "hs_scan_stream, hs_close_stream");
    }
}

fn compile_database(spelled: &[CString]) -> Result<*mut Opaque, PeerError> {
    let pointers: Vec<*const c_char> = spelled.iter().map(|text| text.as_ptr()).collect();
    let flags = vec![FLAG_SOM_LEFTMOST; spelled.len()];
    let count = c_uint::try_from(spelled.len()).expect("fewer than 4 billion rules");
    let ids: Vec<c_uint> = (0..count).collect();
    let (mut database, mut error) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the three lists have `count` elements each and outlive the call, as do the strings; a null platform is
    // this machine.
    let status = unsafe {
        hs_compile_multi(
            pointers.as_ptr(),
            flags.as_ptr(),
            ids.as_ptr(),
            count,
            MODE,
            ptr::null(),
            &raw mut database,
            &raw mut error,
        )
    };
    if status == SUCCESS {
        return Ok(database);
    }
    if error.is_null() {
        return Err(PeerError { expression: None, reason: format!("hs_compile_multi gave {status}") });
    }
    // SAFETY: on failure Hyperscan gives an error with a message, which is ours to free once.
    unsafe {
        let reason = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
        let expression = usize::try_from((*error).expression).ok();
        hs_free_compile_error(error);
        Err(PeerError { expression, reason })
    }
}

impl Drop for Hyperscan {
    fn drop(&mut self) {
        // SAFETY: both are ours, and no stream is open. Null is allowed.
        unsafe {
            hs_free_scratch(self.scratch);
            hs_free_database(self.database);
        }
    }
}

impl Contender for Hyperscan {
    fn name(&self) -> &str {
        "hyperscan"
    }

    fn count(&mut self, document: &[u8], chunk: usize) -> u64 {
        let mut count = 0;
        self.scan(document, chunk, &mut count);
        count
    }

    fn matches(&mut self, document: &[u8], chunk: usize) -> Vec<Match> {
        let mut matches = Vec::new();
        self.scan(document, chunk, &mut matches);
        matches
    }

    fn memory_bytes(&self) -> usize {
        let mut size = 0;
        // SAFETY: the database is valid.
        unsafe { hs_database_size(self.database, &raw mut size) };
        size
    }
}

/// Takes out the rules that the peer refuses, alone or with the others, and tells them.
pub(crate) fn keep(rules: Vec<Imported>) -> (Vec<Imported>, Vec<Refused>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for rule in rules {
        match Hyperscan::compile(std::slice::from_ref(&rule)) {
            Ok(_) => kept.push(rule),
            Err(error) => refused.push(Refused { id: rule.id, reason: error.to_string() }),
        }
    }
    while let Err(error) = Hyperscan::compile(&kept) {
        // Without a culprit, compiling all of them reports the same later.
        let Some(index) = error.expression.filter(|index| *index < kept.len()) else { break };
        let rule = kept.remove(index);
        refused.push(Refused { id: rule.id, reason: format!("{error} (with the others)") });
    }
    (kept, refused)
}

/// Its version, and what it may use of this machine.
pub(crate) fn describe() -> String {
    let mut platform = Platform::default();
    // SAFETY: the version is a static string; the platform is written to.
    let (version, status) =
        unsafe { (CStr::from_ptr(hs_version()).to_string_lossy(), hs_populate_platform(&raw mut platform)) };
    let has = FEATURES.iter().filter(|(bit, _)| platform.cpu_features & bit != 0).map(|(_, name)| *name);
    let has: Vec<&str> = has.collect();
    let has = if status == SUCCESS { has.join(", ") } else { "nothing known".into() };
    format!(
        "peer: Hyperscan {version}, streaming, leftmost starts, large horizon; on this machine it has {has}"
    )
}
