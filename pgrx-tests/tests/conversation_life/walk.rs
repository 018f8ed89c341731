//! One life: a step at a time is chosen, said to the server, and held against what the model expects of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use postgres::{Client, Row};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tollgate_tests::session::{message, sqlstate};
use uuid::Uuid;

use crate::comparison::{Limits, compare, verify};
use crate::model::{Chat, MessageNumber, PathNumber};
use crate::support::id;
use crate::{OWNER, TENANT};

/// Every so many steps all paths are compared, and the whole is verified.
const COMPARE_ALL_EVERY: usize = 5;
const VERIFY_EVERY: usize = 10;

/// A request that was answered, to be sent again: the same answer must come, and nothing else happen.
#[derive(Clone, Debug)]
pub struct Sent {
    pub what: &'static str,
    pub sql: String,
    /// The column that tells what was made, and its value as text.
    pub column: &'static str,
    pub value: String,
    /// A path that must be there: else nothing remembers the request.
    pub path: Option<PathNumber>,
}

pub struct Walk {
    pub client: Client,
    pub random: ChaCha8Rng,
    pub chat: Chat,
    pub said: Vec<String>,
    pub sent: Vec<Sent>,
    tally: BTreeMap<&'static str, usize>,
    next_request: usize,
}

impl Walk {
    pub fn new(mut client: Client, seed: u64, tally: BTreeMap<&'static str, usize>) -> Result<Walk> {
        let sql = "select conversation_id, path_id from public.create_conversation($1, $2, 'a chat')";
        let row = client.query_one(sql, &[&id(TENANT), &id(OWNER)])?;
        Ok(Walk {
            chat: Chat::new(row.get(0), row.get(1)),
            client,
            random: ChaCha8Rng::seed_from_u64(seed),
            said: Vec::new(),
            sent: Vec::new(),
            tally,
            next_request: 0,
        })
    }

    pub fn end(self) -> (Client, BTreeMap<&'static str, usize>) {
        (self.client, self.tally)
    }

    pub fn live(&mut self, steps: usize) -> Result<()> {
        for step in 1..=steps {
            self.step()?;
            let (paths, limits) = (self.watched(step), self.limits());
            if compare(&mut self.client, &self.chat, &paths, limits)? {
                self.count("context cut");
            }
            self.read_page()?;
            if step % VERIFY_EVERY == 0 {
                verify(&mut self.client)?;
            }
        }
        if self.chance(3) {
            self.erase_all()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        if self.chat.is_archived && self.chance(3) {
            return self.archive();
        }
        match self.random.random_range(0..100) {
            0..26 => self.append(),
            26..31 => self.append_batch(),
            31..37 => self.finish(),
            37..48 => self.branch(),
            48..55 => self.merge(),
            55..62 => self.pin(),
            62..65 => self.unpin(),
            65..69 => self.delete(),
            69..78 => self.compact(),
            78..81 => self.revert(),
            81..83 => self.archive(),
            83..86 => self.erase_message(),
            86..89 => self.activate(),
            89..91 => self.switch_path(),
            91..93 => self.remove_path(),
            _ => self.send_again(),
        }
    }

    /// All paths, but for most steps two.
    fn watched(&mut self, step: usize) -> Vec<PathNumber> {
        if step.is_multiple_of(COMPARE_ALL_EVERY) {
            return self.chat.living();
        }
        let mut paths = vec![self.any_path(), self.any_path()];
        paths.dedup();
        paths
    }

    fn limits(&mut self) -> Limits {
        let messages = if self.chance(2) { 1000 } else { self.random.random_range(1..9) };
        let tokens = self.chance(4).then(|| self.random.random_range(1..40));
        Limits { messages, tokens }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Once in so many times.
    pub fn chance(&mut self, times: u32) -> bool {
        self.random.random_range(0..times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.random.random_range(0..from.len())])
    }

    pub fn any_path(&mut self) -> PathNumber {
        let living = self.chat.living();
        self.pick(&living).unwrap_or_default()
    }

    pub fn any_message(&mut self) -> Option<MessageNumber> {
        let all: Vec<MessageNumber> = (0..self.chat.messages.len()).collect();
        self.pick(&all)
    }

    /// Words of some length that occur once.
    pub fn words(&mut self) -> String {
        self.next_request += 1;
        format!("w{}{}", self.next_request, " word".repeat(self.random.random_range(0..6)))
    }

    /// A request id for every other call.
    pub fn request_id(&mut self) -> Option<String> {
        self.next_request += 1;
        let chat = self.chat.id;
        self.chance(2).then(|| format!("{chat} {}", self.next_request))
    }

    /// Says a statement that must be refused with this SQLSTATE, or answered where there is none.
    pub fn ask(&mut self, what: &'static str, sql: &str, refusal: Option<&str>) -> Result<Vec<Row>> {
        self.said.push(sql.to_string());
        match (self.client.query(sql, &[]), refusal) {
            (Ok(rows), None) => {
                self.count(what);
                Ok(rows)
            }
            (Err(error), Some(expected)) if sqlstate(&error) == expected => Ok(Vec::new()),
            (Ok(_), Some(expected)) => bail!("{what}: {expected} was expected, and it was done"),
            (Err(error), _) => {
                bail!("{what}: {} {}; expected was {refusal:?}", sqlstate(&error), message(&error))
            }
        }
    }

    /// The one row of an answer.
    pub fn ask_one(&mut self, what: &'static str, sql: &str) -> Result<Row> {
        let rows = self.ask(what, sql, None)?;
        ensure!(rows.len() == 1, "{what}: {} rows", rows.len());
        rows.into_iter().next().context("no row")
    }

    /// The value of an `id`, for the end of a statement.
    pub fn tenant_and_chat(&self) -> String {
        format!("'{}', '{}'", id(TENANT), self.chat.id)
    }

    pub fn message_id(&self, number: MessageNumber) -> Uuid {
        self.chat.messages[number].id
    }

    pub fn path_id(&self, number: PathNumber) -> Uuid {
        self.chat.paths[number].id
    }

    /// A request from before: it is remembered, whatever has come between.
    fn send_again(&mut self) -> Result<()> {
        let remembered: Vec<Sent> = self
            .sent
            .iter()
            .filter(|sent| sent.path.is_none_or(|number| !self.chat.paths[number].is_gone))
            .cloned()
            .collect();
        if remembered.is_empty() {
            return self.append();
        }
        let sent = remembered[self.random.random_range(0..remembered.len())].clone();
        self.said.push("-- again".to_string());
        let sql = format!("select replayed, {}::text as made from ({}) r", sent.column, sent.sql);
        let rows = self.ask(sent.what, &sql, None)?;
        ensure!(!rows.is_empty(), "{}: no answer", sent.what);
        for row in &rows {
            ensure!(row.get::<_, bool>(0), "{}: it was done a second time", sent.what);
        }
        let made: Option<String> = rows[0].get(1);
        ensure!(made.as_deref() == Some(sent.value.as_str()), "{}: {made:?}, not {}", sent.what, sent.value);
        Ok(())
    }
}
