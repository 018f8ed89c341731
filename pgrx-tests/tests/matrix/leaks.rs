//! What a caller's own conditions get to see: no row that is not shown to the caller, in no column. That holds whatever
//! the condition tells by failing.
//!
//! A leak of this kind gives no row away: a condition that fails on foreign rows says that they are there. So every
//! column of every relation is tried with conditions that fail on secrets. The plan must say that the caller's own
//! conditions run after what decides what the caller may see.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use tollgate_tests::major::Major;
use tollgate_tests::session::literal;
use tollgate_tests::supabase::DefaultPrivileges;

use crate::callers::{Asker, Door, Kind, Sessions, all};
use crate::relations::HIDDEN;
use crate::support::Database;
use crate::world::seed;

/// Conditions that fail with a state of their own on a value that is secret to the caller. Costs and volatilities are
/// what a caller would choose to have the condition run first.
const CONDITIONS: &str = "
    create schema leak;
    grant usage on schema leak to public;
    create function leak.tell(p_value text, p_secrets text[]) returns boolean language plpgsql volatile as $$
    begin
        if p_value = any (p_secrets) then raise exception 'told: %', p_value using errcode = 'LEAK1'; end if;
        return true;
    end $$;
    create function leak.tell_early(p_value text, p_secrets text[]) returns boolean
        language plpgsql immutable cost 0.0000001 as $$
    begin
        if p_value = any (p_secrets) then raise exception 'told: %', p_value using errcode = 'LEAK1'; end if;
        return true;
    end $$;
    -- Each query's one text, or the state in which it failed.
    create function leak.ask(p_queries text[]) returns text language plpgsql volatile as $$
    declare
        v_query text;
        v_answer text;
        v_answers text[] := '{}';
    begin
        foreach v_query in array p_queries loop
            begin
                execute v_query into v_answer;
            exception when others then
                v_answer := 'failed ' || sqlstate;
            end;
            v_answers := v_answers || v_answer;
        end loop;
        return to_json(v_answers);
    end $$;
    grant execute on all functions in schema leak to public;";

/// What the other tests have no row of: a tenant's own estimates, and a quota that is suspended.
const SECRETS: &str = "
    insert into copilot_internal.llm_cost_estimates
        (tenant_id, from_history, model_provider, model_name, operation_type, confidence_level, estimated_cost_usd)
    select id, true, 'own', 'model-' || name, 'task-' || name, 'typical', 0.0421 from copilot_internal.tenants;
    insert into copilot_internal.e2b_cost_estimates
        (tenant_id, from_history, sandbox_type, region, operation_type, confidence_level, estimated_cost_usd)
    select id, true, 'box-' || name, 'region-' || name, 'task-' || name, 'optimistic', 0.0033 from copilot_internal.tenants;
    select public.set_quota('user', owner_id, 'e2b', 7, 'week', p_tenant_id => id, p_suspended => true)
    from copilot_internal.tenants where name = 'bravocherry';";

/// One of each kind; all of them take a minute and learn no more.
const CALLERS: &[&str] = &[
    "postgres",
    "service_role",
    "metrics_reader",
    "supabase_read_only_user",
    "supabase_etl_admin",
    "owner",
    "member",
    "member with the other tenant's id",
    "suspended member",
    "invited, not yet a member",
    "owner of the other tenant",
    "no claims",
    "malformed claims",
    "app_metadata of the victim",
    "role in the claims",
    "anon",
    "anon with an owner's claims",
];

struct Relation {
    name: String,
    /// A view with its owner's rights, which filters for itself; any other relation is held by row level security.
    is_barrier: bool,
    /// Figures that change while they are read: every one of them is a secret.
    is_live: bool,
    columns: Vec<String>,
    /// The text of a view and of those that it may read; what stands in it is no secret.
    definition: String,
}

fn relations(database: &Database) -> Result<Vec<Relation>> {
    let sql = "
        select n.nspname || '.' || c.relname,
               c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false), c.relname = 'admission',
               array(select a.attname::text from pg_attribute a
                     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
               case c.relkind when 'v' then v.definitions else '' end
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        cross join (select string_agg(pg_get_viewdef(oid), ' ') as definitions from pg_class
                    where relkind = 'v' and relnamespace = 'copilot_internal'::regnamespace) v
        where n.nspname in ('copilot_internal', 'metrics') and c.relkind in ('r', 'v', 'm', 'p') order by 1";
    let rows = database.superuser()?.query(sql, &[])?;
    Ok(rows
        .iter()
        .map(|row| Relation {
            name: row.get(0),
            is_barrier: row.get(1),
            is_live: row.get(2),
            columns: row.get(3),
            definition: row.get(4),
        })
        .collect())
}

/// The values that a reader finds in each column, as text.
type Values = Vec<BTreeSet<String>>;

impl Relation {
    /// Every row; what is closed to the reader is empty.
    fn reading(&self, closed: &[bool]) -> String {
        let column =
            |(name, closed): (&String, &bool)| if *closed { "''".to_string() } else { format!("r.\"{name}\"::text") };
        let columns: Vec<String> = self.columns.iter().zip(closed).map(column).collect();
        format!("select to_json(array[{}]::text[])::text from {} r", columns.join(", "), self.name)
    }

    /// Which columns people may not read, of a table that they may read.
    fn closed_to(&self, asker: &Asker) -> Vec<bool> {
        let is_person = matches!(asker.kind, Kind::MemberOfA | Kind::MemberOfB | Kind::Invited | Kind::Stranger);
        let hides = is_person && self.name.starts_with("copilot_internal.");
        self.columns.iter().map(|name| hides && HIDDEN.contains(&name.as_str())).collect()
    }

    /// A constant of the view's own, which the planner may give to a condition that is immutable.
    fn is_constant(&self, value: &str) -> bool {
        let is_word = value.len() < 3 || ["true", "false"].contains(&value);
        !self.definition.is_empty() && (is_word || self.definition.contains(&format!("'{value}'")))
    }

    fn values(&self, rows: &[String]) -> Result<Values> {
        let mut values = vec![BTreeSet::new(); self.columns.len()];
        for row in rows {
            let row: Vec<Option<String>> = serde_json::from_str(row).context("a row that is no array of texts")?;
            for (found, value) in values.iter_mut().zip(row) {
                found.extend(value.filter(|value| !value.is_empty()));
            }
        }
        Ok(values)
    }
}

/// A column's conditions that fail on these values and on no other.
fn conditions(column: &str, secrets: &BTreeSet<&str>) -> Vec<String> {
    let listed: Vec<String> = secrets.iter().map(|secret| literal(secret)).collect();
    let mut found: Vec<String> = ["tell", "tell_early"]
        .iter()
        .map(|function| format!("leak.{function}(r.\"{column}\"::text, array[{}]::text[])", listed.join(", ")))
        .collect();
    found.extend(secrets.iter().next().map(|secret| like(column, secret)));
    found
}

/// PostgREST's `like` is enough. A pattern that ends in a backslash fails exactly on a value that begins with what
/// stands before it, and is longer. The wildcard keeps an index from answering in its place.
fn like(column: &str, secret: &str) -> String {
    let start = start(secret).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let any = if secret.chars().count() > 1 { "_" } else { "" };
    format!("r.\"{column}\"::text like {}", literal(&format!("{start}{any}\\")))
}

/// All of a value but its last two characters.
fn start(secret: &str) -> String {
    secret.chars().take(secret.chars().count().saturating_sub(2)).collect()
}

/// Whether the pattern of [`like`] would fail on a value that the caller may see.
fn alike(secret: &str, shown: &BTreeSet<String>) -> bool {
    let start = start(secret);
    shown.iter().any(|value| value.starts_with(&start) && value.len() > start.len())
}

fn counted(relation: &Relation, condition: &str) -> String {
    format!("select count(*) from {} r where {condition}", relation.name)
}

fn explained(relation: &Relation, condition: &str) -> String {
    format!("explain (format json, costs off) {}", counted(relation, condition))
}

fn ask(sessions: &mut Sessions, asker: &Asker, queries: &[String]) -> Result<Vec<String>> {
    let listed: Vec<String> = queries.iter().map(|query| literal(query)).collect();
    // A person's statement lasts no longer than 8 seconds.
    let sql = format!("set local statement_timeout = 0; select leak.ask(array[{}]::text[])", listed.join(", "));
    let answers = sessions.ask(asker, &[sql])?.remove(0).map_err(anyhow::Error::msg)?;
    Ok(serde_json::from_str(answers.first().context("no answer")?)?)
}

#[derive(Default)]
struct Count {
    conditions: usize,
    plans: usize,
    refused: usize,
    callers: usize,
}

/// Everything that one caller learns by conditions, and every plan that would allow it.
fn pry(
    sessions: &mut Sessions,
    asker: &Asker,
    relations: &[(Relation, Values)],
    count: &mut Count,
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    count.callers += 1;
    for (relation, all) in relations {
        let closed = relation.closed_to(asker);
        let (shown, is_open) = match sessions.ask(asker, &[relation.reading(&closed)])?.remove(0) {
            Ok(rows) => (relation.values(&rows)?, true),
            Err(error) if error.starts_with("42501") => (vec![BTreeSet::new(); all.len()], false),
            Err(error) => anyhow::bail!("{} on {}: {error}", asker.label, relation.name),
        };
        let mut queries = Vec::new();
        let mut denied = Vec::new();
        for ((column, closed), (all, shown)) in relation.columns.iter().zip(&closed).zip(all.iter().zip(&shown)) {
            let is_open = is_open && !closed;
            let secrets: BTreeSet<&str> = match asker.sees_all() && relation.is_live {
                true => BTreeSet::new(),
                // One will do where nothing is shown at all.
                false => all
                    .difference(shown)
                    .map(String::as_str)
                    .filter(|value| relation.is_barrier || !relation.is_constant(value))
                    .take(if is_open { usize::MAX } else { 1 })
                    .collect(),
            };
            let mut conditions = conditions(column, &secrets);
            if let Some(secret) = secrets.iter().find(|secret| !alike(secret, shown)) {
                conditions[2] = like(column, secret);
            } else {
                conditions.truncate(2);
            }
            queries.push(explained(relation, &conditions[1]));
            if !is_open {
                conditions.truncate(1);
            }
            queries.extend(conditions.iter().map(|condition| counted(relation, condition)));
            denied.resize(queries.len(), !is_open);
        }
        let bypasses = !relation.is_barrier && passes_by_row_security(asker);
        for ((sql, is_denied), answer) in queries.iter().zip(denied).zip(ask(sessions, asker, &queries)?) {
            let (is_plan, is_open) = (sql.starts_with("explain"), !is_denied);
            *(if is_plan { &mut count.plans } else { &mut count.conditions }) += 1;
            count.refused += usize::from(!is_open && answer == "failed 42501");
            let problem = match (is_open, is_plan) {
                (false, _) => (answer != "failed 42501").then(|| answer.clone()),
                (true, _) if answer.starts_with("failed") => Some(answer.clone()),
                (true, true) if !bypasses => unfenced(&answer, relation.is_barrier)?,
                _ => None,
            };
            wrong.extend(problem.map(|problem| format!("{} {problem}: {sql}", asker.label)));
        }
    }
    Ok(wrong)
}

fn passes_by_row_security(asker: &Asker) -> bool {
    matches!(asker.kind, Kind::Superuser | Kind::Administrator | Kind::Service | Kind::Auditor)
}

/// Why a plan may run the caller's condition on rows that are not the caller's, if it may.
fn unfenced(plan: &str, is_barrier: bool) -> Result<Option<String>> {
    let plan: Value = serde_json::from_str(plan)?;
    let mut nodes = vec![&plan[0]["Plan"]];
    let mut found = false;
    while let Some(node) = nodes.pop() {
        // What is not run at all is fenced: no policy lets this caller see any row.
        if node["One-Time Filter"] == "false" {
            return Ok(None);
        }
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
        for (key, text) in node.as_object().into_iter().flatten() {
            let Some(at) = text.as_str().and_then(|text| text.find("leak.")) else { continue };
            found = true;
            let kind = node["Node Type"].as_str().unwrap_or_default();
            let is_fenced = if is_barrier {
                // What a view lets through comes out of its own part of the plan.
                kind == "Subquery Scan" && node["Alias"] == "r"
            } else {
                // A policy's part of a filter stands before what is the caller's own, or is looked up by index.
                let before = &text.as_str().unwrap_or_default()[..at];
                let by_index = ["Index Cond", "Recheck Cond"].iter().any(|key| node[*key].as_str().is_some());
                before.contains('$')
                    || before.contains("(false AND")
                    || before.contains("InitPlan")
                    || by_index
                    || is_shared(node)
            };
            if !is_fenced {
                return Ok(Some(format!("has the caller's condition in {key} of {kind}")));
            }
        }
    }
    Ok((!found).then(|| "has a plan without the caller's condition".to_string()))
}

/// Tables of which every caller may see every row.
fn is_shared(node: &Value) -> bool {
    let name = node["Relation Name"].as_str().unwrap_or_default();
    name == "model_aliases" || name.starts_with("shipped_")
}

/// The relations with all that is in them, once every column has given its values to the superuser's conditions: they
/// work.
fn with_secrets(database: &Database, sessions: &mut Sessions) -> Result<Vec<(Relation, Values)>> {
    let superuser = all().into_iter().find(|asker| asker.kind == Kind::Superuser).context("no superuser")?;
    let mut found = Vec::new();
    let mut untold = Vec::new();
    for relation in relations(database)? {
        let rows = sessions
            .ask(&superuser, &[relation.reading(&relation.closed_to(&superuser))])?
            .remove(0)
            .map_err(anyhow::Error::msg)?;
        let values = relation.values(&rows)?;
        let queries: Vec<String> = relation
            .columns
            .iter()
            .zip(&values)
            .filter(|(_, values)| !values.is_empty() && !relation.is_live)
            .flat_map(|(column, values)| conditions(column, &values.iter().map(String::as_str).collect()))
            .map(|condition| counted(&relation, &condition))
            .collect();
        for (sql, answer) in queries.iter().zip(ask(sessions, &superuser, &queries)?) {
            let expected = if sql.contains("leak.") { "failed LEAK1" } else { "failed 22025" };
            if answer != expected {
                untold.push(format!("{answer}: {sql}"));
            }
        }
        found.push((relation, values));
    }
    assert_eq!(untold, Vec::<String>::new(), "conditions that tell nothing to a caller that sees everything");
    Ok(found)
}

fn furnished(name: &str) -> Result<Database> {
    let database = Database::with_privileges(name, DefaultPrivileges::Secure)?;
    seed(&database)?;
    database.superuser()?.batch_execute(SECRETS)?;
    database.superuser()?.batch_execute(CONDITIONS)?;
    Ok(database)
}

/// Columns without a value anywhere: there is no secret in them.
fn without_secret(relations: &[(Relation, Values)]) -> Vec<String> {
    let mut found = Vec::new();
    for (relation, values) in relations {
        let empty = relation.columns.iter().zip(values).filter(|(_, values)| values.is_empty());
        found.extend(empty.map(|(column, _)| format!("{}.{column}", relation.name)));
    }
    found
}

#[test]
fn no_condition_of_a_caller_runs_on_rows_that_are_not_shown_to_them() -> Result<()> {
    let database = furnished("leaks")?;
    let (_pooler, mut sessions) = Door::Direct.open(&database)?;
    let relations = with_secrets(&database, &mut sessions)?;
    let mut count = Count::default();
    let mut wrong = Vec::new();
    for asker in all().into_iter().filter(|asker| CALLERS.contains(&asker.label)) {
        wrong.extend(pry(&mut sessions, &asker, &relations, &mut count)?);
    }
    let columns: usize = relations.iter().map(|(relation, _)| relation.columns.len()).sum();
    assert_eq!(count.callers, CALLERS.len());
    println!(
        "leaks: {} relations, {columns} columns ({} without any value), {} callers: {} conditions and {} plans, {} of \
         them refused with 42501, {} leak",
        relations.len(),
        without_secret(&relations).len(),
        count.callers,
        count.conditions,
        count.plans,
        count.refused,
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} leaks, such as\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    Ok(())
}

/// The planner takes a UNION ALL apart whether or not it is a view's outermost and the view a security barrier.
#[test]
fn a_barrier_that_is_none_is_found_out() -> Result<()> {
    let database = furnished("leaks_found_out")?;
    let (_pooler, mut sessions) = Door::Direct.open(&database)?;
    database.superuser()?.batch_execute(
        "create view metrics.bare with (security_barrier) as
             select q.tenant_id, q.limit_usd from copilot_internal.cost_quotas q
             where (select copilot_internal.caller_sees_all())
             union all
             select q.tenant_id, q.limit_usd from copilot_internal.cost_quotas q
             where not (select copilot_internal.caller_sees_all())
               and q.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]);
         grant select on metrics.bare to authenticated;",
    )?;
    let mut relations = with_secrets(&database, &mut sessions)?;
    relations.retain(|(relation, _)| relation.name == "metrics.bare");
    let member = all().into_iter().find(|asker| asker.kind == Kind::MemberOfA).context("no member")?;
    let wrong = pry(&mut sessions, &member, &relations, &mut Count::default())?;
    let found = |what: &str| wrong.iter().filter(|problem| problem.contains(what)).count();
    // Of two columns, by the conditions that come early and by the plan. Since 17 an index finds the caller's own rows
    // before the conditions run, for as long as the planner likes: the plan tells all the same.
    let told = if Major::in_use() < Major::Pg17 { 2 } else { 0 };
    assert_eq!(
        (found("failed LEAK1"), found("failed 22025"), found("has the caller's condition in")),
        (told, told, 2),
        "{wrong:#?}"
    );
    Ok(())
}
