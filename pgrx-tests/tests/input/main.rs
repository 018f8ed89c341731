//! Hostile input: one clear error of the right class, and nothing changed.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod batch;
mod calls;
mod edges;
mod settings;
mod tenancy;
