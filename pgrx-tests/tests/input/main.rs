//! Hostile input: one clear error of the right class, and nothing changed.

use tollgate_tests::support;

mod arguments;
mod batch;
mod batch_as_calls;
mod calls;
mod edges;
mod settings;
mod tenancy;
