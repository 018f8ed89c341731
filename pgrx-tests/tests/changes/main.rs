//! Configuration that changes under open sessions: what was acknowledged is followed by the next call, however it came,
//! and what does not concern a session makes it forget nothing.

use tollgate_tests::support;

mod followed;
mod forgotten;
mod subscription;
mod switched;
mod world;
