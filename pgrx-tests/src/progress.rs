//! What a person sees while something takes long: a spinner or bar on a terminal, sparse plain lines elsewhere.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Without a terminal, a long step says this often that it is still at it.
const STILL_AT_IT: Duration = Duration::from_secs(60);

/// How much of a failed command's output is shown; the rest stays in its log.
const TAIL_LINES: usize = 40;

/// Steps that run side by side have a line each.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints a result, above the spinners, in one piece.
pub fn say(text: &str) {
    BARS.suspend(|| println!("{text}"));
}

fn remark(text: &str) {
    BARS.suspend(|| eprintln!("{text}"));
}

/// One step with a spinner. Ends with `done`; dropped without it, the spinner only disappears.
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
    started: Instant,
    last_said: Instant,
}

impl Step {
    /// `usual` says what to expect, such as "about 7 minutes, once".
    pub fn start(title: &str, usual: &str) -> Step {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = BARS.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(format!("{title} ({usual})"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            remark(&format!("{title} ({usual}) ..."));
        }
        let now = Instant::now();
        Step { title: title.to_string(), bar, started: now, last_said: now }
    }

    /// The latest line of whatever is running.
    pub fn note(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(line.trim().to_string()),
            None if self.last_said.elapsed() >= STILL_AT_IT => {
                let seconds = self.started.elapsed().as_secs();
                remark(&format!("  {}, {seconds} s: {}", self.title, line.trim()));
                self.last_said = Instant::now();
            }
            None => {}
        }
    }

    pub fn done(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        remark(&format!("{}: done in {:.1} s", self.title, self.started.elapsed().as_secs_f64()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a command that ran to its end said, on both streams in order.
pub struct Output {
    pub status: ExitStatus,
    pub text: String,
}

impl Output {
    pub fn tail(&self) -> String {
        tail(&self.text, TAIL_LINES)
    }
}

/// Runs `command` as a step; its output goes to `log`, the latest line beside the spinner.
pub fn run_logged(title: &str, usual: &str, log: &Path, command: &mut Command) -> Result<Output> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = io::pipe().context("cannot create a pipe")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut step = Step::start(title, usual);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    // The command still holds copies of the pipe's end: without closing them the loop below would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {program}"))?;
        let line = without_colours(&String::from_utf8_lossy(&line));
        writeln!(file, "{line}").with_context(|| format!("cannot write {}", log.display()))?;
        step.note(&line);
        text.push_str(&line);
        text.push('\n');
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    if status.success() {
        step.done();
    }
    Ok(Output { status, text })
}

/// As `run_logged`, and a failure ends with the tail of the output.
pub fn run_checked(title: &str, usual: &str, log: &Path, command: &mut Command) -> Result<String> {
    let output = run_logged(title, usual, log, command)?;
    if !output.status.success() {
        bail!("{title} failed ({}). The end of {}:\n{}", output.status, log.display(), output.tail());
    }
    Ok(output.text)
}

/// Runs a short command quietly and returns its standard output; a failure names the command and what it said.
pub fn capture(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}{}",
            output.status,
            tail(&String::from_utf8_lossy(&output.stderr), TAIL_LINES),
            tail(&String::from_utf8_lossy(&output.stdout), TAIL_LINES)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A bar for `total` like things, on a terminal only: elsewhere the caller says a line now and then.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(what.to_string());
    bar
}

/// cargo-pgrx colours its output also where colours are not shown.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or("").to_string();
    for part in parts {
        // An escape sequence is `[`, figures and semicolons, and one letter.
        match part.split_once(|it: char| it.is_ascii_alphabetic()) {
            Some((sequence, rest)) if sequence.starts_with('[') => text.push_str(rest),
            _ => text.push_str(part),
        }
    }
    text
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_the_end() {
        assert_eq!(tail("a\nb\nc\n\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
        assert_eq!(tail("", 5), "");
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\u{1b}[32m\u{1b}[1m  Using\u{1b}[0m\u{1b}[39m it"), "  Using it");
        assert_eq!(without_colours("plain"), "plain");
    }

    #[test]
    fn both_streams_reach_the_log_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("sub/log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let output = run_logged("say", "at once", &log, &mut command).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.text, "one\ntwo\n");
        assert_eq!(fs::read_to_string(log).unwrap(), "one\ntwo\n");
    }
}
