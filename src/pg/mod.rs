//! The thin shell around Postgres: arguments and results, SPI, locks, identity, time zones. All `unsafe` lives here.

pub mod activity;
pub mod announcing;
pub mod background;
pub mod call;
pub mod drop_guard;
pub mod duplicate;
mod heap;
pub mod identity;
pub mod invalidation;
pub mod jsonb;
pub mod jsonb_node;
pub mod jsonb_value;
pub mod jsonb_writer;
pub mod library;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod numeric;
pub mod queue;
pub mod row_set;
pub mod shape;
pub mod spi;
pub mod stored_settings;
pub mod table;
pub mod transaction;
pub mod value;
pub mod zone;

/// Microseconds since 2000-01-01 00:00 UTC, Postgres' own `timestamptz`.
pub type Timestamp = i64;

/// The nil UUID: the platform where a tenant stands, no particular user where a user stands.
pub fn nil() -> pgrx::Uuid {
    pgrx::Uuid::from_bytes([0; 16])
}

/// Seconds between the Unix epoch and Postgres' epoch, 2000-01-01 00:00 UTC.
const POSTGRES_EPOCH_UNIX_SECONDS: i64 = 946_684_800;

/// The wall clock now. Never the transaction's start: a long transaction must not write into an old period.
pub fn clock_timestamp() -> Timestamp {
    // SAFETY: reads the system clock; no Postgres state is touched.
    unsafe { pgrx::pg_sys::GetCurrentTimestamp() }
}

/// The oid of the database that this backend is in.
pub fn own_database() -> u32 {
    // SAFETY: set once when the backend chose its database.
    unsafe { pgrx::pg_sys::MyDatabaseId }.to_u32()
}

/// Whole seconds since the Unix epoch, rounded down.
pub fn to_unix_seconds(at: Timestamp) -> i64 {
    at.div_euclid(1_000_000) + POSTGRES_EPOCH_UNIX_SECONDS
}

pub fn from_unix_seconds(seconds: i64) -> Timestamp {
    seconds.saturating_sub(POSTGRES_EPOCH_UNIX_SECONDS).saturating_mul(1_000_000)
}

thread_local! {
    /// The state of SplitMix64 (Steele, Lea and Flood 2014), begun with 64 bits of the system's randomness.
    static RANDOM: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// 64 bits that no other backend gives, nor this one again: for names, not for secrets.
pub fn random_bits() -> u64 {
    let mut state = RANDOM.get();
    while state == 0 {
        let mut bytes = [0u8; 8];
        // SAFETY: the buffer has the bytes that are named.
        let filled = unsafe { pgrx::pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
        if !filled {
            crate::error::Error::internal("the system gave no random bytes").raise();
        }
        state = u64::from_ne_bytes(bytes);
    }
    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A new UUID in one of sixteen time-ordered sequences, which backends share. It is version 8 (RFC 9562 §5.8): 4 bits
/// of the sequence, 44 of the milliseconds since 1970, random ones. Rows that are written one after the other stay
/// together in their index. Those that are written at the same time do not crowd on its last page.
pub fn new_id() -> pgrx::Uuid {
    let mut bytes = [0u8; 16];
    bytes[6..14].copy_from_slice(&random_bits().to_ne_bytes());
    bytes[14..].copy_from_slice(&random_bits().to_ne_bytes()[..2]);
    let at = clock_timestamp();
    let milliseconds = (to_unix_seconds(at) * 1_000 + at.rem_euclid(1_000_000) / 1_000).cast_unsigned();
    // SAFETY: reads a variable of the process.
    let sequence = unsafe { pgrx::pg_sys::MyProcPid }.cast_unsigned();
    let start = (u64::from(sequence & 0xf) << 60) | ((milliseconds & 0x0fff_ffff_ffff) << 16);
    bytes[..6].copy_from_slice(&start.to_be_bytes()[..6]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    pgrx::Uuid::from_bytes(bytes)
}
