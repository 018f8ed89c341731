//! An installation's life: created anywhere, dropped, created again, dumped and restored, crashed.

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod dump;
mod install;
mod picture;
mod sample_app;
