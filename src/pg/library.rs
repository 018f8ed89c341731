//! Which version the library is, and whether the objects of this database are of the same.
//!
//! # Protocol
//! Files are replaced, the server is started again, and `alter extension … update` runs, each at a moment of its own: for
//! a while library and objects may be of two versions. Meanwhile nothing of ours reads or writes tables: it is refused
//! with `55000`, before any effect ([`CORE`], [`CONVERSATIONS`]). So no code meets rows of another version than its own. What
//! an application writes into tables of conversations by itself, their triggers in SQL take at any time.
//!
//! A session asks the catalog once, and again when it hears of a script. Every script begins with [`begin_script`]. That
//! refuses a library that is older than the script, announces it, and takes the platform's lock to the end of its
//! transaction. In the locked mode each charge has that lock too: one that was under way has ended before the script
//! goes on, and one that waited asks anew, after it has handled messages (`admission/locked.rs`). In escrow all processes
//! have one library, and there is no charge under way that the script has to wait for: before it none was admitted. A
//! transaction that has read a table, and then charges, may meet the script the other way round: `40P01` for one of them.

use std::ffi::CStr;
use std::hint::black_box;

use pgrx::{FromDatum, pg_sys};

use super::announcing;
use super::invalidation::{SCRIPT, Watch};
use super::lock::{LockTarget, Strength};
use crate::error::{Error, Result};

/// The version, as the file itself tells it: `strings pg_tollgate.so | grep 'pg_tollgate library'`.
static MARK: &str = concat!("pg_tollgate library ", env!("CARGO_PKG_VERSION"));

/// The library's version. It is read from the mark, so that the file says what holds.
fn version() -> &'static str {
    black_box(MARK).rsplit(' ').next().unwrap_or_default()
}

/// One of the extensions that have this library, as far as the session knows it.
pub struct Objects {
    extension: &'static CStr,
    /// Held while the objects are known to be of the library's version.
    known: Watch,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for Objects {}

pub static CORE: Objects = Objects { extension: c"pg_tollgate", known: Watch::new() };
pub static CONVERSATIONS: Objects = Objects { extension: c"pg_tollgate_conversations", known: Watch::new() };

impl Objects {
    /// Refuses to go on with objects of another version. A script of the extension itself may use them as they are.
    #[inline]
    pub fn require_own_version(&'static self) -> Result<()> {
        if self.known.holds() { Ok(()) } else { self.ask() }
    }

    #[cold]
    fn ask(&'static self) -> Result<()> {
        if is_script_of(self.extension) {
            return Ok(());
        }
        self.known.begin(SCRIPT.into());
        let outcome = match version_of(self.extension) {
            Some(found) if found != version() => Err(differs(self.extension, &found)),
            _ => Ok(()),
        };
        if outcome.is_err() {
            self.known.end();
        }
        outcome
    }
}

/// Raises what [`Objects::require_own_version`] finds.
#[inline]
pub fn require_own_version() {
    CORE.require_own_version().unwrap_or_else(|error| error.raise());
}

/// Whether a script of the extension is running.
fn is_script_of(extension: &CStr) -> bool {
    // SAFETY: in a transaction; reads variables of the process, and looks a name up in the catalog.
    unsafe {
        pg_sys::creating_extension
            && pg_sys::get_extension_oid(extension.as_ptr(), true) == pg_sys::CurrentExtensionObject
    }
}

fn differs(extension: &CStr, found: &str) -> Error {
    let own = version();
    let hint = if is_older(own, found) {
        "Connect again. Where the library is preloaded, restart the server."
    } else {
        "Run alter extension … update in this database, for pg_tollgate first."
    };
    let extension = extension.to_string_lossy();
    Error::OtherVersion { message: format!("{extension} is {found} in this database, and the library is {own}"), hint }
}

/// Called by every script of an extension of ours, first of all.
pub fn begin_script(of: &str) -> Result<()> {
    // What the second calls in the first fits one version of it, or a later one until it is upgraded in turn.
    if is_script_of(CONVERSATIONS.extension)
        && let Some(core) = version_of(CORE.extension)
        && is_older(&core, of)
    {
        return Err(Error::OtherVersion {
            message: format!("pg_tollgate_conversations {of} does not fit pg_tollgate {core}"),
            hint: "Run alter extension pg_tollgate update first.",
        });
    }
    let own = version();
    if is_older(own, of) {
        return Err(Error::OtherVersion {
            message: format!("the script is of pg_tollgate {of}, and the library is {own}"),
            hint: "Install the library of that version and connect again. Where it is preloaded, restart the server.",
        });
    }
    LockTarget::Platform.lock(Strength::Exclusive);
    announcing::send(SCRIPT);
    Ok(())
}

/// By the numbers of the versions; one that is not of numbers is older than all.
fn is_older(version: &str, than: &str) -> bool {
    numbers(version) < numbers(than)
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|number| number.parse().ok()).collect()
}

/// The version of the objects of an extension, where it is there.
fn version_of(extension: &CStr) -> Option<String> {
    // SAFETY: in a transaction; the name lives as long as the scan, and the row is read before the scan ends.
    unsafe {
        let lock = pg_sys::AccessShareLock.cast_signed();
        let relation = pg_sys::table_open(pg_sys::ExtensionRelationId, lock);
        let mut key = pg_sys::ScanKeyData::default();
        let (column, equal) = (pg_sys::Anum_pg_extension_extname, pg_sys::BTEqualStrategyNumber);
        let name = pg_sys::Datum::from(extension.as_ptr());
        pg_sys::ScanKeyInit(&raw mut key, column as i16, equal as u16, pg_sys::F_NAMEEQ.into(), name);
        let index = pg_sys::Oid::from(pg_sys::ExtensionNameIndexId);
        let scan = pg_sys::systable_beginscan(relation, index, true, std::ptr::null_mut(), 1, &raw mut key);
        let row = pg_sys::systable_getnext(scan);
        let version = (!row.is_null()).then(|| {
            let (column, mut is_null) = (pg_sys::Anum_pg_extension_extversion.cast_signed(), true);
            let datum = pg_sys::SPI_getbinval(row, (*relation).rd_att, column, &raw mut is_null);
            String::from_datum(datum, is_null)
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
        version.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_ends_with_the_version() {
        assert_eq!(version(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (older, newer) in
            [("0.1.0", "0.2.0"), ("0.9.0", "0.10.0"), ("0.1.9", "1.0.0"), ("0.1", "0.1.0"), ("x", "0.1.0")]
        {
            assert!(is_older(older, newer) && !is_older(newer, older), "{older} {newer}");
        }
        assert!(!is_older("0.1.0", "0.1.0"));
    }
}
