//! `cargo xtask`: everything one does with the checkout.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tollgate_tests::{
    bench, demo, examples, history, install, lifecycle, lint, major::Major, model, package, reference, release, setup,
    suite, torture,
};

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
    /// Install what the machine lacks: Postgres and libclang (apt, as root), cargo-pgrx and a private Postgres (target/)
    Setup,
    /// Build the extension as users get it and install it into the private Postgres
    Install,
    /// Replay a real trace of 19,366 model calls against three tenants with quotas
    Demo(DemoArguments),
    /// Run every test
    Test(TestArguments),
    /// Make what users install without a compiler: a tarball and a Debian package, below target/package/
    Package(PackageArguments),
    /// Keep this version's scripts, and data of it, in sql/released/ for ever, and its upgrade tested; see RELEASING.md
    Freeze,
    /// Measure what charging and checking cost, against locked quota rows, a bare insert and queries that check nothing
    Bench(BenchArguments),
    /// Charge from many clients while sessions are cancelled and killed and the server crashes, and check what is left
    Torture(TortureArguments),
    /// Record a history of very many charges and check offline that no limit was passed and every refusal was right
    History(HistoryArguments),
    /// Random life cycles of reservations, costs and corrections, step by step against a sequential model
    Lifecycle(LifecycleArguments),
    /// Check the escrow protocol, and that every rule of it is needed, in all interleavings of small worlds
    Model(ModelArguments),
    /// rustfmt, clippy and cargo-deny, warnings refused
    Lint,
    /// Write the pages of docs/reference that are made from the catalogs
    Docs,
    /// Write examples/typescript/database.types.ts, the types that Supabase's generator makes of the extension
    Types,
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
    /// Write a page with charts of what it did
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args)]
struct TestArguments {
    /// On this version of Postgres: 15, 16, 17, 18, or all [default: 15, or what PG_TOLLGATE_PG says]
    #[arg(long, value_name = "VERSION", value_parser = majors)]
    pg: Option<Majors>,
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
struct PackageArguments {
    /// For this version of Postgres [default: 15, or what PG_TOLLGATE_PG says]
    #[arg(long, value_name = "VERSION", value_parser = major)]
    pg: Option<Major>,
}

#[derive(Args)]
struct BenchArguments {
    /// As --only
    #[arg(value_name = "ROW", value_parser = bench::ROWS, conflicts_with = "only")]
    rows: Vec<String>,
    /// Length of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measurements of each side, of which the median is shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections, one set of measurements each, instead of those that a target is set for
    #[arg(long, value_delimiter = ',')]
    clients: Vec<u32>,
    /// Only this row, as by --only
    #[arg(value_name = "ROW", value_parser = bench::ROWS)]
    row: Option<String>,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',', value_parser = bench::ROWS)]
    only: Vec<String>,
    /// Without the library in shared_preload_libraries
    #[arg(long)]
    no_preload: bool,
    /// How many quotas to charge in turn
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    quotas: u64,
    /// How many records to read in row reads, which is measured when it is named
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    records: u64,
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
            only: if self.rows.is_empty() { self.only } else { self.rows },
            preload: !self.no_preload,
            records: self.records,
            quotas: if self.full { 1_000_000 } else { self.quotas },
        }
    }
}

#[derive(Args)]
struct TortureArguments {
    /// No cycle begins after so long; 60 when neither this nor --cycles is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Crashes and restarts, of about 5 seconds each with their checks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cycles: Option<u64>,
    /// What clients do and when the server crashes follows from it; how they interleave does not
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=60))]
    clients: u32,
    /// Without preloading the library: the locked mode
    #[arg(long)]
    no_preload: bool,
    /// Some restarts change whether the library is preloaded
    #[arg(long)]
    switch_modes: bool,
}

#[derive(Args)]
struct HistoryArguments {
    /// Charges, in all scenes together
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    operations: u64,
    /// The charges follow from it; how clients interleave does not
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    /// Without preloading the library: the locked mode
    #[arg(long)]
    no_preload: bool,
}

#[derive(Args)]
struct LifecycleArguments {
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    steps: u64,
    /// Every step follows from it, except for what the clock says
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Without preloading the library: the locked mode
    #[arg(long)]
    no_preload: bool,
}

#[derive(Args)]
struct ModelArguments {
    /// Only this model (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Show how each mutant was caught, step by step
    #[arg(long)]
    trace: bool,
}

#[derive(Clone)]
struct Majors(Vec<Major>);

fn majors(text: &str) -> Result<Majors, String> {
    if text == "all" {
        return Ok(Majors(Major::ALL.to_vec()));
    }
    major(text).map(|major| Majors(vec![major]))
}

fn major(text: &str) -> Result<Major, String> {
    Major::parse(text).ok_or_else(|| "it is none of 15, 16, 17 and 18".to_string())
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
        Command::Docs => {
            for path in reference::write()? {
                println!("wrote {path}");
            }
        }
        Command::Types => println!("wrote {}", examples::write_types()?.display()),
        Command::Model(it) => return model::run(&model::ModelOptions { only: it.only, trace: it.trace }),
        Command::Demo(it) => {
            let rows = it.rows.map(|rows| rows as usize);
            let (keep, clients, html) = (it.keep, it.clients as usize, it.html);
            return demo::run(&demo::DemoOptions { keep, rows, clients, html });
        }
        Command::Test(it) => {
            let majors = it.pg.map_or_else(|| vec![Major::in_use()], |majors| majors.0);
            let (tiers, quick, bless) = (it.tier, it.quick, it.bless);
            return suite::run(&suite::SuiteOptions { majors, tiers, quick, bless });
        }
        Command::Package(it) => {
            let made = package::make(it.pg.unwrap_or_else(Major::in_use))?;
            println!("{}\n{}", made.tarball.display(), made.deb.display());
            println!("it needs glibc {} and {}", made.library.glibc_text(), made.library.needs.join(", "));
        }
        Command::Freeze => {
            for name in release::freeze(&release::dir())? {
                println!("sql/released/{name}");
            }
        }
        Command::Bench(it) => bench::run(&it.options())?,
        Command::Torture(it) => {
            let default = it.cycles.is_none().then_some(60);
            let report = torture::run(&torture::TortureOptions {
                time: it.seconds.or(default).map(Duration::from_secs),
                cycles: it.cycles,
                seed: it.seed,
                clients: it.clients as usize,
                preload: !it.no_preload,
                switch_modes: it.switch_modes,
            })?;
            return Ok(report.violations.is_empty());
        }
        Command::History(it) => {
            let report = history::run(&history::HistoryOptions {
                operations: it.operations,
                seed: it.seed,
                clients: it.clients,
                preload: !it.no_preload,
            })?;
            return Ok(report.violations.is_empty());
        }
        Command::Lifecycle(it) => {
            lifecycle::run(&lifecycle::LifecycleOptions { steps: it.steps, seed: it.seed, preload: !it.no_preload })?;
        }
    }
    Ok(true)
}
