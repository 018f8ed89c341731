//! docs/reference says of functions, views and settings what the catalogs say.

use anyhow::{Result, ensure};
use tollgate_tests::reference;

#[test]
fn reference_pages_are_what_the_catalogs_say() -> Result<()> {
    let pages = reference::pages()?;
    ensure!(pages.len() == 3, "{} pages", pages.len());
    for page in pages {
        let lines = page.present.lines().zip(page.wanted.lines()).zip(1..);
        let differs = lines.map(|((present, wanted), line)| (present, wanted, line)).find(|it| it.0 != it.1);
        ensure!(
            page.present == page.wanted,
            "{} is not what the catalogs say; run cargo xtask docs. First difference (page, catalogs, line): {differs:?}",
            page.path
        );
    }
    Ok(())
}
