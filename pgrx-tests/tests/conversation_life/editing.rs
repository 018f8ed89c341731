//! Steps that change what is shown of messages that are there.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use postgres::Row;
use rand::RngExt;
use tollgate_tests::session::{literal, sqlstate};
use uuid::Uuid;

use crate::TENANT;
use crate::model::{MessageNumber, Operation, OperationState, PathNumber, Role};
use crate::support::id;
use crate::walk::{Sent, Walk};

impl Walk {
    fn when_open(&self) -> Option<&'static str> {
        self.chat.is_archived.then_some("PT409")
    }

    pub fn pin(&mut self) -> Result<()> {
        let Some(number) = self.any_message() else { return self.append() };
        let (these, message) = (self.tenant_and_chat(), self.message_id(number));
        let sql = format!("select public.pin_message({these}, '{message}', null) as found");
        let rows = self.ask("pin", &sql, self.when_open())?;
        self.mark(&rows, number, true)
    }

    pub fn unpin(&mut self) -> Result<()> {
        let Some(number) = self.any_message() else { return self.append() };
        let (these, message) = (self.tenant_and_chat(), self.message_id(number));
        let sql = format!("select public.unpin_message({these}, '{message}') as found");
        let rows = self.ask("unpin", &sql, self.when_open())?;
        self.mark(&rows, number, false)
    }

    fn mark(&mut self, rows: &[Row], number: MessageNumber, is_pinned: bool) -> Result<()> {
        let message = &mut self.chat.messages[number];
        if let Some(row) = rows.first() {
            ensure!(row.get::<_, bool>("found") != message.is_deleted, "found");
            message.is_pinned = is_pinned && !message.is_deleted;
        }
        Ok(())
    }

    /// Hides messages from people and models; gives how many operations told of them.
    fn hide(&mut self, messages: impl IntoIterator<Item = MessageNumber>) -> usize {
        let mut reverted = 0;
        for number in messages {
            if !self.chat.messages[number].is_deleted {
                reverted += self.chat.uncover(number);
                self.chat.messages[number].is_deleted = true;
                self.chat.messages[number].is_pinned = false;
            }
        }
        reverted
    }

    pub fn delete(&mut self) -> Result<()> {
        let Some(number) = self.any_message() else { return self.append() };
        let (these, message) = (self.tenant_and_chat(), self.message_id(number));
        let sql = format!("select operations_reverted from public.delete_message({these}, '{message}')");
        let rows = self.ask("delete", &sql, self.when_open())?;
        if let Some(row) = rows.first() {
            let reverted = self.hide(self.chat.unit(number));
            ensure!(row.get::<_, i32>(0) as usize == reverted, "{reverted} operations are reverted");
        }
        Ok(())
    }

    pub fn erase_message(&mut self) -> Result<()> {
        let Some(number) = self.any_message() else { return self.append() };
        let (these, message) = (self.tenant_and_chat(), self.message_id(number));
        let row =
            self.ask_one("erase a message", &format!("select * from public.erase_message({these}, '{message}')"))?;
        let traces = self.chat.traces(number);
        ensure!(row.get::<_, i64>("erased") as usize == traces.len(), "{} are erased", traces.len());
        ensure!(row.get::<_, bool>("done"), "done");
        for trace in traces {
            // An erased message tells a model as little as a deleted one.
            self.chat.uncover(trace);
            self.hide(self.chat.unit(trace));
            let message = &mut self.chat.messages[trace];
            message.content.clear();
            message.token_count = Some(0);
            (message.is_finished, message.is_erased) = (true, true);
        }
        Ok(())
    }

    /// Some of what an operation would cover: whole units of it, but for one time in six.
    fn keep_some(&mut self, path: PathNumber, through: usize) -> BTreeSet<MessageNumber> {
        let covered = self.chat.paths[path].list[..through].to_vec();
        let mut kept = BTreeSet::new();
        for number in covered {
            if self.chance(6) {
                if self.chance(6) {
                    kept.insert(number);
                } else {
                    kept.extend(self.chat.unit_on(path, number));
                }
            }
        }
        kept
    }

    /// What the writer of a summary has read, as an argument, and whether messages went since. Who says nothing is
    /// refused where the summary tells of a message that went in the last hour.
    pub fn removal_count(&mut self, path: PathNumber, tells_of_removed: bool) -> Result<(String, bool)> {
        let sql = "select removal_count from copilot_internal.conversation_paths where id = $1";
        let count: i32 = self.client.query_one(sql, &[&self.path_id(path)])?.get(0);
        Ok(match self.random.random_range(0..6) {
            0 => (String::new(), tells_of_removed),
            1 if count > 0 => (format!(", p_removal_count => {}", count - 1), true),
            _ => (format!(", p_removal_count => {count}"), false),
        })
    }

    pub fn compact(&mut self) -> Result<()> {
        let path = self.any_path();
        let list = self.chat.paths[path].list.clone();
        if list.is_empty() {
            return self.append();
        }
        let through = self.random.random_range(0..list.len()) + 1;
        let kept = self.keep_some(path, through);
        let governing = self.chat.governing(path);
        let base = if self.chance(5) { None } else { governing.map(|number| self.chat.operations[number].id) };
        let summary = self.words();
        let request = self.request_id();
        let tells_of_removed = list[..through].iter().any(|number| self.chat.messages[*number].is_deleted);
        let (read, is_stale) = self.removal_count(path, tells_of_removed)?;
        let ids: Vec<String> = kept.iter().map(|number| self.message_id(*number).to_string()).collect();
        let mut sql = format!("select * from public.apply_compaction({}, ", self.tenant_and_chat());
        sql += &format!("'{}', '{}', 'semantic', ", self.path_id(path), self.message_id(list[through - 1]));
        sql += &format!("{}, p_kept_message_ids => '{{{}}}'", literal(&summary), ids.join(","));
        sql += &base.map_or(String::new(), |base| format!(", p_base_operation_id => '{base}'"));
        sql += &request.as_ref().map_or(String::new(), |request| format!(", p_request_id => '{request}'"));
        sql += &format!("{read})");
        let mut refusal = self.why_not_compact(path, through, &kept, base);
        if refusal.is_none() && is_stale {
            self.count("compact, stale");
            refusal = Some("PT409");
        }
        if let Some(refusal) = refusal {
            self.count("compact, refused");
            return self.ask("compact", &sql, Some(refusal)).map(|_| ());
        }
        let row = self.ask_one("compact", &sql)?;
        self.note_operation(&row, path, through, kept, summary)?;
        if request.is_some() {
            let value = row.get::<_, Uuid>("operation_id").to_string();
            let (what, column) = ("compact again", "operation_id");
            self.sent.push(Sent { what, sql, column, value, path: Some(path) });
        }
        Ok(())
    }

    fn note_operation(
        &mut self,
        row: &Row,
        path: PathNumber,
        through: usize,
        mut kept: BTreeSet<MessageNumber>,
        summary: String,
    ) -> Result<()> {
        let covered = self.chat.paths[path].list[..through].to_vec();
        let pinned: Vec<_> = covered.iter().filter(|number| self.chat.messages[**number].is_pinned).collect();
        ensure!(row.get::<_, i32>("pinned_preserved") as usize == pinned.len(), "{} are pinned", pinned.len());
        for number in pinned {
            kept.extend(self.chat.unit_on(path, *number));
        }
        let summed_up =
            covered.iter().filter(|number| !self.chat.messages[**number].is_deleted && !kept.contains(number));
        let summed_up = summed_up.count();
        ensure!(row.get::<_, i32>("messages_covered") as usize == summed_up, "{summed_up} are covered");
        ensure!(!row.get::<_, bool>("replayed"), "it was new");
        let is_applied = row.get::<_, String>("state") == "applied";
        let state = if is_applied { OperationState::Applied } else { OperationState::Failed };
        if !is_applied {
            self.count("compact, not smaller");
        }
        self.chat.operations.push(Operation { id: row.get("operation_id"), path, through, summary, kept, state });
        Ok(())
    }

    fn why_not_compact(
        &self,
        path: PathNumber,
        through: usize,
        kept: &BTreeSet<MessageNumber>,
        base: Option<Uuid>,
    ) -> Option<&'static str> {
        let (chat, this) = (&self.chat, &self.chat.paths[path]);
        let governing = chat.governing(path).map(|number| &chat.operations[number]);
        let is_closed = chat.is_archived || !this.is_active || this.is_merged;
        if is_closed || governing.map(|operation| operation.id) != base {
            return Some("PT409");
        }
        let parts_a_call = this.list.get(through).is_some_and(|next| chat.messages[*next].role == Role::Tool);
        if governing.is_some_and(|operation| through < operation.through) || parts_a_call {
            return Some("22023");
        }
        let is_open = |number: &MessageNumber| {
            let message = &chat.messages[*number];
            !message.is_finished && !message.is_deleted
        };
        if this.list[..through].iter().any(is_open) {
            return Some("PT409");
        }
        let is_whole = kept.iter().all(|number| chat.unit_on(path, *number).is_subset(kept));
        (!is_whole).then_some("22023")
    }

    pub fn revert(&mut self) -> Result<()> {
        let all: Vec<usize> = (0..self.chat.operations.len())
            .filter(|n| !self.chat.paths[self.chat.operations[*n].path].is_gone)
            .collect();
        let Some(number) = self.pick(&all) else { return self.compact() };
        let operation = self.chat.operations[number].clone();
        let sql = format!("select * from public.revert_compaction('{}', '{}')", id(TENANT), operation.id);
        if self.chat.is_archived || operation.state == OperationState::Failed {
            return self.ask("revert", &sql, Some("PT409")).map(|_| ());
        }
        let row = self.ask_one("revert", &sql)?;
        ensure!(row.get::<_, bool>("replayed") == (operation.state == OperationState::Reverted), "reverted once");
        self.chat.operations[number].state = OperationState::Reverted;
        let governing = self.chat.governing(operation.path).map(|number| self.chat.operations[number].id);
        ensure!(row.get::<_, Option<Uuid>>("effective_operation_id") == governing, "{governing:?} governs");
        Ok(())
    }

    pub fn archive(&mut self) -> Result<()> {
        let is_archived = !self.chat.is_archived;
        let these = self.tenant_and_chat();
        let sql = format!("select archived_at from public.archive_conversation({these}, {is_archived})");
        let row = self.ask_one("archive", &sql)?;
        ensure!(row.get::<_, Option<std::time::SystemTime>>(0).is_some() == is_archived, "archived");
        self.chat.is_archived = is_archived;
        Ok(())
    }

    pub fn activate(&mut self) -> Result<()> {
        let path = self.any_path();
        let (these, named) = (self.tenant_and_chat(), self.path_id(path));
        let refusal = (self.chat.is_archived || !self.chat.takes_messages(path)).then_some("PT409");
        let sql = format!("select * from public.set_active_path({these}, '{named}')");
        self.ask("activate", &sql, refusal)?;
        if refusal.is_none() {
            self.chat.active = path;
        }
        Ok(())
    }

    /// Takes a path out of use, or back.
    pub fn switch_path(&mut self) -> Result<()> {
        let path = self.any_path();
        let is_active = !self.chat.paths[path].is_active;
        let (named, is_merged) = (self.path_id(path), self.chat.paths[path].is_merged);
        let sql = format!("select * from public.update_path('{}', '{named}', p_is_active => {is_active})", id(TENANT));
        let refusal = if self.chat.is_archived || is_active && is_merged {
            Some("PT409")
        } else if !is_active && path == 0 {
            Some("22023")
        } else {
            None
        };
        self.ask("switch", &sql, refusal)?;
        if refusal.is_none() {
            self.chat.paths[path].is_active = is_active;
        }
        Ok(())
    }

    /// The application's store deletes paths: one that has written nothing goes, another stays.
    pub fn remove_path(&mut self) -> Result<()> {
        let path = self.any_path();
        let has_messages = self.chat.paths[path].list.len() > self.chat.paths[path].inherited;
        if path == 0 {
            return self.branch();
        }
        let refusal = has_messages.then_some("23503");
        let sql = format!("delete from copilot_internal.conversation_paths where id = '{}'", self.path_id(path));
        self.ask("path goes", &sql, refusal)?;
        if refusal.is_none() {
            self.chat.paths[path].is_gone = true;
            self.chat.operations.retain(|operation| operation.path != path);
        }
        Ok(())
    }

    pub fn erase_all(&mut self) -> Result<()> {
        let these = self.tenant_and_chat();
        let row = self.ask_one("erase all", &format!("select * from public.erase_conversation({these})"))?;
        ensure!(row.get::<_, bool>("done"), "done");
        let path = self.path_id(0);
        let read = format!("select from public.get_path_messages('{}', '{path}')", id(TENANT));
        let error = self.client.query(&read, &[]).err();
        ensure!(error.is_some_and(|error| sqlstate(&error) == "P0002"), "it can be read");
        let left = "select (select count(*) from copilot_internal.conversations where id = $1)
            + (select count(*) from copilot_internal.conversation_paths where conversation_id = $1)
            + (select count(*) from copilot_internal.conversation_messages where conversation_id = $1)
            + (select count(*) from copilot_internal.compaction_operations where conversation_id = $1)
            + (select count(*) from copilot_internal.conversation_path_segments where path_id = any ($2))";
        let paths: Vec<Uuid> = self.chat.paths.iter().map(|path| path.id).collect();
        let left: i64 = self.client.query_one(left, &[&self.chat.id, &paths])?.get(0);
        ensure!(left == 0, "{left} rows are left");
        Ok(())
    }
}
