//! From the tarball to the first answered call, on a server that has never seen the extension, by the commands that the
//! documents give.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tollgate_tests::cluster::{Cluster, ClusterOptions, PORT, SUPERUSER};
use tollgate_tests::layout;
use tollgate_tests::major::Major;
use tollgate_tests::package::{self, Package};
use tollgate_tests::postgres_tree::PostgresTree;
use tollgate_tests::progress::capture;
use tollgate_tests::support::{assert_verified, id, make_tenant};

/// The commands of a page, for the version in use.
fn commands(page: &str, major: Major) -> Result<String> {
    let text = fs::read_to_string(layout::root().join(page))?;
    let (_, after) = text.split_once("tests/package.rs -->\n```sh\n").context("the page has no marked commands")?;
    let (commands, _) = after.split_once("```").context("the commands do not end")?;
    assert_eq!(commands.trim().lines().count(), 5, "five commands");
    Ok(commands.replace("pg17", &major.feature()))
}

/// Made once for all tests here.
fn packed() -> Result<&'static Package> {
    static PACKED: LazyLock<Result<Package, String>> =
        LazyLock::new(|| package::make(Major::in_use()).map_err(|error| format!("{error:#}")));
    PACKED.as_ref().map_err(|message| anyhow!("{message}"))
}

#[test]
fn five_commands_lead_from_the_tarball_to_an_answer() -> Result<()> {
    let (major, package) = (Major::in_use(), packed()?);
    assert!(package.library.glibc <= (2, 36), "{:?}", package.library);
    let dir = tempfile::tempdir()?;
    let bare = PostgresTree::private(major).copy_without_extension(&dir.path().join("server"))?;
    let (preload, supabase) = (false, false);
    let cluster = Cluster::start_in(&bare, ClusterOptions { preload, supabase, ..ClusterOptions::default() })?;
    let mut client = cluster.superuser("postgres")?;
    let unknown = client.batch_execute("create extension pg_tollgate").expect_err("the server should be bare");
    assert_eq!(unknown.code().map(postgres::error::SqlState::code), Some("0A000"));

    let started = Instant::now();
    let downloads = dir.path().join("downloads");
    fs::create_dir(&downloads)?;
    fs::copy(&package.tarball, downloads.join(package.tarball.file_name().context("a tarball has a name")?))?;
    let commands = ["README.md", "docs/how-to/install.md"].map(|page| commands(page, major));
    let [commands, on_the_page] = commands;
    let commands = commands?;
    assert_eq!(on_the_page?, commands);
    let mut shell = Command::new("sh");
    shell.args(["-euc", &commands]).current_dir(&downloads);
    let path = env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", bare.bindir().display()));
    shell.env("PGHOST", cluster.dir()).env("PGPORT", PORT.to_string());
    shell.env("PGUSER", SUPERUSER).env("PGDATABASE", "postgres");
    let output = shell.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    make_tenant(&mut client, id(1))?;
    let charge = "select allowed from public.check_and_record_quota_atomic('tenant', $1, 60)";
    assert!(client.query_one(charge, &[&id(1)])?.get::<_, bool>(0));
    assert!(!client.query_one(charge, &[&id(1)])?.get::<_, bool>(0));
    let took = started.elapsed();
    println!("counted: package: {:.1} s from the tarball to the first answered call", took.as_secs_f64());
    assert!(took < Duration::from_secs(60), "{took:?}");
    // An upgrade puts the files in place while sessions have the library loaded.
    let copy: String = commands.lines().take(4).map(|line| format!("{line}\n")).collect();
    shell = Command::new("sh");
    shell.args(["-euc", &copy]).current_dir(&downloads);
    shell.env("PATH", format!("{}:{path}", bare.bindir().display()));
    capture(&mut shell)?;
    assert!(!client.query_one(charge, &[&id(1)])?.get::<_, bool>(0));
    assert_verified(&mut client);
    Ok(())
}

/// It names what it needs, and puts everything where Debian's server looks.
#[test]
fn the_debian_package_holds_the_same_files() -> Result<()> {
    let (major, package) = (Major::in_use(), packed()?);
    let needs = capture(Command::new("dpkg-deb").arg("-f").arg(&package.deb).arg("Depends"))?;
    assert_eq!(needs.trim(), format!("postgresql-{major}, libc6 (>= {}), libgcc-s1", package.library.glibc_text()));
    let files = |listing: String| -> Vec<String> {
        let names = listing.lines().filter_map(|line| line.rsplit('/').next()).map(str::to_string);
        let mut names: Vec<String> =
            names.filter(|name| name.starts_with("pg_tollgate") && name.contains('.')).collect();
        names.sort();
        names
    };
    let in_deb = files(capture(Command::new("dpkg-deb").arg("-c").arg(&package.deb))?);
    let mut in_tarball = files(capture(Command::new("tar").arg("-tzf").arg(&package.tarball))?);
    in_tarball.retain(|name| !name.ends_with(".gz"));
    assert_eq!(in_deb, in_tarball);
    for extension in tollgate_tests::scripts::extensions()? {
        assert!(in_deb.contains(&format!("{extension}.control")), "{in_deb:?}");
    }
    let listing = capture(Command::new("dpkg-deb").arg("-c").arg(&package.deb))?;
    for place in
        ["lib/pg_tollgate.so".to_string(), format!("usr/share/postgresql/{major}/extension/pg_tollgate.control")]
    {
        assert!(listing.contains(&place), "{place} is not in\n{listing}");
    }
    Ok(())
}

/// In a root of its own, which has the server's files where Debian has them and knows no other package.
#[test]
fn the_debian_package_is_installed_and_removed() -> Result<()> {
    let (major, package) = (Major::in_use(), packed()?);
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    let server = PostgresTree::private(major).copy_without_extension(&root)?;
    for known in ["var/lib/dpkg/updates", "var/lib/dpkg/info"] {
        fs::create_dir_all(root.join(known))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", root.display())).arg("--force-not-root");
        command.arg(format!("--log={}", dir.path().join("log").display())).args(arguments);
        capture(&mut command)
    };
    let deb = package.deb.display().to_string();
    let missing = dpkg(&["-i", deb.as_str()]).expect_err("it needs a server, of which this root does not know");
    assert!(format!("{missing:#}").contains(&format!("depends on postgresql-{major}")), "{missing:#}");
    dpkg(&["--force-depends", "-i", deb.as_str()])?;

    let (preload, supabase) = (false, false);
    let cluster = Cluster::start_in(&server, ClusterOptions { preload, supabase, ..ClusterOptions::default() })?;
    let mut client = cluster.superuser("postgres")?;
    client.batch_execute("create extension pg_tollgate_conversations cascade")?;
    make_tenant(&mut client, id(1))?;
    let charge = "select allowed from public.check_and_record_quota_atomic('tenant', $1, 60)";
    assert!(client.query_one(charge, &[&id(1)])?.get::<_, bool>(0));
    assert_verified(&mut client);

    let name = format!("postgresql-{major}-pg-tollgate");
    assert!(dpkg(&["-L", name.as_str()])?.contains("/pg_tollgate.so"));
    assert_eq!(dpkg(&["--verify", name.as_str()])?, "");
    dpkg(&["-r", name.as_str()])?;
    let left: Vec<String> = [server.libdir(), server.extension_dir()]
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|file| file.starts_with("pg_tollgate"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}
