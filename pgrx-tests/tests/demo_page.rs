//! The page that `cargo xtask demo --html` writes: well formed, by itself, and what the demo did.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use roxmltree::{Document, Node, ParsingOptions};
use tollgate_tests::demo::{DemoOptions, run};
use tollgate_tests::layout;

fn elements<'a>(of: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    of.descendants().filter(move |node| node.tag_name().name() == name)
}

fn text(of: Node) -> String {
    of.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect()
}

/// The figures of a column of the table that has this header.
fn column(page: &Document, header: &str) -> Result<Vec<f64>> {
    let has = |table: &Node| elements(*table, "th").any(|cell| text(cell) == header);
    let table = elements(page.root(), "table").find(has).with_context(|| format!("no table with {header}"))?;
    let at = elements(table, "th").position(|cell| text(cell) == header).context("no such column")?;
    let cells = elements(table, "tr").filter_map(|row| elements(row, "td").nth(at));
    cells.map(|cell| text(cell).parse().with_context(|| format!("{header}: {}", text(cell)))).collect()
}

/// What a browser makes of the page: its elements, after it has painted them to a picture, and what it complains of.
fn open_in_chromium(page: &Path, picture: &Path) -> Result<(String, Vec<String>)> {
    let mut chromium = Command::new(layout::CHROMIUM);
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
    ]);
    chromium.args(["--window-size=1200,2400", "--dump-dom"]);
    chromium.arg(format!("--screenshot={}", picture.display()));
    chromium.arg(format!("--user-data-dir={}", picture.with_extension("profile").display()));
    chromium.arg(format!("file://{}", page.display())).stdin(Stdio::null());
    let output = chromium.output().context("cannot run chromium")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaints = said.lines().filter(|line| line.contains("CONSOLE") || line.contains("net_error"));
    Ok((String::from_utf8(output.stdout)?, complaints.map(str::to_owned).collect()))
}

#[test]
fn the_page_stands_by_itself_and_says_what_the_demo_did() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("demo.html");
    let options = DemoOptions { keep: false, rows: Some(600), clients: 4, html: Some(path.clone()) };
    ensure!(run(&options)?, "the demo found something wrong");
    let html = fs::read_to_string(&path)?;
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let page = Document::parse_with_options(&html, options).context("the page is not well formed")?;

    // Nothing is fetched and nothing runs.
    for node in page.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        ensure!(!["script", "link", "img", "image", "iframe", "object", "use"].contains(&name), "<{name}>");
        for attribute in node.attributes() {
            let runs = attribute.name().starts_with("on") || ["href", "src"].contains(&attribute.name());
            ensure!(!runs && !attribute.value().contains("url("), "{}={}", attribute.name(), attribute.value());
        }
    }
    ensure!(!html.contains("@import") && !html.contains("NaN"), "{html}");

    let charts: Vec<Node> = elements(page.root(), "svg").collect();
    assert_eq!(charts.len(), 5);
    let areas = |chart: usize| elements(charts[chart], "polygon").count();
    assert_eq!((areas(0), areas(1), areas(2)), (3, 7, 2), "tenants, models and sandboxes, spent and held");
    for (chart, words) in [
        (0, vec!["Aurora", "Borealis", "Cobalt"]),
        (1, vec!["openai/gpt-4o", "gemini/gemini-2.5-flash", "sandboxes"]),
        (2, vec!["spent", "held"]),
        (3, vec!["admitted", "refused"]),
        (4, vec!["refused", "let in: reserve, then record", "10"]),
    ] {
        let labels: Vec<String> = elements(charts[chart], "text").map(|it| text(it).trim().to_string()).collect();
        for word in words {
            ensure!(labels.iter().any(|label| label == word), "chart {chart} has no {word}: {labels:?}");
        }
    }
    let captions: Vec<String> = elements(page.root(), "figcaption").map(text).collect();
    assert_eq!(captions.len(), 5);
    ensure!(captions[4].starts_with("As the clients measured"), "{captions:?}");
    // 600 calls; those that were let in are those that cost something.
    let (calls, refused) = (column(&page, "calls")?, column(&page, "refused")?);
    let llm_refused: f64 = refused.first().copied().context("nothing was refused")?;
    assert_eq!(calls.iter().sum::<f64>() + llm_refused, 600.0, "{calls:?}, {refused:?}");
    ensure!(column(&page, "USD")?.iter().all(|usd| *usd > 0.0), "a model cost nothing");

    // Of one conversation the path that it began with and a branch, which alone had a sandbox.
    assert_eq!(column(&page, "messages")?, [12.0, 10.0]);
    let (sandboxes, paths) = (column(&page, "sandbox USD")?, column(&page, "path USD")?);
    ensure!(sandboxes[0] == 0.0 && sandboxes[1] > 0.0, "{sandboxes:?}");
    ensure!(paths.iter().zip(&sandboxes).all(|(path, sandbox)| path > sandbox), "{paths:?}, {sandboxes:?}");

    let picture = dir.path().join("demo.png");
    let (shown, complaints) = open_in_chromium(&path, &picture)?;
    assert!(complaints.is_empty(), "{complaints:?}");
    assert_eq!(shown.matches("</svg>").count(), 5, "{shown}");
    for word in ["Aurora", "openai/gpt-4o", &captions[4]] {
        ensure!(shown.contains(word), "Chromium shows no {word}");
    }
    // One colour alone is a fraction of this.
    ensure!(fs::metadata(&picture)?.len() > 40_000, "Chromium painted next to nothing");
    Ok(())
}
