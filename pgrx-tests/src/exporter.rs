//! `prometheus-postgres-exporter` before a server, started as docs/operate/monitoring.md says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Cluster, PORT};
use crate::layout::{EXPORTER, root};
use crate::server_user::ServerUser;

/// A running exporter, which ends with the value, and with the thread that started it.
pub struct Exporter {
    child: Child,
    address: SocketAddr,
}

/// One line of what it prints.
#[derive(Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Exporter {
    pub fn start(cluster: &Cluster, database: &str, role: &str) -> Result<Exporter> {
        if !Path::new(EXPORTER).is_file() {
            bail!(
                "The exporter is missing ({EXPORTER}): `cargo xtask setup` installs it, or the package \
                 prometheus-postgres-exporter"
            );
        }
        let address = free_address()?;
        let mut command = ServerUser::detect()?.command(Path::new("setpriv"));
        command.args(["--pdeathsig", "KILL", EXPORTER, "--disable-default-metrics", "--disable-settings-metrics"]);
        command.args(["--no-collector.database", "--no-collector.bgwriter"]);
        command.arg(format!("--web.listen-address={address}"));
        command.arg(format!("--extend.query-path={}", root().join("examples/monitoring/queries.yaml").display()));
        let server = format!("host={} port={PORT} user={role} dbname={database}", cluster.dir().display());
        command.env("DATA_SOURCE_NAME", server);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start the exporter")?;
        let mut exporter = Exporter { child, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let ended = exporter.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "the exporter does not start: {ended:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(exporter)
    }

    /// The page that Prometheus reads.
    pub fn page(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        ensure!(head.contains(" 200 "), "the exporter answers {head}");
        Ok(body.to_string())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine at which nothing listened a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub fn samples(page: &str) -> Result<Vec<Sample>> {
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Result<Sample> {
    let (series, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once("=\"").with_context(|| format!("no label: {line}"))?;
        Ok((key.to_string(), value.trim_end_matches('"').to_string()))
    });
    let value = value.parse().with_context(|| format!("no value: {line}"))?;
    Ok(Sample { name: name.to_string(), labels: labels.collect::<Result<_>>()?, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() -> Result<()> {
        let found = samples("# HELP a b\n# TYPE a gauge\na{b=\"c, d\",e=\"\"} 1.5e+06\n\nf NaN\n")?;
        let labels = [("b", "c, d"), ("e", "")].map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(found[0], Sample { name: "a".to_string(), labels: labels.into(), value: 1_500_000.0 });
        assert!(found[1].name == "f" && found[1].labels.is_empty() && found[1].value.is_nan());
        assert!(samples("a").is_err());
        assert!(samples("a{b} 1").is_err());
        Ok(())
    }
}
