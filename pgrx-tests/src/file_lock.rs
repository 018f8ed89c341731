//! Locks between processes: what two of them must not do at the same time.

use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::layout;

/// Held until dropped; `name` is a file below the build directory.
pub fn lock(name: &str) -> Result<File> {
    let path = layout::target().join(format!("{name}.lock"));
    fs::create_dir_all(layout::target()).with_context(|| format!("cannot create {}", layout::target().display()))?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
