//! The audit: what the extension leaves in the catalogs, read back from the catalogs.
//!
//! The lists in `expected/` are reviewed, not generated: `PG_TOLLGATE_BLESS=1` rewrites them for a diff to be read.

use tollgate_tests::support;

use std::{env, fs};

use anyhow::{Context, Result};
use postgres::Client;
use support::{Database, assert_none, texts};
use tollgate_tests::documents::unplain;
use tollgate_tests::layout;
use tollgate_tests::supabase::DefaultPrivileges;

/// Every object that `drop extension` of either would take with it, but for the row types of relations: since 17 these are members
/// too.
const MEMBERS: &str = "
    select d.classid, d.objid, d.objsubid from pg_depend d
    where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
      and d.refobjid in (select oid from pg_extension where extname in ('pg_tollgate', 'pg_tollgate_conversations'))
      and not (d.classid = 'pg_type'::regclass and exists (
          select from pg_type t join pg_class c on c.reltype in (t.oid, t.typelem)
          where t.oid = d.objid and c.relkind <> 'c'))";

/// A catalog query that may read the members, and the tables and functions among them.
fn query(body: &str) -> String {
    format!(
        "with members as ({MEMBERS}),
              tables as (select c.* from pg_class c
                         join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
                         where c.relkind in ('r', 'p')),
              functions as (select p.* from pg_proc p
                            join members m on m.classid = 'pg_proc'::regclass and m.objid = p.oid)
         {body}"
    )
}

fn audited() -> Result<Client> {
    let mut client = Database::fresh()?.superuser()?;
    client.batch_execute("create extension pg_tollgate_conversations")?;
    // So that every name is printed with its schema.
    client.batch_execute("set search_path = pg_catalog")?;
    Ok(client)
}

const COMMENTS: &str = "relations, columns that users see, functions and schemas without a comment";

/// What each audit of the whole looks for, by its name: a query that finds nothing.
const AUDITS: &[(&str, &str)] = &[
    (
        "tables without row level security or without a policy",
        "select t.oid::regclass::text from tables t
         where not t.relrowsecurity or not exists (select from pg_policy p where p.polrelid = t.oid)",
    ),
    (
        // But for the one that is asked last, about what a colleague's conversation cost.
        "policies that run a function for every row",
        "select format('%s on %s', p.polname, p.polrelid::regclass) from pg_policy p join tables t on t.oid = p.polrelid
         cross join lateral regexp_replace(
             concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
             '\\( *SELECT [a-z_.]+\\(\\)[^)]*\\)|copilot_internal\\.caller_sees_costs_of\\(', '', 'gi') as r (rest)
         where r.rest ~ '[a-z_]+\\.[a-z_]+ *\\('",
    ),
    (
        "columns that a policy compares and no index begins with",
        "select format('%s.%s', t.oid::regclass, a.attname) from tables t join pg_policy p on p.polrelid = t.oid
         join pg_attribute a on a.attrelid = t.oid and a.attname in ('id', 'tenant_id', 'user_id')
         where pg_get_expr(p.polqual, p.polrelid) ~ ('\\m' || a.attname || ' = ')
           and not exists (select from pg_index i where i.indrelid = t.oid and i.indkey[0] = a.attnum)
           -- Among a tenant's rows, which are looked up by the tenant. An index by user would cost every charge.
           and not (a.attname = 'user_id' and pg_get_expr(p.polqual, p.polrelid) ~ '\\mtenant_id = ' and exists (
               select from pg_index i join pg_attribute k on k.attrelid = t.oid and k.attnum = i.indkey[0]
               where i.indrelid = t.oid and k.attname = 'tenant_id'))
           -- Among a tenant's too, or a conversation's, whose ids their indexes begin with.
           and format('%s.%s', t.relname, a.attname) not in
               ('conversations.user_id', 'conversation_configs.user_id', 'conversation_contexts.tenant_id')",
    ),
    (
        "functions whose search_path is the caller's",
        "select f.oid::regprocedure::text from functions f join pg_language l on l.oid = f.prolang
         where l.lanname <> 'c' and f.prosqlbody is null
           and not coalesce('search_path=pg_catalog, pg_temp' = any (f.proconfig), false)",
    ),
    (
        COMMENTS,
        "select c.oid::regclass || coalesce('.' || a.attname, '')
         from pg_class c join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
         left join lateral (
             select 0 as attnum, null::name as attname
             union all
             select a.attnum, a.attname from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not attisdropped
               and (c.relnamespace <> 'copilot_internal'::regnamespace or exists (
                   select from unnest(array['authenticated', 'service_role', 'metrics_reader']) as r (role)
                   where has_any_column_privilege(r.role, c.oid, 'select')))
         ) a on true
         where c.relkind in ('r', 'p', 'v', 'm')
           and not exists (select from pg_description d where d.classoid = 'pg_class'::regclass
                             and d.objoid = c.oid and d.objsubid = a.attnum and length(d.description) > 3)
         union all
         select f.oid::regprocedure::text from functions f where obj_description(f.oid, 'pg_proc') is null
         union all
         select n.nspname::text from pg_namespace n join members m on m.objid = n.oid and m.classid = 'pg_namespace'::regclass
         where obj_description(n.oid, 'pg_namespace') is null",
    ),
    (
        "comments that only point to another",
        "select pg_describe_object(d.classoid, d.objoid, d.objsubid)
         from pg_description d join members m on m.classid = d.classoid and m.objid = d.objoid
         where d.description ~* '^as in '",
    ),
    (
        "tables whose rows a dump would leave out, or double",
        "select t.oid::regclass::text from tables t
         where exists (select from pg_extension e where t.oid = any (e.extconfig)) = (t.relname like 'shipped\\_%' or t.relname = 'queue_starts')",
    ),
    (
        "functions that PUBLIC or anon may execute",
        "select f.oid::regprocedure::text from functions f
         where has_function_privilege('anon', f.oid, 'execute')
            or exists (select from aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
                       where a.grantee = 0 or a.grantee = 'anon'::regrole)",
    ),
    (
        "objects on which nothing was granted or revoked: its users are undecided",
        "select c.oid::regclass::text from pg_class c
         join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
         where c.relkind in ('r', 'p', 'v', 'm') and c.relacl is null
         union all
         select f.oid::regprocedure::text from functions f where f.proacl is null",
    ),
    (
        "what does not belong to tollgate_owner",
        "select c.oid::regclass::text from pg_class c
         join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
         where c.relowner <> 'tollgate_owner'::regrole
         union all
         select f.oid::regprocedure::text from functions f where f.proowner <> 'tollgate_owner'::regrole
         union all
         select n.nspname::text from pg_namespace n join pg_roles r on r.oid = n.nspowner
         where n.nspname in ('copilot_internal', 'metrics') and not r.rolsuper",
    ),
    (
        "views that neither take their reader's rights nor hold back the reader's conditions",
        "select c.oid::regclass::text from pg_class c
         join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
         where c.relkind = 'v' and not coalesce(c.reloptions && '{security_invoker=true,security_barrier=true}', false)",
    ),
];

#[test]
fn the_audits_find_nothing() -> Result<()> {
    let mut client = audited()?;
    for (what, body) in AUDITS {
        no_offender(&mut client, what, body);
    }
    Ok(())
}

/// An object that lacks everything, made a member of the extension. Each audit but one finds it, and that one finds
/// what the legacy default privileges would have given it.
#[test]
fn the_audits_find_what_is_missing() -> Result<()> {
    let mut client = audited()?;
    client.batch_execute(
        "create table copilot_internal.bare (tenant_id uuid);
         create function copilot_internal.bare() returns integer language plpgsql as 'begin return 1; end';
         create view copilot_internal.bare_view as select 1 as a;
         comment on column copilot_internal.bare_view.a is 'As in tenants.';
         alter extension pg_tollgate add view copilot_internal.bare_view;
         alter extension pg_tollgate add table copilot_internal.bare;
         alter extension pg_tollgate add function copilot_internal.bare();",
    )?;
    let missed = |client: &mut Client| -> Result<Vec<&str>> {
        let mut missed = Vec::new();
        for (what, body) in AUDITS {
            if !texts(client, &query(body), &[])?.iter().any(|offender| offender.contains("copilot_internal.bare")) {
                missed.push(*what);
            }
        }
        Ok(missed)
    };
    let about_policies = [AUDITS[1].0, AUDITS[2].0];
    assert_eq!(missed(&mut client)?, about_policies);
    client.batch_execute(
        "alter table copilot_internal.bare enable row level security;
         create policy slow on copilot_internal.bare using (tenant_id = public.get_current_tenant_id());",
    )?;
    assert_eq!(missed(&mut client)?, [AUDITS[0].0]);
    Ok(())
}

/// A column of an inner view needs no comment until a role may read it.
#[test]
fn columns_that_users_see_have_comments() -> Result<()> {
    let mut client = audited()?;
    client.batch_execute(
        "create view copilot_internal.inner_view as select 1 as a;
         create view metrics.seen as select 1 as a;
         comment on view copilot_internal.inner_view is 'A view.';
         comment on view metrics.seen is 'A view.';
         alter extension pg_tollgate add view copilot_internal.inner_view;
         alter extension pg_tollgate add view metrics.seen;",
    )?;
    let (_, body) = AUDITS.iter().find(|(what, _)| *what == COMMENTS).context("no audit of comments")?;
    let sql = format!("{} order by 1", query(body));
    assert_eq!(texts(&mut client, &sql, &[])?, ["metrics.seen.a"]);
    client.batch_execute("grant select (a) on copilot_internal.inner_view to authenticated")?;
    assert_eq!(texts(&mut client, &sql, &[])?, ["copilot_internal.inner_view.a", "metrics.seen.a"]);
    Ok(())
}

/// COMMENTs are what the reference pages say, and what `psql` and editors show in one line.
#[test]
fn comments_are_short_and_plain() -> Result<()> {
    const MAX_CHARACTERS: usize = 250;
    let mut client = audited()?;
    let sql = query(
        "select pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
         from pg_description d join members m on m.classid = d.classoid and m.objid = d.objoid order by 1",
    );
    let rows = client.query(&sql, &[])?;
    assert!(rows.len() > 500, "{} comments", rows.len());
    let mut problems = Vec::new();
    for row in rows {
        let [object, comment] = [0, 1].map(|column| row.get::<_, String>(column));
        let length = comment.chars().count();
        let long = (length > MAX_CHARACTERS).then(|| format!("{length} characters"));
        problems.extend(unplain(&comment).into_iter().chain(long).map(|problem| format!("{object}: {problem}")));
    }
    assert_eq!(problems, Vec::<String>::new());
    Ok(())
}

#[track_caller]
fn no_offender(client: &mut Client, what: &str, body: &str) {
    assert_none(client, what, &query(body));
}

/// Compares with a file of `expected/`, one line an entry; rewrites it when asked to.
fn assert_listed(file: &str, found: &[String]) -> Result<()> {
    let path = layout::tests_dir().join("tests/expected").join(file);
    if env::var_os("PG_TOLLGATE_BLESS").is_some() {
        fs::write(&path, found.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let listed: Vec<&str> = text.lines().collect();
    assert_eq!(found, listed, "differs from {} (PG_TOLLGATE_BLESS=1 rewrites it)", path.display());
    Ok(())
}

#[test]
fn the_members_are_those_on_the_list() -> Result<()> {
    let mut client = audited()?;
    let sql = query("select pg_describe_object(classid, objid, objsubid) from members");
    let mut found = texts(&mut client, &sql, &[])?;
    found.sort_unstable();
    assert_listed("members.txt", &found)
}

/// The views of the second extension, which the application reads under row level security.
const NOT_FOR_APPLICATIONS: &str =
    "relname not in ('conversations_view', 'conversation_messages_view', 'conversation_paths_view',
                       'conversation_contexts_view', 'execution_contexts_view')";

#[test]
fn nothing_lies_in_the_wrong_schema() -> Result<()> {
    let mut client = audited()?;
    assert_none(
        &mut client,
        "relations in public",
        &format!(
            "select oid::regclass::text from pg_class where relnamespace = 'public'::regnamespace and {NOT_FOR_APPLICATIONS}"
        ),
    );
    no_offender(
        &mut client,
        "objects outside copilot_internal, public and metrics",
        "select o.type || ' ' || o.identity from members m, pg_identify_object(m.classid, m.objid, m.objsubid) o
         where coalesce(o.schema, o.name) not in ('copilot_internal', 'public', 'metrics')",
    );
    no_offender(
        &mut client,
        "views that an API role may select outside metrics",
        &format!("select c.oid::regclass || ' to ' || r.role
         from pg_class c join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
         cross join unnest(array['anon', 'authenticated', 'service_role', 'metrics_reader', 'authenticator']) as r (role)
         where c.relkind in ('v', 'm') and c.relnamespace <> 'metrics'::regnamespace
           and (r.role not in ('authenticated', 'service_role') or {NOT_FOR_APPLICATIONS})
           and (has_table_privilege(r.role, c.oid, 'select') or has_any_column_privilege(r.role, c.oid, 'select'))"),
    );
    no_offender(
        &mut client,
        "tables that the analytics role may read",
        "select t.oid::regclass::text from tables t where has_table_privilege('metrics_reader', t.oid, 'select')",
    );
    Ok(())
}

#[test]
fn every_table_has_row_level_security() -> Result<()> {
    let mut client = audited()?;
    assert_none(
        &mut client,
        "tables in copilot_internal that are no members",
        &query(
            "select c.oid::regclass::text from pg_class c
                where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind in ('r', 'p')
                  and c.oid not in (select oid from tables)",
        ),
    );
    // Permissive policies are or-ed: the second one for the same command is a hole that a reader overlooks.
    no_offender(
        &mut client,
        "two permissive policies for one table, role and command",
        "select format('%s: %s and %s', a.polrelid::regclass, a.polname, b.polname)
         from pg_policy a join pg_policy b on a.polrelid = b.polrelid and a.polname < b.polname
         where a.polpermissive and b.polpermissive
           and (a.polcmd = b.polcmd or a.polcmd = '*' or b.polcmd = '*')
           and (a.polroles && b.polroles or 0 = any (a.polroles) or 0 = any (b.polroles))",
    );
    Ok(())
}

#[test]
fn no_function_is_open_to_all_roles() -> Result<()> {
    for (name, profile) in [("audit_legacy", DefaultPrivileges::Legacy), ("audit_secure", DefaultPrivileges::Secure)] {
        let mut client = Database::with_privileges(name, profile)?.superuser()?;
        no_offender(
            &mut client,
            "functions that PUBLIC or anon may execute",
            "select f.oid::regprocedure::text from functions f
             where has_function_privilege('anon', f.oid, 'execute')
                or exists (select from aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
                           where a.grantee = 0 or a.grantee = 'anon'::regrole)",
        );
        no_offender(
            &mut client,
            "relations that PUBLIC or anon may use",
            "select c.oid::regclass::text from pg_class c
             join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
             cross join aclexplode(c.relacl) a where a.grantee = 0 or a.grantee = 'anon'::regrole",
        );
    }
    Ok(())
}

#[test]
fn every_function_that_resolves_names_fixes_its_search_path() -> Result<()> {
    let mut client = audited()?;
    // A C function may do without only where it resolves no name; that is reviewed and listed.
    let sql = query(
        "select f.oid::regprocedure::text from functions f join pg_language l on l.oid = f.prolang
         where l.lanname = 'c' and not coalesce('search_path=pg_catalog, pg_temp' = any (f.proconfig), false)",
    );
    let mut found = texts(&mut client, &sql, &[])?;
    found.sort_unstable();
    assert_listed("functions_without_search_path.txt", &found)?;
    // SECURITY DEFINER hides the caller, so it is for triggers alone: charge_on_insert asks for the outer role, the
    // other fires for one table only.
    let of = |extension: &str| {
        format!(
            "select f.proname::text from functions f
             join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e'
             join pg_extension e on e.oid = d.refobjid and e.extname = '{extension}'
             where f.prosecdef"
        )
    };
    let sql = query(&format!("{} order by 1", of("pg_tollgate")));
    assert_eq!(texts(&mut client, &sql, &[])?, ["charge_on_insert", "note_limit_change"]);
    // In the second extension each that may be called asks who calls: what it reads is not bound by row level security.
    let definers = of("pg_tollgate_conversations");
    let asks = "coalesce(pg_get_function_sqlbody(f.oid), f.prosrc) ~ 'copilot_internal\\.(access|access_tenant|authorise_author|can_access|readable_path|pinned_of\
                |require_server|current_path|visible_operations)\\('";
    let may = "(has_function_privilege('authenticated', f.oid, 'execute')
                or has_function_privilege('service_role', f.oid, 'execute'))";
    let sql = query(&format!("{definers} and {may} and not {asks} order by 1"));
    // It says only whether the tables are protected.
    assert_eq!(texts(&mut client, &sql, &[])?, ["conversation_store_healthcheck"]);
    let sql = query(&format!("{definers} and {may} and {asks}"));
    assert!(texts(&mut client, &sql, &[])?.len() > 40);
    Ok(())
}

/// `pg_upgrade` makes each function again from what Postgres writes of it. Of some bodies it writes what it does not read.
#[test]
fn functions_can_be_made_again_from_the_catalog() -> Result<()> {
    let mut client = audited()?;
    let sql = query("select pg_get_functiondef(f.oid) from functions f where f.prosqlbody is not null");
    let definitions = texts(&mut client, &sql, &[])?;
    assert!(definitions.len() > 5, "{definitions:?}");
    for definition in definitions {
        client.batch_execute(&definition).with_context(|| definition.clone())?;
    }
    Ok(())
}

#[test]
fn data_is_dumped_and_what_ships_is_not() -> Result<()> {
    let mut client = audited()?;
    no_offender(
        &mut client,
        "sequences that would have to be dumped",
        "select c.oid::regclass::text from pg_class c where c.relkind = 'S'
           and c.relnamespace in ('copilot_internal'::regnamespace, 'metrics'::regnamespace)",
    );
    let tables = texts(&mut client, &query("select t.oid::regclass::text from tables t order by 1"), &[])?;
    assert!(tables.len() > 10, "{tables:?}");
    // What holds for one run of the server alone is not dumped either.
    for table in tables.iter().filter(|table| !table.ends_with(".queue_starts")) {
        let empty: bool = client.query_one(&format!("select not exists (select from {table})"), &[])?.get(0);
        assert_eq!(empty, !table.contains("shipped_"), "{table}");
    }
    Ok(())
}

/// The planner takes a UNION ALL apart that is a view's outermost, security barrier or not. A reader's conditions then
/// run on rows before the view's filter.
#[test]
fn no_view_with_its_owners_rights_is_a_union_outermost() -> Result<()> {
    let mut client = audited()?;
    let unions = |client: &mut Client| -> Result<Vec<String>> {
        let sql = query(
            "select c.oid::regclass::text, pg_get_viewdef(c.oid) from pg_class c
             join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid
             where c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false)",
        );
        let views = client.query(&sql, &[])?;
        assert!(views.len() > 10, "{} views", views.len());
        Ok(views.iter().filter(|view| is_union(view.get(1))).map(|view| view.get(0)).collect())
    };
    assert_eq!(unions(&mut client)?, Vec::<String>::new());
    client.batch_execute(
        "create view copilot_internal.bare as select 1 as a union all select 2;
         alter extension pg_tollgate add view copilot_internal.bare;",
    )?;
    assert_eq!(unions(&mut client)?, ["copilot_internal.bare"]);
    Ok(())
}

/// Whether a set operation stands outside of all parentheses.
fn is_union(definition: &str) -> bool {
    let mut depth = 0;
    definition.lines().any(|line| {
        let is_outermost = depth == 0 && ["UNION", "INTERSECT", "EXCEPT"].iter().any(|it| line.trim().starts_with(it));
        depth += line.matches('(').count();
        depth -= line.matches(')').count();
        is_outermost
    })
}

/// A role that is dropped takes its grants and policies with it; made again, it gets what a new installation gives.
#[test]
fn grants_are_run_again_for_roles_that_come_later() -> Result<()> {
    let mut client = audited()?;
    let access = "
        select format('%s %s %s', c.oid::regclass, a.privilege_type, a.grantee::regrole) from pg_class c
        join members m on m.classid = 'pg_class'::regclass and m.objid = c.oid cross join aclexplode(c.relacl) a where a.grantee <> 0
        union all
        select format('%s %s %s', f.oid::regprocedure, a.privilege_type, a.grantee::regrole) from functions f
        cross join aclexplode(f.proacl) a where a.grantee <> 0
        union all
        select format('%s %s to %s using %s', p.polrelid::regclass, p.polname, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid)) from pg_policy p
        union all
        select format('%s %s %s', n.nspname, a.privilege_type, a.grantee::regrole) from pg_namespace n cross join aclexplode(n.nspacl) a
        where n.nspname in ('metrics', 'copilot_internal') and a.grantee <> 0
        union all
        select format('default %s %s %s', d.defaclrole::regrole, a.privilege_type, a.grantee::regrole) from pg_default_acl d
        cross join aclexplode(d.defaclacl) a where d.defaclnamespace = 'metrics'::regnamespace
        order by 1";
    let before = texts(&mut client, &query(access), &[])?;
    client.batch_execute("drop owned by authenticated, service_role, metrics_reader")?;
    let without = texts(&mut client, &query(access), &[])?;
    assert!(without.len() + 200 < before.len(), "{} of {} are left", without.len(), before.len());
    for _ in 0..2 {
        client
            .batch_execute("select copilot_internal.grant_api_roles(), copilot_internal.grant_conversation_roles()")?;
        assert_eq!(texts(&mut client, &query(access), &[])?, before);
    }
    Ok(())
}

#[test]
fn views_to_come_in_metrics_are_for_roles_that_see_all() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    client.batch_execute(
        "create view metrics.made_by_superuser as select 1 as a; grant create on schema metrics to postgres",
    )?;
    database
        .cluster
        .connect(&database.name, "postgres")?
        .batch_execute("create view metrics.made_by_postgres as select 2 as a")?;
    for role in ["metrics_reader", "service_role"] {
        let sql = format!(
            "begin; set local role {role};
             select a from metrics.made_by_superuser union all select a from metrics.made_by_postgres; commit"
        );
        client.batch_execute(&sql).with_context(|| format!("{role} cannot read views made later"))?;
    }
    // Such a view runs with its maker's rights, and need not filter.
    for role in ["authenticated", "anon"] {
        for view in ["metrics.made_by_superuser", "metrics.made_by_postgres"] {
            let open: bool = client.query_one("select has_table_privilege($1, $2, 'select')", &[&role, &view])?.get(0);
            assert!(!open, "{role} reads {view}");
        }
    }
    Ok(())
}
