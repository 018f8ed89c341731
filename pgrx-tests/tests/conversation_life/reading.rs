//! Steps that read: a page of a path, forwards or backwards.

use anyhow::{Result, ensure};
use rand::RngExt;
use uuid::Uuid;

use crate::TENANT;
use crate::support::id;
use crate::walk::Walk;

impl Walk {
    pub fn read_page(&mut self) -> Result<()> {
        let path = self.any_path();
        let (limit, with_deleted) = (self.random.random_range(1..6), self.chance(3));
        let total = self.chat.paths[path].list.len();
        let edge = self.random.random_range(0..total + 2);
        let goes_on_after = self.chance(2);
        let named = if goes_on_after { format!("p_after => {edge}") } else { format!("p_before => {}", edge + 1) };
        let sql = format!(
            "select id, has_more from public.get_path_messages('{}', '{}', {limit}, {named}, p_include_deleted => {with_deleted})
             order by effective_sequence",
            id(TENANT),
            self.path_id(path)
        );
        let rows = self.ask("page", &sql, None)?;
        let history = self.chat.history(path, with_deleted);
        let (page, has_more): (Vec<_>, bool) = if goes_on_after {
            let page: Vec<_> = history.into_iter().filter(|(position, _)| *position > edge).take(limit).collect();
            let is_full = page.len() == limit;
            let last = page.last().map_or(total, |(position, _)| *position);
            (page, is_full && last < total)
        } else {
            let mut page: Vec<_> = history.into_iter().filter(|(position, _)| *position <= edge).collect();
            page = page.split_off(page.len().saturating_sub(limit));
            let is_full = page.len() == limit;
            let first = page.first().map_or(1, |(position, _)| *position);
            (page, is_full && first > 1)
        };
        let expected: Vec<(Uuid, bool)> = page.iter().map(|(_, number)| (self.message_id(*number), has_more)).collect();
        let found: Vec<(Uuid, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        ensure!(found == expected, "the page {named} of path {path}: {found:?}, and not {expected:?}");
        Ok(())
    }
}
