//! Packages of other releases of Debian than the machine's, unpacked and not installed.
//!
//! apt is asked with files of its own below the build directory, so what the machine itself installs stays as it is. The
//! mirror is the one that the machine uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout;
use crate::progress::{capture, run_checked};

/// One release, as apt sees it through files of its own.
pub struct Release {
    codename: &'static str,
    dir: PathBuf,
}

impl Release {
    /// Reads the release's lists of packages.
    pub fn open(codename: &'static str) -> Result<Release> {
        Release::open_as("deb", codename)
    }

    /// Reads the release's list of sources.
    pub fn open_sources(codename: &'static str) -> Result<Release> {
        Release::open_as("deb-src", codename)
    }

    fn open_as(kind: &str, codename: &'static str) -> Result<Release> {
        let release = Release { codename, dir: layout::target().join("debian").join(codename) };
        let mirror = mirror()?;
        for dir in ["lists/partial", "cache/archives/partial", "downloads"] {
            fs::create_dir_all(release.dir.join(dir)).context("cannot make a directory for apt")?;
        }
        let sources = format!("{kind} {mirror} {codename} main\n");
        fs::write(release.dir.join("sources.list"), sources).context("cannot write sources.list")?;
        // Nothing is installed as far as it knows: so it names everything that a package needs.
        fs::write(release.dir.join("status"), "").context("cannot write apt's status")?;
        let title = format!("Reading the package lists of Debian {codename}");
        run_checked(&title, "some seconds", &release.log(), release.apt_get().arg("update"))?;
        Ok(release)
    }

    /// Downloads a package and all that it needs to run. Returns the files.
    pub fn closure(&self, package: &str) -> Result<Vec<PathBuf>> {
        let archives = self.dir.join("cache/archives");
        let mut command = self.apt_get();
        command.args(["-y", "install", "--download-only", package]);
        run_checked(
            &format!("Downloading {package} of Debian {}", self.codename),
            "seconds",
            &self.log(),
            &mut command,
        )?;
        packages(&archives)
    }

    /// Downloads one package by itself.
    pub fn package(&self, package: &str) -> Result<PathBuf> {
        let dir = self.dir.join("downloads");
        let mut command = self.apt_get();
        command.args(["download", package]).current_dir(&dir);
        run_checked(
            &format!("Downloading {package} of Debian {}", self.codename),
            "seconds",
            &self.log(),
            &mut command,
        )?;
        let prefix = format!("{package}_");
        let found = packages(&dir)?.into_iter().rfind(|path| name(path).starts_with(&prefix));
        found.with_context(|| format!("apt downloaded {package}, but it is not in {}", dir.display()))
    }

    /// Downloads a source as its authors have released it. Returns the archive.
    pub fn source(&self, package: &str) -> Result<PathBuf> {
        let dir = self.dir.join("downloads");
        let mut command = self.apt_get();
        command.args(["source", "--download-only", package]).current_dir(&dir);
        let title = format!("Downloading the source of {package} of Debian {}", self.codename);
        run_checked(&title, "seconds", &self.log(), &mut command)?;
        let found = files(&dir)?.into_iter().find(|path| name(path).contains(".orig.tar."));
        found.with_context(|| format!("apt downloaded {package}, but its source is not in {}", dir.display()))
    }

    /// Removes what was downloaded.
    pub fn forget(self) -> Result<()> {
        fs::remove_dir_all(&self.dir).with_context(|| format!("cannot remove {}", self.dir.display()))
    }

    fn log(&self) -> PathBuf {
        layout::target().join(format!("debian-{}.log", self.codename))
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let places = [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "none"),
            ("Dir::Etc::preferencesparts", "none"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, place) in places {
            command.arg("-o").arg(format!("{option}={}", self.dir.join(place).display()));
        }
        // Its own user could not write here.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false"]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// Unpacks a package below a directory.
pub fn unpack(package: &Path, into: &Path) -> Result<()> {
    capture(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))?;
    Ok(())
}

/// Where the machine's own packages of Debian come from.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN) $(CODENAME) $(REPO_URI)";
    let said = capture(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    match plain_release(&said) {
        Some(mirror) => Ok(mirror.to_string()),
        None => bail!("apt knows no mirror of Debian"),
    }
}

/// The mirror of the release itself, not of its updates.
fn plain_release(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (origin, codename, mirror) = (words.next()?, words.next()?, words.next()?);
        (origin == "Debian" && !codename.contains('-')).then_some(mirror)
    })
}

fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files(dir)?;
    found.retain(|path| path.extension().is_some_and(|it| it == "deb"));
    Ok(found)
}

/// In the order of their names.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

/// A file's name, for what it says of the package.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_release() {
        let targets = "Debian bookworm-updates http://a/\nOther stable http://b/\nDebian bookworm http://c/debian/\n";
        assert_eq!(plain_release(targets), Some("http://c/debian/"));
        assert_eq!(plain_release("Debian bookworm-updates http://a/\n"), None);
    }
}
