//! Every kind of caller against every relation and every function: who may, who may not, and what he sees.
//!
//! The lists of relations and functions come from the catalog, and each must be classified here: what is added later
//! fails until somebody says who may use it. What is seen is searched for the other tenant's ids, names and amounts.

#[path = "../support/mod.rs"]
mod support;

mod callers;
mod functions;
mod leaks;
mod membership;
mod relations;
mod world;
