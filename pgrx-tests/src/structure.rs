//! The shape of the sources, read from their text: modules lean on each other in one direction, and files and lines stay
//! small.
//!
//! Two modules beside each other must not reach each other, by whatever way. A module and what is inside it may. A
//! parent puts its children together, and a child uses what its parent states for all of them. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::layout;

const MAX_LINES: usize = 600;
/// rustfmt keeps it in Rust; SQL has no formatter.
const MAX_COLUMNS: usize = 120;

/// The path of a module below its crate's root.
type Module = Vec<String>;
/// By parent: which of its children uses which other.
type Arrows = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn modules_make_no_circle() {
    let crates = fs::read_dir(layout::root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let mut circles = Vec::new();
    for source in crates.chain([layout::root().join("src"), layout::root().join("pgrx-tests/src")]) {
        let files = files(&source, "rs").into_iter().map(|path| {
            let module = module(path.strip_prefix(&source).unwrap());
            (module, fs::read_to_string(path).unwrap())
        });
        let files: BTreeMap<Module, String> = files.filter(|(module, _)| is_of_the_library(module)).collect();
        assert!(files.len() > 1, "{} holds no modules", source.display());
        circles.extend(all_circles(&files).into_iter().map(|circle| format!("{}: {circle}", source.display())));
    }
    assert!(circles.is_empty(), "modules in a circle:\n{}", circles.join("\n"));
}

#[test]
fn no_file_is_long() {
    let rust =
        ["src", "crates", "pgrx-tests/src", "pgrx-tests/tests"].map(|place| files(&layout::root().join(place), "rs"));
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let all = rust.into_iter().flatten().chain(sql());
    let long: Vec<PathBuf> = all.filter(|path| lines(path) > MAX_LINES).collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}

#[test]
fn no_line_of_sql_is_long() {
    let long = sql().into_iter().flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        long_lines(&text).map(|line| format!("{}:{line}", path.display())).collect::<Vec<_>>()
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "over {MAX_COLUMNS} columns:\n{}", long.join("\n"));
    let widest = "é".repeat(MAX_COLUMNS);
    assert_eq!(long_lines(&format!("{widest}\n{widest}é\n")).collect::<Vec<_>>(), [2]);
}

/// Other than documents, comments may say "nobody".
#[test]
fn comments_call_people_they() {
    let sources = ["src", "crates", "pgrx-tests/src", "pgrx-tests/tests", "pgrx-tests/isolation", "pgrx-tests/regress"];
    let of = |extension| sources.map(|place| files(&layout::root().join(place), extension)).into_iter().flatten();
    let all = of("rs").chain(of("sql")).chain(of("spec")).chain(sql());
    let said = all.flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        called_otherwise(&text).map(|line| format!("{}:{line}", path.display())).collect::<Vec<_>>()
    });
    let said: Vec<String> = said.collect();
    assert!(said.is_empty(), "people are \"they\", transactions \"it\":\n{}", said.join("\n"));
    for mark in COMMENT_MARKS {
        let text = format!("let his = 1;\n{mark}What he says.\nselect 'her'; {mark}the herd\n");
        assert_eq!(called_otherwise(&text).collect::<Vec<_>>(), [2]);
    }
}

/// What people and transactions are not called.
const NOT_CALLED: [&str; 8] = ["he", "him", "his", "himself", "she", "her", "whom", "whoever"];

/// Of Rust, SQL and isolation specs.
const COMMENT_MARKS: [&str; 3] = ["//", "-- ", "# "];

/// The lines whose comment calls people, or a transaction, by a singular pronoun.
fn called_otherwise(text: &str) -> impl Iterator<Item = usize> {
    let says = |line: &str| {
        let Some(start) = COMMENT_MARKS.iter().filter_map(|mark| line.find(mark)).min() else { return false };
        line[start..]
            .split(|it: char| !it.is_alphabetic())
            .any(|word| NOT_CALLED.contains(&word.to_lowercase().as_str()))
    };
    text.lines().enumerate().filter(move |(_, line)| says(line)).map(|(index, _)| index + 1)
}

#[test]
fn one_file_asks_for_the_version_of_postgres() {
    let asks = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("feature = \"pg1");
    let found: Vec<PathBuf> = files(&layout::root().join("src"), "rs").into_iter().filter(asks).collect();
    assert_eq!(found, [layout::root().join("src/version.rs")]);
}

/// The install script, by concern.
fn sql() -> Vec<PathBuf> {
    let mut found = files(&layout::root().join("sql"), "sql");
    // What was released is never edited.
    found.retain(|path| !path.starts_with(layout::root().join("sql/released")));
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The numbers of the lines that are too long.
fn long_lines(text: &str) -> impl Iterator<Item = usize> {
    let columns = text.lines().map(|line| line.chars().count());
    columns.zip(1..).filter(|(columns, _)| *columns > MAX_COLUMNS).map(|(_, line)| line)
}

#[test]
fn a_circle_is_named() {
    let tree = |files: &[(&str, &str)]| -> Vec<String> {
        all_circles(&files.iter().map(|(path, text)| (module(Path::new(path)), text.to_string())).collect())
    };
    // By another module, in a list, and by a path in the code.
    let [a, b] = [("a.rs", "use crate::b::{self, B};"), ("b.rs", "use crate::{c::C, d};\n// use crate::a;")];
    assert_eq!(tree(&[a, b, ("c.rs", "fn c() {}")]), Vec::<String>::new());
    assert_eq!(tree(&[a, b, ("c.rs", "fn c() { crate::a::f() }")]), ["a → b → c → a"]);
    // Inside a room, and between two rooms though no two files use each other.
    assert_eq!(tree(&[("r/x.rs", "use super::y::Y;"), ("r/y.rs", "use super::x::X;")]), ["r::x → r::y → r::x"]);
    let rooms = [("r/x.rs", "use crate::s::x;"), ("s/x.rs", ""), ("s/y.rs", "use crate::r::y;"), ("r/y.rs", "")];
    assert_eq!(tree(&rooms), ["r → s → r"]);
    // A parent and its children, and tests.
    assert!(tree(&[("r/mod.rs", "mod x; use self::x::X;"), ("r/x.rs", "use super::R;")]).is_empty());
    assert!(tree(&[a, ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}")]).is_empty());
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = |it: PathBuf| if it.is_dir() { files(&it, extension) } else { vec![it] };
    let mut found: Vec<PathBuf> = entries.flat_map(below).collect();
    found.retain(|path| path.extension().is_some_and(|it| it == extension));
    found
}

fn module(path: &Path) -> Module {
    let names = path.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !["mod", "lib"].contains(&name.as_str())).collect()
}

fn is_of_the_library(module: &Module) -> bool {
    !module.iter().any(|name| ["bin", "tests", "pg_tests", "structure"].contains(&name.as_str()))
}

fn all_circles(files: &BTreeMap<Module, String>) -> Vec<String> {
    let mut arrows = Arrows::new();
    for (from, text) in files {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        for to in paths(&code.join("\n"), from) {
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let is_there = |to: &[String]| files.keys().any(|module| module.starts_with(to));
            if shared < from.len() && shared < to.len() && is_there(&to[..=shared]) {
                let of_parent = arrows.entry(from[..shared].to_vec()).or_default();
                of_parent.entry(from[shared].clone()).or_default().insert(to[shared].clone());
            }
        }
    }
    let named = arrows.iter().flat_map(|(parent, arrows)| {
        let full = |name: &&str| parent.iter().map(String::as_str).chain([*name]).collect::<Vec<_>>().join("::");
        let named = |circle: Vec<&str>| circle.iter().map(full).collect::<Vec<_>>().join(" → ");
        circles(arrows).into_iter().map(named).collect::<Vec<_>>()
    });
    named.collect()
}

/// The paths that begin with `crate`, `self` or `super`, in `use` lines and elsewhere.
fn paths(code: &str, module: &Module) -> Vec<Module> {
    let is_name = |it: char| it.is_alphanumeric() || it == '_';
    let mut found = Vec::new();
    for (root, levels) in [("crate::", module.len()), ("self::", 0), ("super::", 1)] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|it| !is_name(it) && it != ':' && it != '$') {
                let base = module[..module.len().saturating_sub(levels)].to_vec();
                tree(&code[at + root.len()..], base, &mut found);
            }
        }
    }
    found
}

/// Reads `a::b`, `{a, b::{c, d}}`, to where it ends; gives what follows.
fn tree<'code>(code: &'code str, mut base: Module, found: &mut Vec<Module>) -> &'code str {
    let mut rest = code.trim_start();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            inner = tree(inner, base.clone(), found).trim_start();
            match inner.strip_prefix(',') {
                Some(next) => inner = next,
                None => return inner.strip_prefix('}').unwrap_or(inner),
            }
        }
    }
    let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    rest = after;
    match name {
        "super" => drop(base.pop()),
        "self" | "" => {}
        _ => base.push(name.to_string()),
    }
    if let Some(deeper) = rest.strip_prefix("::") {
        return tree(deeper, base, found);
    }
    found.push(base);
    // A new name for it: `as b`.
    rest.find([',', '}', ';']).map_or("", |end| &rest[end..])
}

/// Ways from a module back to itself; a module that is on one already is not asked for another.
fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for start in arrows.keys().map(String::as_str) {
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop().filter(|_| !found.iter().any(|circle| circle.contains(&start))) {
            let here = way[way.len() - 1];
            for next in arrows.get(here).into_iter().flatten() {
                let longer = [way.as_slice(), &[next.as_str()]].concat();
                if next == start {
                    found.push(longer);
                    break;
                }
                if seen.insert(next) {
                    ways.push(longer);
                }
            }
        }
    }
    found
}
