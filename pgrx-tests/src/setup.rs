//! Everything a fresh Debian 12 with only Rust lacks. Each step is skipped when it has been done.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::file_lock::lock;
use crate::layout;
use crate::major::Major;
use crate::postgres_tree::PostgresTree;
use crate::progress::{capture, run_checked};
use crate::server_user::clean_environment;

/// Packages of Debian 12, by what shows that they are there.
struct Requirement {
    package: &'static str,
    present: fn() -> bool,
}

const REQUIREMENTS: &[Requirement] = &[
    Requirement { package: "postgresql-15", present: || PostgresTree::system().bin("initdb").is_file() },
    Requirement { package: "postgresql-client-15", present: || PostgresTree::system().bin("psql").is_file() },
    // pg_regress and pg_isolation_regress come with the headers.
    Requirement {
        package: "postgresql-server-dev-15",
        present: || {
            let system = PostgresTree::system();
            system.server_headers().is_dir() && system.pg_config().is_file() && system.pg_isolation_regress().is_file()
        },
    },
    // bindgen reads the server's headers through it.
    Requirement { package: "libclang-14-dev", present: libclang_is_there },
    Requirement { package: "gcc", present: || in_path("cc") && in_path("gcc") },
    Requirement { package: "libc6-dev", present: || Path::new("/usr/include/stdio.h").is_file() },
    // The tests go through it, as applications do.
    Requirement { package: "pgbouncer", present: || Path::new(layout::PGBOUNCER).is_file() },
    // One of those who call housekeep().
    Requirement { package: "postgresql-15-cron", present: || PostgresTree::system().has_extension("pg_cron") },
    // What examples/ is run with. The clients' packages, Node among them, are installed by Python.
    Requirement { package: "prometheus-postgres-exporter", present: || Path::new(layout::EXPORTER).is_file() },
    // A test opens the demo's page in it.
    Requirement { package: "chromium", present: || Path::new(layout::CHROMIUM).is_file() },
    Requirement { package: "python3", present: || Path::new(layout::PYTHON).is_file() },
    Requirement { package: "python3-psycopg", present: || Path::new(layout::PSYCOPG).is_file() },
    Requirement { package: "python3-venv", present: layout::python_venv_is_there },
    // Only cargo-pgrx's own build needs these two: it downloads over TLS through the system's OpenSSL.
    Requirement {
        package: "libssl-dev",
        present: || cargo_pgrx_is_there() || Path::new("/usr/include/openssl/ssl.h").is_file(),
    },
    Requirement { package: "pkg-config", present: || cargo_pgrx_is_there() || in_path("pkg-config") },
];

/// What the versions of other releases of Debian need besides.
const FOR_OTHERS: &[Requirement] = &[Requirement { package: "patchelf", present: || in_path("patchelf") }];

/// Checks licenses, sources and banned dependencies.
const CARGO_DENY: &str = "0.20.2";

/// What has been set up, and how cargo-pgrx is called in it.
pub struct Toolbox {
    pub postgres: PostgresTree,
}

/// Does what is missing, for the version in use.
pub fn setup() -> Result<Toolbox> {
    setup_for(Major::in_use())
}

/// The same for a given version. Processes that run at the same time wait for each other.
pub fn setup_for(major: Major) -> Result<Toolbox> {
    let _lock = lock("setup")?;
    packages(major)?;
    let postgres = PostgresTree::prepare(major)?;
    cargo_pgrx()?;
    pgrx_home(&postgres)?;
    Ok(Toolbox { postgres })
}

impl Toolbox {
    /// `cargo pgrx <subcommand>`, in the checkout and with our own PGRX_HOME.
    pub fn cargo_pgrx(&self, subcommand: &str) -> Command {
        let mut command = Command::new(layout::cargo_pgrx());
        command.args(["pgrx", subcommand]);
        self.environment(&mut command);
        command
    }

    /// Plain cargo.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        self.environment(&mut command);
        command
    }

    /// The same variables for every call: the build script of pgrx runs again when they change.
    pub fn environment(&self, command: &mut Command) {
        clean_environment(command);
        command.current_dir(layout::root()).env("PGRX_HOME", layout::pgrx_home()).env("PATH", path_with_tools());
        // What `cargo run` set for xtask would be taken for the extension's own.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_BIN_NAME" {
                command.env_remove(&name);
            }
        }
    }
}

fn packages(major: Major) -> Result<()> {
    let missing = missing_packages(major);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() || !in_path("apt-get") {
        bail!("this needs PostgreSQL 15 and a C compiler: install the packages (Debian 12 names) {names}");
    }
    let log = layout::target().join("setup-apt.log");
    run_checked("Reading apt's package lists", "about 20 seconds", &log, &mut apt("update", &[]))?;
    let title = format!("Installing {names}");
    run_checked(&title, "about 2 minutes, once", &log, &mut apt("install", &missing))?;
    let still = missing_packages(major);
    if !still.is_empty() {
        bail!("apt installed {names}, but {} cannot be found: is this a Debian 12?", still.join(" "));
    }
    Ok(())
}

fn missing_packages(major: Major) -> Vec<&'static str> {
    let more = if major < Major::Pg17 { &[] } else { FOR_OTHERS };
    REQUIREMENTS.iter().chain(more).filter(|it| !(it.present)()).map(|it| it.package).collect()
}

fn apt(verb: &str, packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.arg(verb);
    if verb == "install" {
        command.args(["-y", "--no-install-recommends"]).args(packages);
    }
    // The server package would start a server of its own; single-user run level 1 tells it not to.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}

/// What a tool of ours says that its version is.
fn version(command: &mut Command) -> Option<String> {
    let said = capture(command.arg("--version")).ok()?;
    said.split_whitespace().last().map(str::to_string)
}

fn cargo_pgrx_is_there() -> bool {
    let there = || version(Command::new(layout::cargo_pgrx()).arg("pgrx"));
    layout::pgrx_version().is_ok_and(|wanted| there() == Some(wanted))
}

fn cargo_pgrx() -> Result<()> {
    if cargo_pgrx_is_there() {
        return Ok(());
    }
    cargo_install("cargo-pgrx", &layout::pgrx_version()?, "about 7 minutes, once")
}

/// What lint alone needs, so that nothing else waits for it.
pub fn cargo_deny() -> Result<PathBuf> {
    let _lock = lock("setup")?;
    if version(&mut Command::new(layout::cargo_deny())).as_deref() != Some(CARGO_DENY) {
        cargo_install("cargo-deny", CARGO_DENY, "about 2 minutes on two free cores, once")?;
    }
    Ok(layout::cargo_deny())
}

/// A debug build: it compiles in half the time, and these tools have little to do.
fn cargo_install(tool: &str, version: &str, usual: &str) -> Result<()> {
    let build = layout::target().join("tools-build");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", tool, "--locked", "--debug", "--force", "--version", &format!("={version}")]);
    command.arg("--root").arg(layout::tools()).arg("--target-dir").arg(&build);
    command.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_INCREMENTAL", "0").current_dir(layout::root());
    let log = layout::target().join(format!("setup-{tool}.log"));
    run_checked(&format!("Building {tool} {version}"), usual, &log, &mut command)?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// Tells cargo-pgrx which Postgres to use.
fn pgrx_home(postgres: &PostgresTree) -> Result<()> {
    let home = layout::pgrx_home();
    let config = home.join("config.toml");
    let feature = postgres.major().feature();
    let wanted = format!("{feature} = {:?}", postgres.pg_config().display().to_string());
    if fs::read_to_string(&config).is_ok_and(|text| text.lines().any(|line| line.trim().replace('\'', "\"") == wanted))
    {
        return Ok(());
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let toolbox = Toolbox { postgres: postgres.clone() };
    let mut command = toolbox.cargo_pgrx("init");
    command.arg(format!("--{feature}")).arg(postgres.pg_config());
    let log = layout::target().join("setup-pgrx-init.log");
    run_checked(&format!("Telling cargo-pgrx about {feature}"), "some seconds, once", &log, &mut command)?;
    Ok(())
}

/// PATH, with our own tools first.
fn path_with_tools() -> OsString {
    let mut path = OsString::from(layout::tools().join("bin"));
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

fn in_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Where clang-sys looks: its variable, the compiler's directories, the loader's.
fn libclang_is_there() -> bool {
    let mut dirs: Vec<PathBuf> = vec!["/usr/lib/x86_64-linux-gnu".into(), "/usr/lib/aarch64-linux-gnu".into()];
    dirs.extend(env::var_os("LIBCLANG_PATH").map(PathBuf::from));
    let compilers = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-"));
    dirs.extend(compilers.filter(llvm).map(|path| path.join("lib")));
    dirs.iter().any(|dir| {
        fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| is_libclang(&entry.file_name().to_string_lossy()))
    })
}

fn is_libclang(name: &str) -> bool {
    name == "libclang.so" || name.starts_with("libclang-") && !name.starts_with("libclang-cpp") && name.contains(".so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_not_its_cpp_sibling() {
        assert!(is_libclang("libclang.so"));
        assert!(is_libclang("libclang-14.so.14.0.6"));
        assert!(!is_libclang("libclang-cpp.so.14"));
        assert!(!is_libclang("libclangAST.a"));
    }
}
