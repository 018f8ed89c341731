//! Admission in shared memory: what it must give back, load again, make room for and never be behind of.
//!
//! These tests start servers that preload the library, whatever mode the others run in; some restart them without it.
//! After every scenario the counters say what the tables say, to the nano-dollar.

use tollgate_tests::support;

mod counters;
mod databases;
mod definitions;
mod drift;
mod endings;
mod foreign_rows;
mod memory;
mod newcomers;
mod own_rows;
mod periods;
mod prepared;
mod readers;
mod restarts;
mod servers;
mod visible;
