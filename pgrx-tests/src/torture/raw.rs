//! A client that vanishes: no Terminate, no end of the transaction, perhaps half a message. Client libraries say goodbye.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::cluster::{PORT, SUPERUSER};

const PROTOCOL: i32 = 3 << 16;
/// Nothing here takes so long, unless the server is gone or stuck.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A connection that speaks the simple protocol (PostgreSQL documentation, "Frontend/Backend Protocol"). Dropping it
/// closes the socket and does nothing else.
pub struct RawClient {
    stream: UnixStream,
}

impl RawClient {
    pub fn connect(socket_dir: &Path, database: &str, options: &str, name: &str) -> Result<RawClient> {
        let stream = UnixStream::connect(socket_dir.join(format!(".s.PGSQL.{PORT}")))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", SUPERUSER, "database", database, "options", options, "application_name", name] {
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut client = RawClient { stream };
        client.write(None, &body)?;
        client.wait()?;
        Ok(client)
    }

    /// Sends a statement and does not wait for the answer.
    pub fn send(&mut self, sql: &str) -> Result<()> {
        self.write(Some(b'Q'), &[sql.as_bytes(), &[0]].concat())
    }

    /// Sends the beginning of a statement.
    pub fn send_half(&mut self, sql: &str) -> Result<()> {
        let length = i32::try_from(sql.len() + 5).map_err(Error::other)?;
        self.stream.write_all(b"Q")?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(&sql.as_bytes()[..sql.len() / 2])
    }

    /// Sends a statement and reads until the server is ready for the next one.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.send(sql)?;
        self.wait()
    }

    fn write(&mut self, kind: Option<u8>, body: &[u8]) -> Result<()> {
        let length = i32::try_from(body.len() + 4).map_err(Error::other)?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        self.stream.write_all(&message)
    }

    /// Until ReadyForQuery; an ErrorResponse on the way is an error.
    fn wait(&mut self) -> Result<()> {
        let mut failed = false;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; (length as usize).saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            match head[0] {
                b'Z' if failed => return Err(Error::other("the statement failed")),
                b'Z' => return Ok(()),
                b'E' => failed = true,
                // Trust is the only authentication of a private server.
                b'R' if body != [0; 4] => return Err(Error::from(ErrorKind::PermissionDenied)),
                _ => {}
            }
        }
    }
}
