//! Every kind of caller against every relation and every function: which may, which may not, and what they see.
//!
//! The lists of relations and functions come from the catalog, and each must be classified here. What is added later
//! fails until it is listed with its users. What is seen is searched for the other tenant's ids, names and amounts.

use tollgate_tests::support;

mod callers;
mod colleagues;
mod functions;
mod leaks;
mod membership;
mod relations;
mod world;
