//! Every interleaving of two or three threads, with every value that the memory model lets them read.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pg_tollgate-escrow --test loom --release`
//!
//! The table has one bucket of two entries here. Loom takes sequentially consistent accesses for acquire and release
//! ones, but knows fences; what the code needs of that kind are fences.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod counters;
mod entries;
mod epochs;
mod holds;
mod support;
