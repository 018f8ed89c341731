//! Steps that write messages: appended, drafted, finished, branched to and merged.

use anyhow::{Result, ensure};
use rand::RngExt;
use tollgate_tests::session::literal;
use uuid::Uuid;

use crate::TENANT;
use crate::model::{Message, MessageNumber, Path, PathNumber, Role};
use crate::support::id;
use crate::walk::{Sent, Walk};

fn argument(request: Option<&String>) -> String {
    request.map_or(String::new(), |request| format!(", p_request_id => '{request}'"))
}

impl Walk {
    fn role(&mut self) -> Role {
        match self.random.random_range(0..10) {
            0..4 => Role::User,
            4..7 => Role::Assistant,
            _ => Role::Tool,
        }
    }

    fn token_count(&mut self) -> Option<u64> {
        self.chance(2).then(|| self.random.random_range(0..12))
    }

    pub fn append(&mut self) -> Result<()> {
        let named = (!self.chance(3)).then(|| self.any_path());
        let path = named.unwrap_or_else(|| self.chat.current());
        let (role, content, tokens) = (self.role(), self.words(), self.token_count());
        let is_draft = self.chance(8);
        let request = self.request_id();
        let last = self.chat.paths[path].list.last().map(|number| self.message_id(*number));
        // What the caller has seen last, which may be another's message by now.
        let expected = self.chance(4).then(|| if self.chance(2) { last } else { Some(Uuid::from_u128(7)) }).flatten();
        let mut sql = format!("select * from public.append_message({}, ", self.tenant_and_chat());
        sql += &format!("'{}', {}", role.name(), literal(&content));
        sql += &named.map_or(String::new(), |path| format!(", p_path_id => '{}'", self.path_id(path)));
        sql += &tokens.map_or(String::new(), |tokens| format!(", p_token_count => {tokens}"));
        sql += &expected.map_or(String::new(), |message| format!(", p_expected_last_message_id => '{message}'"));
        sql += if is_draft { ", p_draft => true" } else { "" };
        sql += &format!("{})", argument(request.as_ref()));
        let refused =
            self.chat.is_archived || !self.chat.takes_messages(path) || expected.is_some() && expected != last;
        if refused {
            self.count("append, refused");
            return self.ask("append", &sql, Some("PT409")).map(|_| ());
        }
        let row = self.ask_one(if is_draft { "draft" } else { "append" }, &sql)?;
        ensure!(!row.get::<_, bool>("replayed"), "it was new");
        let mut message = Message::new(row.get("message_id"), path, role, &content, tokens);
        message.is_finished = !is_draft;
        let made = message.id.to_string();
        self.chat.push(message);
        ensure!(row.get::<_, Uuid>("path_id") == self.path_id(path), "on another path");
        ensure!(row.get::<_, i32>("effective_sequence") as usize == self.chat.paths[path].list.len(), "numbered");
        if request.is_some() {
            let (what, column) = ("append again", "message_id");
            self.sent.push(Sent { what, sql, column, value: made, path: None });
        }
        Ok(())
    }

    pub fn append_batch(&mut self) -> Result<()> {
        let path = self.any_path();
        let count = self.random.random_range(1..4);
        let mut batch = Vec::new();
        for _ in 0..count {
            batch.push((self.role(), self.words(), self.token_count()));
        }
        let objects: Vec<String> = batch
            .iter()
            .map(|(role, content, tokens)| {
                let tokens = tokens.map_or(String::new(), |tokens| format!(", \"token_count\": {tokens}"));
                format!("{{\"role\": \"{}\", \"content\": \"{content}\"{tokens}}}", role.name())
            })
            .collect();
        let request = self.request_id();
        let sql = format!(
            "select * from public.append_messages({}, '{}', '[{}]'{})",
            self.tenant_and_chat(),
            self.path_id(path),
            objects.join(", "),
            argument(request.as_ref())
        );
        if self.chat.is_archived || !self.chat.takes_messages(path) {
            self.count("append, refused");
            return self.ask("batch", &sql, Some("PT409")).map(|_| ());
        }
        let rows = self.ask("batch", &sql, None)?;
        ensure!(rows.len() == batch.len(), "{} rows", rows.len());
        let first = self.chat.messages.len();
        for (row, (role, content, tokens)) in rows.iter().zip(batch) {
            let number = self.chat.push(Message::new(row.get("message_id"), path, role, &content, tokens));
            let position = self.chat.position(path, number).unwrap_or_default();
            ensure!(row.get::<_, i32>("effective_sequence") as usize == position, "numbered");
        }
        if request.is_some() {
            let (what, column, value) = ("append again", "message_id", self.message_id(first).to_string());
            self.sent.push(Sent { what, sql, column, value, path: None });
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<()> {
        let drafts: Vec<MessageNumber> =
            (0..self.chat.messages.len()).filter(|number| !self.chat.messages[*number].is_finished).collect();
        let number = match self.pick(&drafts) {
            Some(draft) if !self.chance(4) => Some(draft),
            _ => self.any_message(),
        };
        let Some(number) = number else { return self.append() };
        let message = self.chat.messages[number].clone();
        let content = if message.is_finished && self.chance(2) { message.content.clone() } else { self.words() };
        let sql =
            format!("select * from public.finish_message('{}', '{}', {})", id(TENANT), message.id, literal(&content));
        let is_again = message.is_finished && content == message.content;
        if !is_again && (message.is_finished || self.chat.is_archived) {
            self.count("finish, refused");
            return self.ask("finish", &sql, Some("PT409")).map(|_| ());
        }
        let row = self.ask_one(if is_again { "finish again" } else { "finish" }, &sql)?;
        ensure!(row.get::<_, bool>("replayed") == is_again, "finished once");
        self.chat.messages[number].content = content;
        self.chat.messages[number].is_finished = true;
        Ok(())
    }

    pub fn branch(&mut self) -> Result<()> {
        let Some(number) = self.any_message() else { return self.append() };
        let is_before = self.chance(3);
        let is_activated = self.chance(3);
        let request = self.request_id();
        let sql = format!(
            "select * from public.branch_from_message({}, '{}', p_position => '{}', p_activate => {is_activated}{})",
            self.tenant_and_chat(),
            self.message_id(number),
            if is_before { "before" } else { "after" },
            argument(request.as_ref())
        );
        if self.chat.is_archived {
            return self.ask("branch", &sql, Some("PT409")).map(|_| ());
        }
        let owner = self.chat.messages[number].owner;
        let position = self.chat.position(owner, number).unwrap_or_default();
        let inherited = position - usize::from(is_before);
        let list = self.chat.paths[owner].list[..inherited].to_vec();
        let parent = list.last().map(|last| self.path_id(self.chat.messages[*last].owner));
        let row = self.ask_one(if is_before { "branch before" } else { "branch" }, &sql)?;
        ensure!(!row.get::<_, bool>("replayed"), "it was new");
        ensure!(row.get::<_, i32>("inherited_count") as usize == inherited, "it inherits {inherited}");
        ensure!(row.get::<_, Option<Uuid>>("parent_path_id") == parent, "its parent wrote the last");
        let path = Path { id: row.get("path_id"), list, inherited, is_active: true, is_merged: false, is_gone: false };
        let value = path.id.to_string();
        self.chat.paths.push(path);
        let number = self.chat.paths.len() - 1;
        if is_activated {
            self.chat.active = number;
        }
        if request.is_some() {
            let (what, column) = ("branch again", "path_id");
            self.sent.push(Sent { what, sql, column, value, path: Some(number) });
        }
        Ok(())
    }

    pub fn merge(&mut self) -> Result<()> {
        let (source, target) = (self.any_path(), self.any_path());
        if source == target {
            return self.branch();
        }
        let stays = self.chance(3);
        let summary = self.words();
        let news = self.chat.news(source, target);
        let is_mergeable = |walk: &Walk, number: &MessageNumber| {
            let message = &walk.chat.messages[*number];
            message.is_finished && !message.is_deleted
        };
        let mut merged: Vec<MessageNumber> = news.iter().copied().filter(|number| is_mergeable(self, number)).collect();
        merged = self.without_copied(source, target, merged);
        let read = self.chat.paths[source].list.clone();
        let tells_of_removed = read.iter().any(|number| self.chat.messages[*number].is_deleted);
        let (removals, is_stale) = self.removal_count(source, tells_of_removed)?;
        let (mode, arguments, what) = match self.random.random_range(0..3) {
            0 => ("summary", format!(", p_summary_content => {}{removals}", literal(&summary)), "merge summary"),
            1 if !merged.is_empty() => {
                let named: Vec<MessageNumber> = merged.iter().copied().filter(|_| self.chance(2)).collect();
                let named = if named.is_empty() { vec![merged[0]] } else { named };
                let ids: Vec<String> = named.iter().map(|number| self.message_id(*number).to_string()).collect();
                let units: Vec<_> = named.iter().map(|number| self.chat.unit(*number)).collect();
                merged.retain(|number| units.iter().any(|unit| unit.contains(number)));
                ("selective", format!(", p_selected_message_ids => '{{{}}}'", ids.join(",")), "merge selective")
            }
            _ => ("full", String::new(), if merged.is_empty() { "merge of nothing" } else { "merge full" }),
        };
        let request = self.request_id();
        let sql = format!(
            "select * from public.merge_path({}, '{}', '{}', '{mode}'{arguments}, p_archive_source => {}{})",
            self.tenant_and_chat(),
            self.path_id(source),
            self.path_id(target),
            !stays,
            argument(request.as_ref())
        );
        let mut refusal = self.why_not_merge(source, target);
        if refusal.is_none() && mode == "summary" && is_stale {
            self.count("merge, stale");
            refusal = Some("PT409");
        }
        if refusal.is_some() {
            self.count("merge, refused");
            return self.ask("merge", &sql, refusal).map(|_| ());
        }
        let row = self.ask_one(what, &sql)?;
        ensure!(!row.get::<_, bool>("replayed"), "it was new");
        let copies: Vec<Uuid> = row.get("merged_message_ids");
        if mode == "summary" {
            ensure!(copies.is_empty(), "a summary and copies");
            self.note_summary(row.get("summary_message_id"), target, &summary, read);
        } else {
            ensure!(copies.len() == merged.len(), "{} copies of {} messages", copies.len(), merged.len());
            self.note_copies(&copies, target, &merged);
        }
        self.close_source(source, target, stays);
        if request.is_some() {
            let column = if mode == "summary" { "summary_message_id" } else { "merged_message_ids" };
            let ids: Vec<String> = copies.iter().map(Uuid::to_string).collect();
            let value = if mode == "summary" {
                row.get::<_, Uuid>("summary_message_id").to_string()
            } else {
                format!("{{{}}}", ids.join(","))
            };
            self.sent.push(Sent { what: "merge again", sql, column, value, path: Some(source) });
        }
        Ok(())
    }

    fn without_copied(
        &mut self,
        source: PathNumber,
        target: PathNumber,
        messages: Vec<MessageNumber>,
    ) -> Vec<MessageNumber> {
        let before = messages.len();
        let messages = self.chat.without_copied(source, target, messages);
        if messages.len() < before {
            self.count("merge, some known");
        }
        messages
    }

    fn note_summary(&mut self, id: Uuid, target: PathNumber, summary: &str, read: Vec<MessageNumber>) {
        let mut message = Message::new(id, target, Role::System, summary, None);
        message.sums_up = read.into_iter().collect();
        self.chat.push(message);
    }

    fn note_copies(&mut self, copies: &[Uuid], target: PathNumber, merged: &[MessageNumber]) {
        for (copy, number) in copies.iter().zip(merged) {
            let mut message = self.chat.messages[*number].clone();
            (message.id, message.owner, message.copied_from) = (*copy, target, Some(*number));
            message.sums_up.clear();
            self.chat.push(message);
        }
    }

    fn why_not_merge(&self, source: PathNumber, target: PathNumber) -> Option<&'static str> {
        let from = &self.chat.paths[source];
        if self.chat.is_archived {
            Some("PT409")
        } else if source == 0 {
            Some("22023")
        } else if from.is_merged || !from.is_active || !self.chat.takes_messages(target) {
            Some("PT409")
        } else {
            None
        }
    }

    fn close_source(&mut self, source: PathNumber, target: PathNumber, stays: bool) {
        self.chat.paths[source].is_merged = true;
        if !stays {
            self.chat.paths[source].is_active = false;
            if self.chat.active == source {
                self.chat.active = target;
            }
        }
    }
}
