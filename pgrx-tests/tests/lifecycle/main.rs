//! An installation's life: created anywhere, dropped, created again, dumped and restored, crashed.

use tollgate_tests::support;

mod crash;
mod dump;
mod install;
mod other_version;
mod picture;
mod promotion;
mod sample_app;
mod upgrade;
mod versions;
