//! examples/webhook with Debian's Python against a real server and a receiver that is down, fails, hangs, or takes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;
use serde_json::Value;
use tollgate_tests::exporter::free_address;
use tollgate_tests::layout::{PSYCOPG, PYTHON, root, target};
use tollgate_tests::support::{Database, id, make_tenant, text, texts};

/// The worker pauses two seconds, and gives a receiver five.
const PATIENCE: Duration = Duration::from_secs(60);
/// The receiver takes the request and never answers.
const HANG: u16 = 0;

/// What the receiver was sent.
#[derive(Debug, Clone, PartialEq)]
struct Delivery {
    method: String,
    key: String,
    authorization: String,
    body: Value,
}

/// A receiver of POSTs that answers with the status that it is told. It ends with the process.
struct Webhook {
    status: Arc<AtomicU16>,
    deliveries: Receiver<Delivery>,
}

impl Webhook {
    fn listen(address: SocketAddr, status: u16) -> Result<Webhook> {
        let listener = TcpListener::bind(address)?;
        let (sender, deliveries) = channel();
        let status = Arc::new(AtomicU16::new(status));
        let answer = Arc::clone(&status);
        // Connections that are not answered stay open.
        let hanging = Mutex::new(Vec::new());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(Some(stream)) = serve(stream, answer.load(Ordering::SeqCst), &sender)
                    && let Ok(mut hanging) = hanging.lock()
                {
                    hanging.push(stream);
                }
            }
        });
        Ok(Webhook { status, deliveries })
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn next(&self) -> Result<Delivery> {
        self.deliveries.recv_timeout(PATIENCE).context("nothing is delivered")
    }
}

/// Returns the connection where it is to stay open.
fn serve(mut stream: TcpStream, status: u16, sender: &Sender<Delivery>) -> Result<Option<TcpStream>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_string());
    }
    let header = |name: &str| {
        let of_name = |line: &String| {
            line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string())
        };
        head.iter().find_map(of_name).unwrap_or_default()
    };
    let mut body = vec![0; header("Content-Length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let method = head.first().and_then(|line| line.split(' ').next()).unwrap_or_default().to_string();
    // A redirect leads to a page that is there.
    let status = if method == "GET" { 200 } else { status };
    sender.send(Delivery {
        method,
        key: header("Idempotency-Key"),
        authorization: header("Authorization"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })?;
    if status == HANG {
        return Ok(Some(stream));
    }
    write!(stream, "HTTP/1.1 {status} Said\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(None)
}

/// The worker, which ends with the value, and with the thread that started it.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn start(database: &Database, receiver: SocketAddr, number: u32) -> Result<Worker> {
        ensure!(
            Path::new(PSYCOPG).is_file(),
            "`cargo xtask setup` installs python3-psycopg, or the package of that name"
        );
        let log = target().join(format!("webhook-{}-{number}.log", std::process::id()));
        let server = format!("host={} dbname={} user=authenticator", database.cluster.dir().display(), database.name);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", PYTHON, "-B"]).arg(root().join("examples/webhook/deliver_events.py"));
        command.env_clear().env("DATABASE_URL", server).env("PATH", "/usr/bin:/bin");
        command.env("WEBHOOK_URL", format!("http://{receiver}/quota-events")).env("WEBHOOK_TOKEN", "secret");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        Ok(Worker { child: command.spawn().context("cannot start the worker")?, log })
    }

    /// Waits until it has said this.
    fn says(&mut self, wanted: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&self.log)?;
            if said.contains(wanted) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the worker has ended with {status}: {said}");
            }
            ensure!(Instant::now() < deadline, "the worker does not say {wanted}: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

const OPEN: &str = "select id::text from copilot_internal.quota_events where acknowledged_at is null";

/// As after the lease, without waiting for it.
fn end_leases(client: &mut Client) -> Result<()> {
    Ok(client
        .batch_execute("update copilot_internal.quota_events set claimed_until = null where claimed_until > now()")?)
}

fn all_acknowledged(client: &mut Client) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = texts(client, OPEN, &[])?;
        if open.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not acknowledged: {open:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_event_arrives_and_is_acknowledged_only_then() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    make_tenant(&mut client, id(1))?;
    let set = "select public.set_quota('tenant', $1, 'e2b', 0.01, 'lifetime', p_event_thresholds => '{0.2, 0.5, 0.9}')";
    client.execute(set, &[&id(1)])?;
    let charge = "select public.check_and_record_quota_atomic('tenant', $1, 0.0091234567, 'e2b')";
    client.execute(charge, &[&id(1)])?;
    let events = texts(&mut client, &format!("{OPEN} order by created_at, threshold, id"), &[])?;
    assert!(events.len() >= 3, "{events:?}");

    // Down.
    let address = free_address()?;
    let mut worker = Worker::start(&database, address, 1)?;
    worker.says("refused")?;
    assert_eq!(texts(&mut client, OPEN, &[])?.len(), events.len(), "nothing is acknowledged");

    // An error, and a redirect, which would lose the event.
    let webhook = Webhook::listen(address, 500)?;
    for status in [500, 302] {
        webhook.answers(status);
        end_leases(&mut client)?;
        worker.says(&format!("HTTP Error {status}"))?;
        assert_eq!(texts(&mut client, OPEN, &[])?.len(), events.len(), "{status}: nothing is acknowledged");
    }

    // Up again: each event once more, oldest first.
    while webhook.deliveries.recv_timeout(Duration::from_secs(3)).is_ok() {}
    webhook.answers(204);
    end_leases(&mut client)?;
    all_acknowledged(&mut client)?;
    let deliveries: Vec<Delivery> = webhook.deliveries.try_iter().collect();
    let keys: Vec<&str> = deliveries.iter().map(|delivery| delivery.key.as_str()).collect();
    assert_eq!(keys, events);
    for delivery in &deliveries {
        assert_eq!((delivery.method.as_str(), delivery.authorization.as_str()), ("POST", "Bearer secret"));
        let stored = "select payload::text from copilot_internal.quota_events where id::text = $1";
        let stored: Value = serde_json::from_str(&text(&mut client, stored, &[&delivery.key])?)?;
        assert_eq!((&delivery.body["id"], &delivery.body["payload"]), (&Value::from(delivery.key.as_str()), &stored));
        assert_eq!(delivery.body["payload"]["current_spend_usd"].to_string(), "0.009123457");
    }

    taken_and_not_acknowledged(&database, &mut client, worker, address, &webhook)
}

/// A worker that dies in between leaves the event, which another one delivers again under the same key.
fn taken_and_not_acknowledged(
    database: &Database,
    client: &mut Client,
    worker: Worker,
    address: SocketAddr,
    webhook: &Webhook,
) -> Result<()> {
    webhook.answers(HANG);
    client.execute("select public.set_quota('tenant', $1, 'e2b', 0.02, 'lifetime')", &[&id(1)])?;
    let taken = webhook.next()?;
    drop(worker);
    assert_eq!(texts(client, OPEN, &[])?, std::slice::from_ref(&taken.key));
    webhook.answers(200);
    let second = Worker::start(database, address, 2)?;
    end_leases(client)?;
    assert_eq!(webhook.next()?, taken);
    all_acknowledged(client)?;
    drop(second);
    assert_eq!(webhook.deliveries.try_iter().count(), 0);
    Ok(())
}
