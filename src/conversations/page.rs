//! A page of what a path shows people: the newest messages, those before a number, or those after one.
//!
//! Numbers along a path are dense, so a page is a range of them. One query reads what of it is inherited and one what
//! is the path's own, straight into the result. Deleted messages leave it short: then SQL counts how far it must reach,
//! and it is read again.

use pgrx::Uuid;

use super::{Right, acting, authorise, unknown};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::identity::Caller;
use crate::pg::row_set::RowSet;
use crate::pg::spi::types::{BOOL, INT, UUID};
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};
use crate::pg::value::Value;

/// Most messages of a page.
const MOST: i32 = 1_000;

const PATH: &str = "
    select p.tenant_id, p.conversation_id, p.inherited_count, p.last_sequence,
           exists (select from copilot_internal.conversation_paths b
                   where b.parent_path_id = p.id and b.tenant_id = p.tenant_id) as has_branches
    from copilot_internal.conversation_paths p
    where p.id = $1 and ($2 is null or p.tenant_id = $2)";

columns! {
    PathColumn(tenant_id, conversation_id, inherited_count, last_sequence, has_branches)
}

static PATH_PLAN: Plan = Plan::new(PATH, &[UUID, UUID]);

/// From one number of the path to another: path, tenant, both numbers, how many are inherited, whether deleted ones are
/// shown, and whether there are more.
const PAGE_TYPES: &[pgrx::pg_sys::Oid] = &[UUID, UUID, INT, INT, INT, BOOL, BOOL];

/// A query of messages with their numbers and the paths that branch off at them, in order. Columns are those of
/// `resolve_path_messages`, then what is given.
macro_rules! page {
    ($messages:expr, $more:literal) => {
        Plan::new(
            concat!(
                "select m.id, m.conversation_id, m.path_id, m.tenant_id, m.user_id, m.role, m.content, m.metadata,
                        m.sequence_in_path, m.branches <> '{}', m.branches, m.message_type, m.created_at, m.number,
                        m.is_pinned, m.pinned_at, m.pinned_by, m.deleted_at",
                $more,
                " from (",
                $messages,
                ") m"
            ),
            PAGE_TYPES,
        )
    };
}

/// The index has them in their order. `offset 0` looks them up once, and not for each column.
macro_rules! branches {
    () => {
        "array(select p.id from copilot_internal.conversation_paths p
               where p.parent_path_id = m.path_id and p.tenant_id = m.tenant_id
                 and p.branch_sequence = m.sequence_in_path
               order by p.created_at, p.id)"
    };
}

macro_rules! own {
    ($branches:expr, $end:literal) => {
        concat!(
            "select m.*, $5 + m.sequence_in_path as number, ",
            $branches,
            " as branches
              from copilot_internal.conversation_messages m
              where m.path_id = $1 and m.tenant_id = $2 and m.sequence_in_path between $3 - $5 and $4 - $5
                and (m.deleted_at is null or $6)
              order by m.sequence_in_path",
            $end
        )
    };
}

macro_rules! inherited {
    () => {
        concat!(
            "select m.*, s.shift + m.sequence_in_path as number, ",
            branches!(),
            " as branches
              from copilot_internal.conversation_path_segments s
              cross join lateral (
                  select o.* from copilot_internal.conversation_messages o
                  where o.path_id = s.source_path_id and o.tenant_id = s.tenant_id
                    and o.sequence_in_path between greatest($3 - s.shift, 1) and least($4, s.to_position) - s.shift
                    and (o.deleted_at is null or $6)
                  offset 0
              ) m
              where s.path_id = $1 and s.tenant_id = $2 and s.to_position >= $3 and s.shift < $4
              order by s.to_position, m.sequence_in_path offset 0"
        )
    };
}

/// The queries of a function.
pub struct Form {
    inherited: Plan,
    own: Plan,
    /// Of a path from which no other branches off.
    own_without_branches: Plan,
}

macro_rules! form {
    ($more:literal) => {
        Form {
            inherited: page!(inherited!(), $more),
            own: page!(own!(branches!(), " offset 0"), $more),
            own_without_branches: page!(own!("'{}'::pg_catalog.uuid[]", ""), $more),
        }
    };
}

pub static RESOLVE_PATH_MESSAGES: Form = form!("");
pub static GET_PATH_MESSAGES: Form = form!(", m.finished_at, $7, m.parts, m.token_count");

/// Where a page begins or ends that deleted messages have left short.
static START_PLAN: Plan = Plan::new("select copilot_internal.page_start($1, $2, $3, $4)", &[UUID, UUID, INT, INT]);
static END_PLAN: Plan = Plan::new("select copilot_internal.page_end($1, $2, $3, $4, $5)", &[UUID, UUID, INT, INT, INT]);

/// What is asked for.
pub struct Asked {
    /// NULL where the path says it.
    pub tenant: Option<Uuid>,
    pub path: Option<Uuid>,
    pub user: Option<Uuid>,
    pub limit: Option<i32>,
    pub before: Option<i32>,
    pub after: Option<i32>,
    pub with_deleted: bool,
}

struct Path {
    id: Uuid,
    tenant: Uuid,
    conversation: Uuid,
    /// Numbers up to this are of what it inherits.
    inherited: i32,
    /// The last number.
    last: i32,
    has_branches: bool,
}

/// A range of numbers, with its bounds; empty where it ends before it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    first: i32,
    last: i32,
}

impl Range {
    fn len(self) -> usize {
        usize::try_from(self.last - self.first + 1).unwrap_or(0)
    }
}

impl Asked {
    fn limit(&self) -> Result<i32> {
        let Some(limit) = self.limit.filter(|limit| (1..=MOST).contains(limit)) else {
            return Err(Error::invalid(format!("p_limit must be between 1 and {MOST}")));
        };
        if self.before.is_some_and(|before| before < 1) || self.after.is_some_and(|after| after < 0) {
            return Err(Error::invalid("p_before must be at least 1, and p_after at least 0"));
        }
        if self.before.is_some() && self.after.is_some() {
            return Err(Error::invalid("a page goes on before or after a number"));
        }
        Ok(limit)
    }

    /// The numbers that the page has if none of them is deleted.
    fn range(&self, limit: i32, path: &Path) -> Range {
        if let Some(after) = self.after {
            let first = after.min(path.last) + 1;
            return Range { first, last: (first + limit - 1).min(path.last) };
        }
        let last = self.before.map_or(path.last, |before| (before - 1).min(path.last));
        Range { first: (last - limit).max(0) + 1, last }
    }

    /// Whether there are messages beyond a page, on the side to which it goes on.
    fn goes_on(&self, range: Range, path: &Path) -> bool {
        if self.after.is_some() { range.last < path.last } else { range.first > 1 }
    }
}

/// Writes the page into the set, in the order of the numbers.
pub fn read(caller: &Caller, form: &'static Form, asked: &Asked, set: &RowSet) -> Result<()> {
    let id = arguments::required(asked.path, "p_path_id")?;
    let user = arguments::id(asked.user, "p_user_id")?;
    // Before the path is looked for: what the caller is told must not say whether it is there.
    acting(caller, user)?;
    let path = find(id, asked.tenant)?.ok_or_else(unknown)?;
    authorise(caller, path.tenant, path.conversation, user, Right::Read)?;
    let limit = asked.limit()?;
    if asked.with_deleted {
        authorise(caller, path.tenant, path.conversation, user, Right::Manage)?;
    }
    let range = asked.range(limit, &path);
    let has_more = asked.goes_on(range, &path);
    let found = spi::session(|spi| form.run(spi, &path, asked, range, set))?;
    if found < range.len() && has_more && !asked.with_deleted {
        let range = reach(&path, asked, limit, range)?;
        set.clear();
        spi::session(|spi| form.run(spi, &path, asked, range, set))?;
    }
    Ok(())
}

fn find(id: Uuid, tenant: Option<Uuid>) -> Result<Option<Path>> {
    spi::session(|spi| {
        let rows = spi.run(&PATH_PLAN, Snapshot::Statement, &[id.into(), tenant.into()])?;
        let path = |row: spi::Row| {
            let inherited = row.need(PathColumn::inherited_count)?;
            let own: i32 = row.need(PathColumn::last_sequence)?;
            Ok(Path {
                id,
                tenant: row.need(PathColumn::tenant_id)?,
                conversation: row.need(PathColumn::conversation_id)?,
                inherited,
                last: inherited + own,
                has_branches: row.need(PathColumn::has_branches)?,
            })
        };
        rows.first().map(path).transpose()
    })
}

impl Form {
    fn run(&'static self, spi: &Session, path: &Path, asked: &Asked, range: Range, set: &RowSet) -> Result<usize> {
        let parameters: [Value; 7] = [
            path.id.into(),
            path.tenant.into(),
            range.first.into(),
            range.last.into(),
            path.inherited.into(),
            asked.with_deleted.into(),
            asked.goes_on(range, path).into(),
        ];
        let mut found = 0;
        if range.first <= path.inherited.min(range.last) {
            found += spi.run_into(set, &self.inherited, &parameters)?;
        }
        if range.last > path.inherited && range.len() > 0 {
            let own = if path.has_branches { &self.own } else { &self.own_without_branches };
            found += spi.run_into(set, own, &parameters)?;
        }
        Ok(found)
    }
}

/// The range that has as many messages that are not deleted, if there are so many.
fn reach(path: &Path, asked: &Asked, limit: i32, range: Range) -> Result<Range> {
    spi::session_for_functions(|spi| {
        let [tenant, id] = [path.tenant.into(), path.id.into()];
        let number = |plan, parameters: &[Value]| -> Result<i32> {
            let rows = spi.run(plan, Snapshot::Statement, parameters)?;
            rows.first().map_or(Err(Error::internal("a function gave no row")), |row| row.need(1))
        };
        if asked.after.is_some() {
            let first = range.first;
            let last = number(&END_PLAN, &[tenant, id, first.into(), path.last.into(), limit.into()])?;
            return Ok(Range { first, last });
        }
        let start = number(&START_PLAN, &[tenant, id, range.last.into(), limit.into()])?;
        Ok(Range { first: start + 1, last: range.last })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(limit: i32, before: Option<i32>, after: Option<i32>) -> Asked {
        Asked { tenant: None, path: None, user: None, limit: Some(limit), before, after, with_deleted: false }
    }

    #[test]
    fn a_page_is_a_range_and_says_whether_it_goes_on() {
        let id = Uuid::from_bytes([1; 16]);
        for (last, limit, before, after, expected, goes_on) in [
            (120, 50, None, None, (71, 120), true),
            (50, 50, None, None, (1, 50), false),
            (0, 50, None, None, (1, 0), false),
            (120, 50, Some(71), None, (21, 70), true),
            (120, 50, Some(1), None, (1, 0), false),
            (120, 50, Some(i32::MAX), None, (71, 120), true),
            (120, 50, None, Some(0), (1, 50), true),
            (120, 50, None, Some(70), (71, 120), false),
            (120, 50, None, Some(i32::MAX), (121, 120), false),
        ] {
            let path = Path { id, tenant: id, conversation: id, inherited: 100, last, has_branches: false };
            let asked = asked(limit, before, after);
            let range = asked.range(limit, &path);
            assert_eq!((range.first, range.last), expected, "{last} {before:?} {after:?}");
            assert_eq!(asked.goes_on(range, &path), goes_on, "{last} {before:?} {after:?}");
        }
    }

    #[test]
    fn a_page_has_one_side_and_a_bound() {
        for (asked, message) in [
            (asked(0, None, None), "p_limit must be between 1 and 1000"),
            (asked(1_001, None, None), "p_limit must be between 1 and 1000"),
            (asked(1, Some(0), None), "p_before must be at least 1, and p_after at least 0"),
            (asked(1, None, Some(-1)), "p_before must be at least 1, and p_after at least 0"),
            (asked(1, Some(1), Some(1)), "a page goes on before or after a number"),
        ] {
            assert_eq!(asked.limit(), Err(Error::invalid(message)));
        }
        assert_eq!(asked(1_000, None, Some(0)).limit(), Ok(1_000));
    }
}
