//! Finding the price of a call: which row of which list, and what is kept of it. What it comes to is in
//! [`tollgate_core::pricing`].

pub mod lookup;
