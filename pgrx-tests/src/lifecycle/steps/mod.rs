//! The steps: what is asked of the server, and what the model says must come.

mod charge;
mod correct;
mod extend;
mod read;
mod record;
mod reserve;
mod settle;
