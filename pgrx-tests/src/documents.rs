//! The pages that users read, and what is asked of each: plain sentences, and links that lead somewhere.

use std::fs;
use std::path::PathBuf;

use crate::layout;

/// README.md, the pages beside it that are written for users, and everything under docs/, as paths from the root.
pub fn pages() -> std::io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"].map(PathBuf::from).into();
    let mut folders = vec![layout::root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path.strip_prefix(layout::root()).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a page, taken apart.
#[derive(Default, Debug, PartialEq)]
pub struct Page {
    /// Paragraphs, list items, headings and cells, each with the line that it begins at.
    pub blocks: Vec<(usize, String)>,
    /// What `#…` in a link may name.
    pub anchors: Vec<String>,
    /// What is wrong with the page itself.
    pub problems: Vec<String>,
}

impl Page {
    pub fn read(markdown: &str) -> Page {
        let mut page = Page::default();
        let mut fence = None;
        let mut continues = false;
        for (number, line) in (1..).zip(markdown.lines()) {
            let text = line.trim();
            if text.starts_with("```") {
                if !line.starts_with("```") {
                    page.problems.push(format!("{number}: a fence is indented, so its examples are not run"));
                }
                fence = if fence.is_some() { None } else { Some(number) };
                continues = false;
            } else if fence.is_some() || is_hidden(text) {
                continues = false;
            } else if text.starts_with('|') {
                let cells = cells(text).into_iter().filter(|cell| cell.chars().any(char::is_alphanumeric));
                page.blocks.extend(cells.map(|cell| (number, cell)));
                continues = false;
            } else if text.starts_with('#') {
                let heading = text.trim_start_matches('#').trim();
                page.add_anchor(heading);
                page.blocks.push((number, heading.to_string()));
                continues = false;
            } else {
                match page.blocks.last_mut() {
                    Some((_, block)) if continues && !is_item(text) => {
                        block.push(' ');
                        block.push_str(text);
                    }
                    _ => page.blocks.push((number, text.to_string())),
                }
                continues = true;
            }
        }
        page.problems.extend(fence.map(|opened| format!("{opened}: the fence is not closed")));
        page
    }

    /// As the forges name a heading.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.chars().filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it));
        let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it.to_ascii_lowercase() }).collect();
        if self.anchors.contains(&anchor) {
            self.problems.push(format!("two headings are #{anchor}"));
        }
        self.anchors.push(anchor);
    }

    /// What its links name.
    pub fn links(&self) -> Vec<(usize, String)> {
        let of_block = |(line, text): &(usize, String)| {
            let text = without_code(text);
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            targets.map(|target| (*line, target.to_string())).collect::<Vec<_>>()
        };
        self.blocks.iter().flat_map(of_block).collect()
    }
}

fn is_hidden(line: &str) -> bool {
    line.is_empty() || line.starts_with("<!--")
}

fn is_item(line: &str) -> bool {
    let numbered = line.trim_start_matches(|it: char| it.is_ascii_digit());
    ["- ", "* ", "> "].iter().any(|marker| line.starts_with(marker))
        || (numbered.len() < line.len() && numbered.starts_with(". "))
}

/// The cells of a table's row; a bar in code or behind a backslash divides nothing.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut in_code, mut before) = (false, ' ');
    for it in row.chars() {
        in_code ^= it == '`';
        match cells.last_mut() {
            Some(cell) if it != '|' || in_code || before == '\\' => cell.push(it),
            _ => cells.push(String::new()),
        }
        before = it;
    }
    cells
}

/// Code is one word, whatever it holds.
fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 0 { part } else { "Code" }).collect()
}

/// A paragraph's sentences, without code, targets of links and emphasis.
fn sentences(block: &str) -> Vec<String> {
    let text = without_code(block);
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str(part.split_once(')').map_or("", |(_, after)| after));
    }
    let text: String = plain.chars().filter(|it| !['*', '[', ']'].contains(it)).collect();
    let mut sentences = vec![String::new()];
    let mut ended = false;
    for word in text.split_whitespace() {
        if ended && !word.starts_with(char::is_lowercase) {
            sentences.push(String::new());
        }
        if let Some(sentence) = sentences.last_mut() {
            sentence.push_str(word);
            sentence.push(' ');
        }
        ended = word.trim_end_matches([')', '"', '”']).ends_with(['.', '?', '!']);
    }
    sentences
}

const MAX_WORDS: usize = 25;
/// People are "you", "the user" and "they"; a transaction is "it".
const NOT_SAID: [&str; 12] =
    ["he", "him", "his", "himself", "she", "her", "whom", "whoever", "nobody", "nobody's", "anew", "everybody"];

/// What a paragraph, an item, a cell or a COMMENT says in too many words, or not as people say it.
pub fn unplain(block: &str) -> Vec<String> {
    let mut found = Vec::new();
    for sentence in sentences(block) {
        let words: Vec<&str> = sentence.split(' ').filter(|word| word.chars().any(char::is_alphanumeric)).collect();
        if words.len() > MAX_WORDS {
            found.push(format!("{} words: {sentence}", words.len()));
        }
        let bare = |word: &str| word.trim_matches(|it: char| !it.is_alphanumeric()).to_lowercase();
        let unwanted = words.iter().filter(|word| NOT_SAID.contains(&bare(word).as_str()));
        found.extend(unwanted.map(|word| format!("\"{word}\": {sentence}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MAX_README_LINES: usize = 160;
    const INDEX: &str = "docs/README.md";
    /// What mdBook makes its table of contents of.
    const SUMMARY: &str = "docs/SUMMARY.md";
    const CHANGELOG: &str = "CHANGELOG.md";

    fn read(page: &Path) -> String {
        fs::read_to_string(layout::root().join(page)).unwrap()
    }

    fn of_all(check: impl Fn(&Path, &Page) -> Vec<String>) -> Vec<String> {
        let pages = pages().unwrap();
        assert!(pages.len() > 20, "{pages:?}");
        let of_page = |path: &PathBuf| {
            let found = check(path, &Page::read(&read(path)));
            found.into_iter().map(|problem| format!("{}:{problem}", path.display())).collect::<Vec<_>>()
        };
        pages.iter().flat_map(of_page).collect()
    }

    fn assert_none(problems: &[String]) {
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }

    #[test]
    fn the_readme_is_short() {
        let lines = read(Path::new("README.md")).lines().count();
        assert!(lines <= MAX_README_LINES, "README.md has {lines} lines");
    }

    #[test]
    fn every_sentence_is_short_and_plain() {
        assert_none(&of_all(|_, page| unplain_page(page)));
    }

    #[test]
    fn every_page_is_well_formed() {
        // Each version of the changelog has the same headings.
        let again = |path: &Path, problem: &String| path == Path::new(CHANGELOG) && problem.starts_with("two headings");
        assert_none(&of_all(|path, page| {
            page.problems.iter().filter(|problem| !again(path, problem)).cloned().collect()
        }));
    }

    #[test]
    fn every_link_leads_somewhere() {
        assert_none(&of_all(|path, page| {
            let broken = page.links().into_iter().filter(|(_, target)| !leads_somewhere(path, page, target));
            broken.map(|(line, target)| format!("{line}: {target}")).collect()
        }));
    }

    /// A page to which nothing leads is found by no one.
    #[test]
    fn every_page_is_in_the_index() {
        let index = Page::read(&read(Path::new(INDEX)));
        let listed: Vec<PathBuf> = index.links().into_iter().map(|(_, it)| Path::new("docs").join(it)).collect();
        let missing = |path: &Path| path.starts_with("docs") && ![INDEX, SUMMARY].map(Path::new).contains(&path);
        assert_none(&of_all(|path, _| {
            let is_missing = missing(path) && !listed.iter().any(|it| it == path);
            is_missing.then(|| format!("{INDEX} does not list it")).into_iter().collect()
        }));
    }

    /// mdBook renders what its summary lists, and nothing else.
    #[test]
    fn the_summary_has_the_index_s_pages() {
        let entries = |page: &str| -> Vec<String> {
            let text = read(Path::new(page));
            text.lines().filter(|line| line.starts_with("- [")).map(str::to_string).collect()
        };
        assert_eq!(entries(SUMMARY), entries(INDEX), "{SUMMARY} and {INDEX}");
        assert!(entries(SUMMARY).len() > 20);
        assert!(read(Path::new(SUMMARY)).contains("(README.md)"), "{SUMMARY} lacks the index");
        let book = read(Path::new("book.toml"));
        assert!(book.contains("src = \"docs\""), "{book}");
    }

    /// Keep a Changelog: what is not released comes first, each version has its day, and changes have their kind.
    #[test]
    fn the_changelog_has_its_form() {
        let text = read(Path::new(CHANGELOG));
        let versions: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(versions.first(), Some(&"[Unreleased]"));
        let is_release = |line: &str| {
            line.split_once("] - ").is_some_and(|(version, day)| {
                version.starts_with('[') && day.len() == 10 && day.split('-').count() == 3
            })
        };
        assert_none(
            &versions[1..].iter().filter(|line| !is_release(line)).map(|it| (*it).to_string()).collect::<Vec<_>>(),
        );
        const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
        let kinds = text.lines().filter_map(|line| line.strip_prefix("### "));
        assert_none(&kinds.filter(|kind| !KINDS.contains(kind)).map(str::to_string).collect::<Vec<_>>());
    }

    fn unplain_page(page: &Page) -> Vec<String> {
        let of_block = |(line, block): &(usize, String)| {
            unplain(block).into_iter().map(|problem| format!("{line}: {problem}")).collect::<Vec<_>>()
        };
        page.blocks.iter().flat_map(of_block).collect()
    }

    fn leads_somewhere(path: &Path, page: &Page, target: &str) -> bool {
        if target.starts_with("https://") {
            return true;
        }
        let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
        let has = |page: &Page| anchor.is_none_or(|anchor| page.anchors.iter().any(|it| it == anchor));
        if file.is_empty() {
            return has(page);
        }
        let named = layout::root().join(path.parent().unwrap_or(Path::new(""))).join(file);
        match fs::read_to_string(&named) {
            Ok(text) => has(&Page::read(&text)),
            // A folder is shown by the forge.
            Err(_) => anchor.is_none() && named.is_dir(),
        }
    }

    #[test]
    fn what_is_wrong_is_found() {
        let [short, widest] = [MAX_WORDS - 1, MAX_WORDS].map(|count| "word ".repeat(count));
        let said = |text: &str| unplain_page(&Page::read(text)).len();
        assert_eq!(said(&widest), 0);
        assert_eq!(said(&format!("{widest}\nmore")), 1);
        assert_eq!(said(&format!("{short}end. A {short}\n- {widest}\n\n| {widest} | {widest} |\n## {widest}")), 0);
        assert_eq!(said(&format!("[{widest}more](x)")), 1);
        assert_eq!(said(&format!("```text\n{widest}more\n```\n`{widest}`")), 0);
        assert_eq!(said("Whoever asks, his `he` (him)."), 3);
        assert_eq!(Page::read("```\na").problems.len(), 1);
        assert_eq!(Page::read("- a\n  ```sql\n  ```").problems.len(), 2);
        assert_eq!(Page::read("# A b\n## A, b").problems.len(), 1);
        let page = Page::read("# Who may *what*?\n[a](x.md#y) `[b](z)` and [c](#d)\n");
        assert_eq!(page.anchors, ["who-may-what"]);
        assert_eq!(page.links(), [(2, "x.md#y".to_string()), (2, "#d".to_string())]);
        let somewhere = |target| leads_somewhere(Path::new("README.md"), &page, target);
        for target in ["#who-may-what", "README.md", "docs", "https://example.com"] {
            assert!(somewhere(target), "{target}");
        }
        for target in ["#what", "README.md#nothing-such", "NONE.md", "docs#a"] {
            assert!(!somewhere(target), "{target}");
        }
    }
}
