//! What a library needs of the machine that loads it, as `readelf` says.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::capture;

/// Debian 12 has this one, and no server that the extension is for has an older one.
const NEWEST_GLIBC: (u32, u32) = (2, 36);
/// What every server has.
const KNOWN: [&str; 4] = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"];

#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// The libraries that it names.
    pub needs: Vec<String>,
    /// The newest version of glibc of which it needs something.
    pub glibc: (u32, u32),
}

impl Library {
    /// Refuses a library that would not load everywhere.
    pub fn read(path: &Path) -> Result<Library> {
        let readelf = |option: &str| capture(Command::new("readelf").arg("-W").arg(option).arg(path));
        let library = Library::of(&readelf("-d")?, &readelf("-V")?)?;
        if library.glibc > NEWEST_GLIBC {
            bail!("the library needs glibc {}, and may need 2.36 at most", library.glibc_text());
        }
        Ok(library)
    }

    /// From the dynamic section and the versions.
    fn of(dynamic: &str, versions: &str) -> Result<Library> {
        let mut needs = Vec::new();
        for line in dynamic.lines() {
            let value = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(value, _)| value);
            if line.contains("(NEEDED)")
                && let Some(value) = value
            {
                needs.push(value.to_string());
            }
            if line.contains("(RPATH)") || line.contains("(RUNPATH)") {
                bail!(
                    "the library looks for others in {}, a directory of the machine that built it",
                    value.unwrap_or("?")
                );
            }
        }
        if let Some(unknown) = needs.iter().find(|name| !KNOWN.contains(&name.as_str())) {
            bail!("the library needs {unknown}, which a server need not have");
        }
        let glibc = versions.split("GLIBC_").skip(1).filter_map(number).max();
        let Some(glibc) = glibc else { bail!("readelf names no version of glibc") };
        Ok(Library { needs, glibc })
    }

    pub fn glibc_text(&self) -> String {
        format!("{}.{}", self.glibc.0, self.glibc.1)
    }
}

/// `2.34` or `2.2.5`, and whatever follows.
fn number(text: &str) -> Option<(u32, u32)> {
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let mut parts = text[..end].split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DYNAMIC: &str =
        " 0x01 (NEEDED)  Shared library: [libgcc_s.so.1]\n 0x01 (NEEDED)  Shared library: [libc.so.6]\n";
    const VERSIONS: &str = "  0x0010: Name: GLIBC_2.34  Flags: none\n  0x0020: Name: GLIBC_2.2.5  Flags: none\n";

    #[test]
    fn the_newest_version_counts() {
        let library = Library::of(DYNAMIC, VERSIONS).unwrap();
        assert_eq!(library.needs, ["libgcc_s.so.1", "libc.so.6"]);
        assert_eq!(library.glibc, (2, 34));
        // As numbers, not as texts.
        assert_eq!(Library::of(DYNAMIC, "GLIBC_2.9 GLIBC_2.36").unwrap().glibc_text(), "2.36");
    }

    #[test]
    fn what_a_server_need_not_have_is_refused() {
        assert!(Library::of(DYNAMIC, "").is_err());
        let more = format!("{DYNAMIC} 0x01 (NEEDED) Shared library: [libssl.so.3]\n");
        assert!(Library::of(&more, VERSIONS).is_err_and(|error| error.to_string().contains("libssl.so.3")));
        let path = format!("{DYNAMIC} 0x1d (RUNPATH) Library runpath: [/home/me/lib]\n");
        assert!(Library::of(&path, VERSIONS).is_err_and(|error| error.to_string().contains("/home/me/lib")));
    }
}
