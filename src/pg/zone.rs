//! Time zones from Postgres' own database, the same that `at time zone` reads.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::CString;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use tollgate_core::period::Zone;

/// A time zone that Postgres has loaded; it keeps each one for the life of the backend.
pub struct PostgresZone(*mut pg_sys::pg_tz);

impl PostgresZone {
    pub fn named(name: &str) -> Result<Self> {
        let unknown = || Error::invalid(format!("unknown time zone \"{name}\""));
        let name = CString::new(name).map_err(|_| unknown())?;
        // SAFETY: takes a C string and gives a cached zone or null.
        let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
        if zone.is_null() { Err(unknown()) } else { Ok(Self(zone)) }
    }

    /// The zone, or UTC where the server's database has lost it since the quota was made: costs must still be recorded.
    pub fn named_or_utc(name: &str) -> Result<Self> {
        Self::named(name).or_else(|_| Self::named("UTC"))
    }
}

impl Zone for PostgresZone {
    fn offset_at(&self, unix_seconds: i64) -> i32 {
        // SAFETY: the zone is loaded. The result points to a static that is read at once. It is null when the moment
        // cannot be expressed, which is far outside what a period is asked for.
        unsafe {
            let local = pg_sys::pg_localtime(&raw const unix_seconds, self.0);
            if local.is_null() { 0 } else { i32::try_from((*local).tm_gmtoff).unwrap_or(0) }
        }
    }
}

thread_local! {
    /// Names found before: the list is a walk through the zone files, the answer never changes within a server's life.
    static KNOWN: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// Whether the name is one of the IANA names that `pg_timezone_names` lists, spelled as there.
pub fn is_iana_name(name: &str) -> bool {
    if KNOWN.with_borrow(|known| known.contains(name)) {
        return true;
    }
    let found = Enumeration::start().any(|listed| listed == name);
    if found {
        KNOWN.with_borrow_mut(|known| known.insert(name.to_owned()));
    }
    found
}

/// Every name in the zone files, in no particular order.
struct Enumeration(*mut pg_sys::pg_tzenum);

impl Enumeration {
    fn start() -> Self {
        // SAFETY: opens the zone directory; closed on drop.
        Self(unsafe { pg_sys::pg_tzenumerate_start() })
    }
}

impl Iterator for Enumeration {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // SAFETY: the enumeration is open; the zone and its name live until the next step.
        unsafe {
            let zone = pg_sys::pg_tzenumerate_next(self.0);
            if zone.is_null() {
                return None;
            }
            let name = pg_sys::pg_get_timezone_name(zone);
            Some(std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }
}

impl Drop for Enumeration {
    fn drop(&mut self) {
        // SAFETY: opened in start and closed once.
        unsafe { pg_sys::pg_tzenumerate_end(self.0) }
    }
}
