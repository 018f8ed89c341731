//! Tables and views.

use anyhow::Result;
use tollgate_tests::supabase::DefaultPrivileges;

use crate::callers::{Answer, Asker, Cells, Door, Kind, Sessions, all};
use crate::support::{Database, texts};
use crate::world::{seed, tenant_a, tenant_b};

/// Written by the application's server; read by people, except those of [`SERVER_ONLY`].
const CONFIGURATION: &[&str] = &[
    "cost_quotas",
    "default_quotas",
    "e2b_cost_estimates",
    "e2b_pricing",
    "llm_cost_estimates",
    "model_aliases",
    "model_pricing",
    "quota_overrides",
    "tenant_llm_policies",
    "price_markups",
    "tenant_memberships",
    "tenants",
    "user_preferences",
];
/// Written by the kernels alone.
const MONEY: &[&str] = &[
    "conversation_rollups",
    "cost_rollups",
    "e2b_cost_records",
    "llm_cost_records",
    "pending_costs",
    "quota_reservations",
    "reservation_extensions",
    "cost_corrections",
    "quota_charges",
    "quota_events",
    "quota_rollups",
    "period_rollups",
    "total_rollups",
    "user_rollups",
    "purged_costs",
    "retired_costs",
    "erasures",
    "queue_starts",
];
const SHIPPED: &[&str] = &["shipped_model_prices", "shipped_operation_profiles", "shipped_sandbox_prices"];
/// What people have no business with.
const SERVER_ONLY: &[&str] =
    &["default_quotas", "price_markups", "purged_costs", "retired_costs", "erasures", "queue_starts"];

/// What of their own records people may not read: by it and the cost they would know the operator's factor. A report that
/// is not understood may hold both, and a colleague's words.
pub const HIDDEN: [&str; 3] = ["provider_cost_usd", "reported_cost_usd", "usage"];
const WITH_HIDDEN: &[&str] = &[
    "cost_corrections",
    "cost_rollups",
    "e2b_cost_records",
    "llm_cost_records",
    "period_rollups",
    "purged_costs",
    "retired_costs",
    "total_rollups",
];
/// Views that people have no business with.
const ANALYSTS_ONLY: &[&str] = &["housekeeping", "margins"];
/// Views of one row, about the server or the database and not about tenants.
const OF_THE_WHOLE: &[&str] = &["admission", "housekeeping"];

pub struct Relation {
    schema: String,
    name: String,
    is_view: bool,
    /// A column to write to.
    column: String,
    columns: Vec<String>,
}

impl Relation {
    pub fn full(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Every row, as one text each: whole, but for people without what is hidden from them.
    pub fn reading(&self, kind: Kind) -> String {
        let hides = self.schema == "copilot_internal" && WITH_HIDDEN.contains(&self.name.as_str());
        if !hides || !is_person(kind) {
            return format!("select to_jsonb(r)::text from {} r", self.full());
        }
        let open: Vec<&str> = self.columns.iter().map(String::as_str).filter(|name| !HIDDEN.contains(name)).collect();
        format!("select to_jsonb(r)::text from (select {} from {}) r", open.join(", "), self.full())
    }

    pub fn readable_by(&self, kind: Kind) -> bool {
        let inner = self.schema == "copilot_internal";
        match kind {
            Kind::Superuser | Kind::Administrator | Kind::Auditor | Kind::Replicator => true,
            Kind::Service => !(inner && self.is_view),
            Kind::Analyst => !inner,
            Kind::MemberOfA | Kind::MemberOfB | Kind::Invited | Kind::Stranger => {
                let name = self.name.as_str();
                if inner { !self.is_view && !SERVER_ONLY.contains(&name) } else { !ANALYSTS_ONLY.contains(&name) }
            }
            Kind::Anon => false,
        }
    }

    fn writable_by(&self, kind: Kind) -> bool {
        match kind {
            Kind::Superuser => true,
            Kind::Administrator | Kind::Service => CONFIGURATION.contains(&self.name.as_str()),
            _ => false,
        }
    }
}

fn is_person(kind: Kind) -> bool {
    matches!(kind, Kind::MemberOfA | Kind::MemberOfB | Kind::Invited | Kind::Stranger)
}

pub fn relations(database: &Database) -> Result<Vec<Relation>> {
    let sql = "
        select n.nspname::text, c.relname::text, c.relkind = 'v',
               (select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = 1),
               array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('copilot_internal', 'metrics') and c.relkind in ('r', 'v', 'm', 'p') order by 1, 2";
    let rows = database.superuser()?.query(sql, &[])?;
    let relation = |row: &postgres::Row| Relation {
        schema: row.get(0),
        name: row.get(1),
        is_view: row.get(2),
        column: row.get(3),
        columns: row.get(4),
    };
    Ok(rows.iter().map(relation).collect())
}

#[test]
fn each_table_is_classified() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let sql = "select relname::text from pg_class where relnamespace = 'copilot_internal'::regnamespace
               and relkind in ('r', 'p')";
    let mut found = texts(&mut client, sql, &[])?;
    let mut listed = [CONFIGURATION, MONEY, SHIPPED].concat();
    found.sort_unstable();
    listed.sort_unstable();
    assert_eq!(found, listed, "list a new table with its writers");
    Ok(())
}

#[test]
fn relations_where_projects_grant_nothing() -> Result<()> {
    each_caller_against_each_relation(DefaultPrivileges::Secure, Door::Direct)
}

#[test]
fn relations_through_pgbouncer() -> Result<()> {
    each_caller_against_each_relation(DefaultPrivileges::Secure, Door::Pgbouncer)
}

#[test]
fn relations_where_projects_grant_everything() -> Result<()> {
    each_caller_against_each_relation(DefaultPrivileges::Legacy, Door::Direct)
}

fn each_caller_against_each_relation(privileges: DefaultPrivileges, door: Door) -> Result<()> {
    let title = format!("relations, {}, {}", privileges.name(), door.name());
    let database = Database::with_privileges(&title, privileges)?;
    seed(&database)?;
    let relations = relations(&database)?;
    let (_pooler, mut sessions) = door.open(&database)?;
    let mut wrong = Vec::new();
    let mut cells = Cells::default();
    for asker in all() {
        let queries: Vec<String> = relations.iter().map(|relation| relation.reading(asker.kind)).collect();
        for (relation, answer) in relations.iter().zip(sessions.ask(&asker, &queries)?) {
            cells.count(!relation.readable_by(asker.kind), false);
            judge_reading(&asker, relation, answer, &mut wrong);
        }
    }
    // What may be written depends on the role, never on the claims.
    let mut kinds: Vec<Kind> = Vec::new();
    for asker in all() {
        if !kinds.contains(&asker.kind) {
            kinds.push(asker.kind);
            for relation in relations.iter().filter(|relation| !relation.is_view) {
                try_writing(&mut sessions, &asker, relation, &mut cells, &mut wrong)?;
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    println!("{title}: {cells}");
    no_privilege_beside(&database)
}

#[test]
fn what_providers_bill_is_hidden_from_people() -> Result<()> {
    let database = Database::with_privileges("hidden columns", DefaultPrivileges::Legacy)?;
    seed(&database)?;
    let having = texts(
        &mut database.superuser()?,
        "select distinct c.relname::text from pg_attribute a join pg_class c on c.oid = a.attrelid
         where a.attname = any ($1) and c.relkind = 'r' order by 1",
        &[&HIDDEN.as_slice()],
    )?;
    assert_eq!(having, WITH_HIDDEN, "list a table with such a column");
    let (_pooler, mut sessions) = Door::Direct.open(&database)?;
    let mut asked = 0;
    for asker in all().into_iter().filter(|asker| is_person(asker.kind)) {
        let columns = WITH_HIDDEN.iter().map(|name| (*name, HIDDEN[0])).chain([("llm_cost_records", HIDDEN[1])]);
        for (name, column) in columns {
            let queries = [
                format!("select {column}::text from copilot_internal.{name}"),
                format!("select to_jsonb(r)::text from copilot_internal.{name} r"),
                format!("select 'x' from copilot_internal.{name} r where r.{column} > 0"),
            ];
            for (sql, answer) in queries.iter().zip(sessions.ask(&asker, &queries)?) {
                assert!(
                    matches!(&answer, Err(error) if error.starts_with("42501")),
                    "{}: {sql}: {answer:?}",
                    asker.label
                );
                asked += 1;
            }
        }
    }
    assert!(asked > 50, "{asked} queries");
    Ok(())
}

fn judge_reading(asker: &Asker, relation: &Relation, answer: Answer, wrong: &mut Vec<String>) {
    let name = relation.full();
    let expected = relation.readable_by(asker.kind);
    match answer {
        Ok(_) if !expected => wrong.push(format!("{} may select {name}", asker.label)),
        // How the whole works is no tenant's business.
        Ok(rows) if OF_THE_WHOLE.contains(&relation.name.as_str()) && rows.len() != usize::from(asker.sees_all()) => {
            wrong.push(format!("{} sees {} rows in {name}", asker.label, rows.len()));
        }
        Ok(rows) => {
            for marker in asker.forbidden_markers() {
                if let Some(row) = rows.iter().find(|row| row.contains(&marker)) {
                    wrong.push(format!("{} finds {marker} in {name}: {row}", asker.label));
                }
            }
            // A caller that may see must see, or the search above proves nothing.
            let own = match asker.kind {
                Kind::MemberOfA => vec![tenant_a()],
                Kind::MemberOfB => vec![tenant_b()],
                _ if asker.sees_all() => vec![tenant_a(), tenant_b()],
                _ => Vec::new(),
            };
            for tenant in own.iter().filter(|_| shows_tenants(relation, asker)) {
                if !rows.iter().any(|row| row.contains(&tenant.tenant.to_string())) {
                    wrong.push(format!("{} sees nothing of {} in {name}", asker.label, tenant.name));
                }
            }
        }
        Err(error) if expected => wrong.push(format!("{} may not select {name}: {error}", asker.label)),
        Err(error) if !error.starts_with("42501") => wrong.push(format!("{} on {name}: {error}", asker.label)),
        Err(_) => {}
    }
}

/// Whether the seed has left rows there that name each tenant, for this caller.
fn shows_tenants(relation: &Relation, asker: &Asker) -> bool {
    match relation.name.as_str() {
        "llm_cost_estimates" | "e2b_cost_estimates" | "cost_estimates" | "default_quotas" | "model_aliases" => false,
        "purged_costs" | "retired_costs" | "erasures" | "queue_starts" | "checked_queue_starts" => false,
        // A row for each user, of which users see their own; not every user has one.
        "user_preferences" => asker.sees_all(),
        name => !SHIPPED.contains(&name) && !OF_THE_WHOLE.contains(&name),
    }
}

/// Privileges are checked before a row is looked at, so none of these needs to change one.
fn try_writing(
    sessions: &mut Sessions,
    asker: &Asker,
    relation: &Relation,
    cells: &mut Cells,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let (name, column) = (relation.full(), &relation.column);
    let expected = relation.writable_by(asker.kind);
    let statements = [
        format!("insert into {name} select * from {name} where false"),
        format!("insert into {name} default values"),
        format!("update {name} set {column} = {column} where false"),
        format!("delete from {name} where false"),
    ];
    for (sql, answer) in statements.iter().zip(sessions.ask(asker, &statements)?) {
        cells.count(!expected, false);
        let denied = matches!(answer, Err(error) if error.starts_with("42501"));
        if denied == expected {
            let verb = if denied { "may not" } else { "may" };
            wrong.push(format!("{} {verb}: {sql}", asker.label));
        }
    }
    Ok(())
}

/// What no statement above has tried: TRUNCATE passes by every policy, TRIGGER runs code with the writer's rights.
fn no_privilege_beside(database: &Database) -> Result<()> {
    let sql = "
        select format('%s on %s to %s', p.name, c.oid::regclass, r.name)
        from pg_class c
        cross join unnest(array['anon', 'authenticated', 'service_role', 'metrics_reader']) as r (name)
        cross join unnest(array['insert', 'update', 'delete', 'truncate', 'trigger', 'references']) as p (name)
        where c.relnamespace in ('copilot_internal'::regnamespace, 'metrics'::regnamespace) and c.relkind in ('r', 'v', 'm', 'p')
          and has_table_privilege(r.name, c.oid, p.name)
          and not (r.name = 'service_role' and p.name in ('insert', 'update', 'delete') and c.relname = any ($1))
          -- An application's tables refer to tenants.
          and not (r.name = 'service_role' and p.name = 'references' and c.relname = 'tenants')
        union all
        select format('create in %s to %s', n.nspname, r.name)
        from pg_namespace n cross join unnest(array['anon', 'authenticated', 'service_role', 'metrics_reader']) as r (name)
        where n.nspname in ('copilot_internal', 'metrics') and has_schema_privilege(r.name, n.oid, 'create')";
    let found = texts(&mut database.superuser()?, sql, &[&CONFIGURATION])?;
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}
