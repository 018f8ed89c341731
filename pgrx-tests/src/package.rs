//! `cargo xtask package`: what users install without a compiler, as a tarball and as a package for Debian.
//!
//! Every control file, at the root of the checkout or beside the second extension's SQL, is an extension that goes in.

mod library;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::install;
use crate::layout;
use crate::major::Major;
use crate::postgres_tree::PostgresTree;
use crate::progress::capture;
use crate::scripts::{current, extensions};

pub use library::Library;

/// What was made.
pub struct Package {
    pub tarball: PathBuf,
    pub deb: PathBuf,
    pub library: Library,
}

/// Builds the extension, looks at the library, and packs it.
pub fn make(major: Major) -> Result<Package> {
    let postgres = install::ensure_for(major)?;
    let dir = layout::target().join("package").join(major.feature());
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let name = tarball_name(major);
    let content = dir.join(&name);
    let library = collect(postgres, &content)?;
    let tarball = dir.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    // The same input gives the same file.
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-czf"]).arg(&tarball);
    capture(tar.env("GZIP", "-n").arg("-C").arg(&dir).arg(&name))?;
    let deb = debian(major, &content, &library, &dir)?;
    Ok(Package { tarball, deb, library })
}

/// What the tarball, and the directory in it, is called.
pub fn tarball_name(major: Major) -> String {
    format!("pg_tollgate-{}-{}-linux-{ARCH}", version(), major.feature())
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// `lib/`, `extension/` and what goes with them.
fn collect(postgres: &PostgresTree, content: &Path) -> Result<Library> {
    let (lib, extension) = (content.join("lib"), content.join("extension"));
    for dir in [&lib, &extension] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let library = lib.join("pg_tollgate.so");
    copy(&postgres.libdir().join("pg_tollgate.so"), &library)?;
    for name in extensions()? {
        let from = postgres.extension_dir();
        copy(&from.join(format!("{name}.control")), &extension.join(format!("{name}.control")))?;
        for script in current(&name)? {
            copy(&from.join(&script), &extension.join(&script))?;
        }
    }
    for file in ["LICENSE", "NOTICE", "META.json"] {
        copy(&layout::root().join(file), &content.join(file))?;
    }
    Library::read(&library)
}

/// Files that anybody may read, whatever the umask of who packs them.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("install");
    capture(command.args(["-m", "644"]).arg(from).arg(to))?;
    Ok(())
}

fn debian(major: Major, content: &Path, library: &Library, dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("debian");
    let package = format!("postgresql-{major}-pg-tollgate");
    let documents = tree.join("usr/share/doc").join(&package);
    let places = [
        (content.join("lib"), tree.join(major.programs()).join("lib")),
        (content.join("extension"), tree.join(major.shared()).join("extension")),
    ];
    for (from, to) in &places {
        fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let path = entry?.path();
            copy(&path, &to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    fs::create_dir_all(&documents).with_context(|| format!("cannot create {}", documents.display()))?;
    copy(&content.join("LICENSE"), &documents.join("copyright"))?;
    let control = tree.join("DEBIAN/control");
    fs::create_dir_all(tree.join("DEBIAN")).context("cannot create DEBIAN/")?;
    let architecture = capture(Command::new("dpkg").arg("--print-architecture"))?;
    fs::write(&control, debian_control(&package, major, library, architecture.trim()))
        .with_context(|| format!("cannot write {}", control.display()))?;
    let deb = dir.join(format!("{package}_{}_{}.deb", version(), architecture.trim()));
    capture(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb))?;
    Ok(deb)
}

fn debian_control(package: &str, major: Major, library: &Library, architecture: &str) -> String {
    format!(
        "Package: {package}\n\
         Version: {}\n\
         Architecture: {architecture}\n\
         Maintainer: The pg_tollgate developers <noreply@invalid>\n\
         Section: database\n\
         Priority: optional\n\
         Depends: postgresql-{major}, libc6 (>= {}), libgcc-s1\n\
         Description: meters and limits what AI features cost, inside Postgres\n",
        version(),
        library.glibc_text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_is_in_meta_json() {
        let text = fs::read_to_string(layout::root().join("META.json")).unwrap();
        let meta: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(meta["version"], version());
        let provided: Vec<&String> = meta["provides"].as_object().unwrap().keys().collect();
        assert_eq!(provided, extensions().unwrap().iter().collect::<Vec<_>>());
        for provided in meta["provides"].as_object().unwrap().values() {
            assert_eq!(provided["version"], version());
        }
        for key in ["name", "abstract", "maintainer", "license", "meta-spec"] {
            assert!(!meta[key].is_null(), "{key}");
        }
    }

    /// The files that users are told to install.
    #[test]
    fn documents_name_this_version() {
        for page in ["README.md", "docs/how-to/install.md"] {
            let text = fs::read_to_string(layout::root().join(page)).unwrap();
            let files = ["pg_tollgate-", "pg-tollgate_"].iter().flat_map(|name| text.split(name).skip(1));
            let versions: Vec<&str> = files.filter(|rest| rest.starts_with(|it: char| it.is_ascii_digit())).collect();
            assert!(!versions.is_empty(), "{page} names no file");
            for found in versions {
                assert!(found.starts_with(version()), "{page} names {}", found.lines().next().unwrap_or_default());
            }
        }
    }

    /// Read as text, as there may be no engine: what it copies is what is made, and nothing is fetched.
    #[test]
    fn the_dockerfile_takes_the_tarball() {
        let text = fs::read_to_string(layout::root().join("packaging/Dockerfile")).unwrap();
        let name = tarball_name(Major::Pg17).replace("17", "${PG}").replace(version(), "*");
        assert!(text.contains(&format!("COPY {name}.tar.gz")), "it does not copy {name}");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for word in ["curl", "wget", "apt-get", "ADD ", ":latest"] {
            assert!(!lines.iter().any(|line| line.contains(word)), "{word}");
        }
        for line in lines.iter().filter(|line| !line.is_empty() && !line.starts_with([' ', '\t'])) {
            let verb = line.split(' ').next().unwrap_or_default();
            assert!(["ARG", "FROM", "USER", "COPY", "RUN"].contains(&verb), "{line}");
        }
        assert!(text.contains("set -eu"), "a step that fails must fail the build");
    }
}
