//! The versions of Postgres that the extension is built for.

use std::env;
use std::fmt::{self, Display};

/// Set when something else than [`Major::default`] is meant, as in `PG_TOLLGATE_PG=17 cargo xtask torture`.
pub const VARIABLE: &str = "PG_TOLLGATE_PG";

/// A major version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Major {
    #[default]
    Pg15,
    Pg16,
    Pg17,
    Pg18,
}

impl Major {
    pub const ALL: [Major; 4] = [Major::Pg15, Major::Pg16, Major::Pg17, Major::Pg18];

    pub fn number(self) -> u32 {
        match self {
            Major::Pg15 => 15,
            Major::Pg16 => 16,
            Major::Pg17 => 17,
            Major::Pg18 => 18,
        }
    }

    /// The extension's feature, which is also cargo-pgrx' name for it.
    pub fn feature(self) -> String {
        format!("pg{}", self.number())
    }

    /// Where Debian puts programs and libraries, relative to `/`.
    pub fn programs(self) -> String {
        format!("usr/lib/postgresql/{self}")
    }

    /// Where Debian puts what goes with them.
    pub fn shared(self) -> String {
        format!("usr/share/postgresql/{self}")
    }

    pub fn parse(text: &str) -> Option<Major> {
        Major::ALL.into_iter().find(|major| major.number().to_string() == text)
    }

    /// The one that this process works with, unless it is told another.
    #[allow(clippy::panic, reason = "a mistake in the environment of a developer's shell")]
    pub fn in_use() -> Major {
        let Some(said) = env::var_os(VARIABLE) else { return Major::default() };
        let said = said.to_string_lossy();
        Major::parse(&said).unwrap_or_else(|| panic!("{VARIABLE} is {said:?}, which is none of 15, 16, 17 and 18"))
    }
}

impl Display for Major {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.number().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        for major in Major::ALL {
            assert_eq!(Major::parse(&major.to_string()), Some(major));
        }
        assert_eq!(Major::parse("14"), None);
        assert_eq!(Major::Pg17.feature(), "pg17");
    }
}
