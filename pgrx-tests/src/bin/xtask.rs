//! `cargo xtask`: everything one does with the checkout.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tollgate_tests::{bench, demo, install, lint, setup, suite};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Everything one does with this checkout. Each command sets up what it needs."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the machine lacks: Postgres 15 and libclang (apt, as root), cargo-pgrx and a private Postgres (target/)
    Setup,
    /// Build the extension as users get it and install it into the private Postgres
    Install,
    /// Replay a real trace of 19,366 model calls against three tenants with quotas
    Demo(DemoArguments),
    /// Run every test
    Test(TestArguments),
    /// Measure what charging and looking cost, against locked quota rows, a bare insert and queries that look at nothing
    Bench(BenchArguments),
    /// rustfmt and clippy, warnings refused
    Lint,
}

#[derive(Args)]
struct DemoArguments {
    /// Leave the server up, to look around with psql
    #[arg(long)]
    keep: bool,
    /// Replay only the first calls of the trace
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..))]
    rows: Option<u32>,
    /// Connections that replay it
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
}

#[derive(Args)]
struct TestArguments {
    /// Only this tier (may be repeated)
    #[arg(long, value_name = "NAME", value_parser = suite::TIERS)]
    tier: Vec<String>,
    /// Shorter runs of the long tests
    #[arg(long)]
    quick: bool,
    /// Take what golden and isolation tests print as what they should print
    #[arg(long)]
    bless: bool,
}

#[derive(Args)]
struct BenchArguments {
    /// Length of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measurements of each side, of which the median is shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections, one set of measurements each, instead of those that a target is set for
    #[arg(long, value_delimiter = ',')]
    clients: Vec<u32>,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',', value_parser = bench::ROWS)]
    only: Vec<String>,
    /// Without the library in shared_preload_libraries
    #[arg(long)]
    no_preload: bool,
    /// How many quotas to charge in turn
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    quotas: u64,
    /// A million quotas in turn, through a table of 100,000
    #[arg(long, conflicts_with = "quotas")]
    full: bool,
}

impl BenchArguments {
    fn options(self) -> bench::BenchOptions {
        bench::BenchOptions {
            seconds: self.seconds,
            rounds: self.rounds,
            clients: self.clients,
            only: self.only,
            preload: !self.no_preload,
            quotas: if self.full { 1_000_000 } else { self.quotas },
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<bool> {
    match command {
        Command::Setup => {
            let toolbox = setup::setup()?;
            println!("ready: {}", toolbox.postgres.version()?);
        }
        Command::Install => {
            let postgres = install::ensure()?;
            println!("installed into {}", postgres.extension_dir().display());
        }
        Command::Lint => lint::lint()?,
        Command::Demo(it) => {
            let rows = it.rows.map(|rows| rows as usize);
            return demo::run(&demo::DemoOptions { keep: it.keep, rows, clients: it.clients as usize });
        }
        Command::Test(it) => {
            return suite::run(&suite::SuiteOptions { tiers: it.tier, quick: it.quick, bless: it.bless });
        }
        Command::Bench(it) => bench::run(&it.options())?,
    }
    Ok(true)
}
