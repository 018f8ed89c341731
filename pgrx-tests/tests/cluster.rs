//! More than one machine: a router by PL/Proxy and two nodes, each a server of its own.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};
use tollgate_tests::cluster::{Cluster, ClusterOptions, PORT};
use tollgate_tests::major::Major;
use tollgate_tests::session::{Caller, Session, message, sqlstate};
use tollgate_tests::supabase::DefaultPrivileges;
use tollgate_tests::support::{id, text, texts};
use uuid::Uuid;

const DATABASE: &str = "tollgate";

/// A node or a router. Debian 12 has PL/Proxy for its own Postgres alone.
fn server(is_node: bool) -> Result<Cluster> {
    let major = Major::Pg15;
    // A router must be closed also where everything is open by default.
    let default_privileges = DefaultPrivileges::Legacy;
    let options = ClusterOptions { major, default_privileges, ..ClusterOptions::default() };
    Cluster::start(if is_node { options } else { ClusterOptions { preload: false, ..options } })
}

struct Fleet {
    router: Cluster,
    nodes: [Cluster; 2],
}

impl Fleet {
    fn start() -> Result<Fleet> {
        let nodes = [server(true)?, server(true)?];
        for node in &nodes {
            node.create_database(DATABASE)?;
            node.superuser(DATABASE)?.batch_execute("create role router_login login in role service_role")?;
        }
        let fleet = Fleet { router: server(false)?, nodes };
        fleet.route(DATABASE, &fleet.nodes)?;
        Ok(fleet)
    }

    /// Makes a database that routes to nodes.
    fn route(&self, database: &str, nodes: &[Cluster]) -> Result<()> {
        self.router.create_database_without_extension(database)?;
        let mut client = self.router.superuser(database)?;
        client.batch_execute(&self.sql()?).context("the router's SQL fails")?;
        let place = |(number, node): (usize, &Cluster)| {
            format!(", p{number} 'host={} port={PORT} dbname={DATABASE}'", node.dir().display())
        };
        let places: String = nodes.iter().enumerate().map(place).collect();
        client.batch_execute(&format!(
            "create server tollgate foreign data wrapper plproxy options (modular_mapping '1'{places});
             grant usage on foreign server tollgate to tollgate_router;
             create user mapping for tollgate_router server tollgate options (user 'router_login')"
        ))?;
        Ok(())
    }

    /// As the application's server asks for it.
    fn sql(&self) -> Result<String> {
        let mut session = Session::open(&self.nodes[0], DATABASE)?;
        Ok(session.value(&Caller::service(), "select copilot_internal.router_sql('plproxy')", &[])?)
    }

    /// The application's server, as it comes from PostgREST.
    fn session(&self) -> Result<Session> {
        Session::open(&self.router, DATABASE)
    }

    fn node(&self, number: usize) -> Result<Client> {
        self.nodes[number].superuser(DATABASE)
    }

    /// A new tenant with a limit of so many dollars, and where it is.
    fn tenant(&self, session: &mut Session, limit: &str) -> Result<(Uuid, usize)> {
        let tenant = session.value(&Caller::service(), "select create_tenant('Acme')", &[])?;
        let sql = "select set_quota('tenant', $1, 'llm', $2::text::numeric, 'lifetime')";
        session.value::<Uuid>(&Caller::service(), sql, &[&tenant, &limit])?;
        let sql = "select copilot_internal.node_of($1)";
        let node: i32 = self.router.superuser(DATABASE)?.query_one(sql, &[&tenant])?.get(0);
        Ok((tenant, usize::try_from(node)?))
    }

    fn tenant_on(&self, session: &mut Session, wanted: usize, limit: &str) -> Result<Uuid> {
        for _ in 0..200 {
            let (tenant, node) = self.tenant(session, limit)?;
            if node == wanted {
                return Ok(tenant);
            }
        }
        bail!("no tenant comes to node {wanted}")
    }
}

/// One for all tests of the process, each with tenants of its own.
fn fleet() -> Result<&'static Fleet> {
    static FLEET: LazyLock<Result<Fleet, String>> =
        LazyLock::new(|| Fleet::start().map_err(|error| format!("{error:#}")));
    FLEET.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// How many rows each table has that tell of a tenant.
fn rows_of(client: &mut Client, tenant: Uuid) -> Result<String> {
    let sql = "
        select coalesce(string_agg(format('%s %s', r.name, r.rows), ', ' order by r.name), '')
        from (select c.relname as name, (xpath('//n/text()', query_to_xml(format(
                  'select count(*) as n from copilot_internal.%I where %I = %L', c.relname, a.attname, $1::text),
                  true, true, '')))[1]::text::bigint as rows
              from pg_class c join pg_attribute a on a.attrelid = c.oid and a.atttypid = 'uuid'::regtype
                  and a.attname = case c.relname when 'tenants' then 'id' else 'tenant_id' end
              where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r') r
        where r.rows > 0";
    text(client, sql, &[&tenant.to_string()])
}

const RECORD: &str = "
    select format('%s %s %s %s', recorded, replayed, trim_scale(remaining_usd), quota_status)
    from record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::text::numeric, p_request_id => $3, p_enforce => true)";

/// What the tenant has been charged on a node, in records and dollars.
fn charged(client: &mut Client, tenant: Uuid) -> Result<String> {
    let sql = "select format('%s for %s', count(*), trim_scale(coalesce(sum(cost_usd), 0)))
               from copilot_internal.llm_cost_records where tenant_id = $1";
    text(client, sql, &[&tenant])
}

/// Calls that write, with `$1` for a tenant, `$2` for a user of it.
const WRITES: &[&str] = &[
    "select set_quota('user', $2, 'llm', 5, p_tenant_id => $1) is not null",
    "select adjustment_id is not null from copilot_internal.adjust_quota(
         (select quota_id from metrics.quota_status where tenant_id = $1 and scope_id = $2), 0.1, 'a', p_tenant_id => $1)",
    "select raise_quota((select quota_id from metrics.quota_status where tenant_id = $1 and scope_id = $2), 1,
         clock_timestamp() + interval '1 hour', p_tenant_id => $1) is not null",
    "select allowed from check_and_record_quota_atomic('tenant', $1, 0.01) where $2::uuid is not null",
    "select recorded from record_llm_cost($1, 'p', 'm', 1, 1, $2, p_cost_usd => 0.01)",
    "select recorded from record_llm_usage($1, 'p', 'm', '{\"prompt_tokens\": 1}', $2, p_cost_usd => 0.01)",
    "select recorded from record_e2b_cost($1, 's', 'standard', 1, $2, p_cost_usd => 0.01)",
    "select bool_and(recorded) from record_llm_costs(jsonb_build_array(jsonb_build_object('tenant_id', $1::uuid, 'user_id', $2::uuid,
         'model_provider', 'p', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 0.01)))",
    "select bool_and(recorded) from record_e2b_costs(jsonb_build_array(jsonb_build_object('tenant_id', $1::uuid, 'user_id', $2::uuid,
         'sandbox_id', 's', 'sandbox_type', 'standard', 'duration_seconds', 1, 'cost_usd', 0.01)))",
    "select status = 'committed' from commit_reservation((select reservation_id
         from reserve_quota($1, 'llm', 0.1, 'commit', $2)), 0.05, p_tenant_id => $1)",
    "select status = 'released' from release_reservation((select reservation_id
         from reserve_quota($1, 'llm', 0.1, 'release', $2)), p_tenant_id => $1)",
    "select allowed from extend_reservation((select reservation_id
         from reserve_quota($1, 'llm', 0.1, 'extend', $2)), '1 hour', p_tenant_id => $1)",
    "select refund_id is not null from refund_cost((select cost_record_id
         from record_llm_cost($1, 'p', 'm', 1, 1, $2, p_cost_usd => 0.1)), 0.05, 'refund', p_tenant_id => $1)",
    "select set_model_price('p', 'm', 1, 1, p_tenant_id => $1) is not null and $2::uuid is not null",
    "select set_sandbox_price('p', 's', '{\"per_second\": 1}', p_tenant_id => $1) is not null and $2::uuid is not null",
    "select set_llm_policy($1, '{\"default_model\": \"m\"}') is not null and $2::uuid is not null",
    "select invite_member($1, $2)",
    "select accept_invitation($1, $2)",
    "select switch_tenant($1, $2)",
    "select set_member_role($1, $2, 'viewer')",
    "select remove_member($1, $2)",
    "select count(*) > 0 from claim_quota_events(p_tenant_id => $1) where $2::uuid is not null",
    "select finished from erase_user($2, $1)",
];

#[test]
fn a_call_for_one_node_writes_on_no_other() -> Result<()> {
    let fleet = fleet()?;
    let mut session = fleet.session()?;
    for (home, user) in [(0, id(0xa0)), (1, id(0xa1))] {
        let tenant = fleet.tenant_on(&mut session, home, "1")?;
        let (mut own, mut other) = (fleet.node(home)?, fleet.node(1 - home)?);
        // An event to be claimed.
        session.value::<String>(&Caller::service(), RECORD, &[&tenant, &"0.5", &"a"])?;
        let changed = "select set_quota('tenant', $1, 'llm', 10, 'lifetime')";
        session.value::<Uuid>(&Caller::service(), changed, &[&tenant])?;
        for sql in WRITES {
            let done: bool = session
                .value(&Caller::service(), sql, &[&tenant, &user])
                .map_err(|error| anyhow::anyhow!("{}: {sql}", message(&error)))?;
            assert!(done, "{sql}");
            assert_eq!(rows_of(&mut other, tenant)?, "", "{sql}");
        }
        let rows = rows_of(&mut own, tenant)?;
        for table in ["tenants 1", "llm_cost_records", "e2b_cost_records", "quota_reservations 3", "cost_corrections 1"]
        {
            assert!(rows.contains(table), "{table}: {rows}");
        }
        let preferences = "select count(*) from copilot_internal.user_preferences where user_id = $1";
        assert_eq!(other.query_one(preferences, &[&user])?.get::<_, i64>(0), 0);
    }
    Ok(())
}

#[test]
fn every_write_of_the_catalogue_is_tried() -> Result<()> {
    let fleet = fleet()?;
    let writes = "select f.name from copilot_internal.router_functions() f
                  where f.volatility = 'volatile' and f.rule in ('tenant', 'scope', 'batch', 'some') order by 1";
    let missing: Vec<String> = texts(&mut fleet.node(0)?, writes, &[])?
        .into_iter()
        .filter(|name| !WRITES.iter().any(|sql| sql.contains(&format!("{name}("))))
        .collect();
    // What ends or empties a tenant is tried by itself.
    let alone = ["delete_tenant", "initialize_tenant_quotas", "purge_tenant", "redact_cost_metadata"];
    assert_eq!(missing, alone);
    let mut session = fleet.session()?;
    for home in [0, 1] {
        let tenant = fleet.tenant_on(&mut session, home, "1")?;
        let conversation = id(0xb0);
        let redact = "select redact_cost_metadata($1, $2)";
        assert_eq!(session.value::<i64>(&Caller::service(), redact, &[&tenant, &conversation])?, 0);
        assert_eq!(session.value::<i32>(&Caller::service(), "select initialize_tenant_quotas($1)", &[&tenant])?, 3);
        session.request(&Caller::service(), |tx| tx.query("select require_quota($1, 'llm', 0.5)", &[&tenant]))?;
        assert!(session.value::<bool>(&Caller::service(), "select delete_tenant($1)", &[&tenant])?);
        let purge = "select finished from purge_tenant($1)";
        let deadline = Instant::now() + Duration::from_secs(60);
        while !session.value::<bool>(&Caller::service(), purge, &[&tenant])? {
            ensure!(Instant::now() < deadline, "the purge does not end");
        }
        assert_eq!(rows_of(&mut fleet.node(1 - home)?, tenant)?, "");
    }
    Ok(())
}

#[test]
fn a_limit_holds_and_a_retry_replays() -> Result<()> {
    let fleet = fleet()?;
    let mut session = fleet.session()?;
    let server = Caller::service();
    for home in [0, 1] {
        let tenant = fleet.tenant_on(&mut session, home, "1")?;
        let mut record =
            |usd: &str, request: &str| session.value::<String>(&server, RECORD, &[&tenant, &usd, &request]);
        assert_eq!(record("0.4", "a")?, "t f 0.6 OK");
        assert_eq!(record("0.4", "a")?, "t t 0.6 OK");
        assert_eq!(record("0.7", "b")?, "f f 0.6 EXCEEDED");
        assert_eq!(record("0.6", "c")?, "t f 0 WARNING");
        let refused = session.expect_sqlstate(&server, "select require_quota($1, 'llm', 0.1)", &[&tenant], "PT429");
        let detail = refused.as_db_error().and_then(|error| error.detail()).unwrap_or_default();
        assert!(detail.contains("\"remaining_usd\": 0"), "{detail}");
        // The caller's transaction and the node's are two: what is rolled back here was charged there.
        let rolled_back = session.request(&server, |tx| {
            tx.query_one("select recorded from record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.1)", &[&tenant])?;
            tx.query_one("select 1 / 0", &[])
        });
        assert!(rolled_back.is_err());
        assert_eq!(charged(&mut fleet.node(home)?, tenant)?, "3 for 1.1");
    }
    Ok(())
}

/// A call by names with NULL for everything, typed so that it is the one function.
const WITHOUT_TENANT: &str = "
    select format('select * from %s(%s)', f.qualified, (
        select string_agg(format('%s => null', p.name), ', ') from unnest(f.parameters) p (name)))
    from copilot_internal.router_functions() f where f.rule in ('tenant', 'scope') order by f.name";

#[test]
fn a_call_without_a_tenant_reaches_no_node() -> Result<()> {
    let fleet = fleet()?;
    let mut session = fleet.session()?;
    let calls = texts(&mut fleet.node(0)?, WITHOUT_TENANT, &[])?;
    assert!(calls.len() > 25, "{calls:?}");
    for sql in &calls {
        let error = session.expect_sqlstate(&Caller::service(), sql, &[], "22023");
        assert!(message(&error).starts_with("p_tenant_id must not be NULL: the router"), "{sql}: {}", message(&error));
    }
    let has_quota = "select has_quota(null, 'llm', 1)";
    assert!(!session.value::<bool>(&Caller::service(), has_quota, &[])?);
    Ok(())
}

#[test]
fn a_batch_is_cut_by_node() -> Result<()> {
    let fleet = fleet()?;
    let mut session = fleet.session()?;
    let server = Caller::service();
    let tenants = [0, 1, 0].map(|home| fleet.tenant_on(&mut session, home, "1"));
    let [first, second, third] = tenants;
    let tenants = [first?, second?, third?];
    let row = |tenant: &str, usd: &str, request: &str| {
        serde_json::json!({"tenant_id": tenant, "model_provider": "p", "model_name": "m", "input_tokens": 1,
            "output_tokens": 1, "cost_usd": usd.parse::<f64>().unwrap_or_default(), "request_id": request})
    };
    let batch = |costs: [&str; 3], request: &str| {
        let rows = tenants.iter().zip(costs).map(|(tenant, usd)| row(&tenant.to_string(), usd, request));
        serde_json::Value::Array(rows.collect())
    };
    let record = "select string_agg(format('%s %s %s', ordinal, cost_usd, replayed), ', ' order by ordinal)
                  from record_llm_costs($1)";
    let good = batch(["0.1", "0.2", "0.3"], "a");
    let said: String = session.value(&server, record, &[&good])?;
    assert_eq!(said, "1 0.1 f, 2 0.2 f, 3 0.3 f");
    assert_eq!(session.value::<String>(&server, record, &[&good])?, "1 0.1 t, 2 0.2 t, 3 0.3 t");
    // Refused on the first node, so nothing is recorded on any; on the second, what the first was given stays.
    let error = session.expect_sqlstate(&server, record, &[&batch(["0.1", "0.1", "-1"], "b")], "22023");
    assert!(message(&error).contains("record 3: "), "{}", message(&error));
    assert_eq!(charged(&mut fleet.node(1)?, tenants[1])?, "1 for 0.2");
    let error = session.expect_sqlstate(&server, record, &[&batch(["0.1", "-1", "0.1"], "c")], "22023");
    assert!(message(&error).contains("record 2: "), "{}", message(&error));
    let hint = error.as_db_error().and_then(|error| error.hint()).unwrap_or_default();
    assert!(hint.contains("same request ids"), "{hint}");
    assert_eq!(session.value::<String>(&server, record, &[&batch(["0.1"; 3], "c")])?, "1 0.1 t, 2 0.1 f, 3 0.1 t");
    // A row that names no tenant refuses the batch before any node is asked.
    let wrong = serde_json::Value::Array(vec![row(&tenants[0].to_string(), "0.1", "d"), row("nobody", "0.1", "d")]);
    let error = session.expect_sqlstate(&server, record, &[&wrong], "22023");
    assert!(message(&error).contains("record 2: "), "{}", message(&error));
    assert_eq!(charged(&mut fleet.node(0)?, tenants[0])?, "2 for 0.2");
    session.expect_sqlstate(&server, record, &[&serde_json::json!({})], "22023");
    // Without request ids a part that was recorded would be recorded again with the next try.
    let mut without = batch(["0.1", "0.1", "0.1"], "e");
    without[1].as_object_mut().context("a record is an object")?.remove("request_id");
    let error = session.expect_sqlstate(&server, record, &[&without], "22023");
    assert!(message(&error).contains("record 2: "), "{}", message(&error));
    assert_eq!(charged(&mut fleet.node(0)?, tenants[0])?, "2 for 0.2");
    Ok(())
}

#[test]
fn a_person_has_tenants_on_all_nodes() -> Result<()> {
    let fleet = fleet()?;
    let server = Caller::service();
    let user = id(0xc0);
    let make = "select create_personal_tenant($1, 'ann@example.com')";
    let made: Vec<Uuid> = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| anyhow::Ok(fleet.session()?.value(&server, make, &[&user])?))).collect();
        calls
            .into_iter()
            .map(|call| call.join().map_err(|_| anyhow::anyhow!("a thread panics"))?)
            .collect::<Result<_>>()
    })?;
    let mut session = fleet.session()?;
    assert!(made.iter().all(|tenant| *tenant == made[0]), "{made:?}");
    assert_eq!(session.value::<Uuid>(&server, make, &[&user])?, made[0]);
    let current = "select get_current_tenant_id($1)";
    assert_eq!(session.value::<Option<Uuid>>(&server, current, &[&user])?, Some(made[0]));
    let tenants = [fleet.tenant_on(&mut session, 0, "1")?, fleet.tenant_on(&mut session, 1, "1")?];
    for tenant in tenants {
        assert!(session.value::<bool>(&server, "select invite_member($1, $2)", &[&tenant, &user])?);
        assert!(session.value::<bool>(&server, "select accept_invitation($1, $2)", &[&tenant, &user])?);
    }
    let listed = "select count(*) from get_user_tenants($1)";
    assert_eq!(session.value::<i64>(&server, listed, &[&user])?, 3);
    for tenant in [tenants[0], tenants[1], tenants[0]] {
        assert!(session.value::<bool>(&server, "select switch_tenant($1, $2)", &[&tenant, &user])?);
        assert_eq!(session.value::<Option<Uuid>>(&server, current, &[&user])?, Some(tenant));
        let marked = "select string_agg(tenant_id::text, ', ') from get_user_tenants($1) where is_current";
        assert_eq!(session.value::<String>(&server, marked, &[&user])?, tenant.to_string());
    }
    // Who is no member any more works there no more.
    assert!(session.value::<bool>(&server, "select remove_member($1, $2)", &[&tenants[0], &user])?);
    assert_ne!(session.value::<Option<Uuid>>(&server, current, &[&user])?, Some(tenants[0]));
    session.expect_sqlstate(&server, "select * from get_user_tenants(null)", &[], "22023");
    session.expect_sqlstate(&server, "select create_personal_tenant(null, 'a@example.com')", &[], "22023");
    let chosen = "select create_personal_tenant($1, 'ann@example.com', p_tenant_id => gen_random_uuid())";
    session.expect_sqlstate(&server, chosen, &[&user], "22023");
    // One that was deleted comes back as it was, and one that belongs to an erased user goes to nobody.
    assert!(session.value::<bool>(&server, "select delete_tenant($1)", &[&made[0]])?);
    assert_eq!(session.value::<Uuid>(&server, make, &[&user])?, made[0]);
    let erase = "select bool_and(finished) from erase_user($1, $2)";
    assert!(session.value::<bool>(&server, erase, &[&user, &made[0]])?);
    assert_ne!(session.value::<Uuid>(&server, make, &[&user])?, made[0]);
    Ok(())
}

/// An invitation to own another's personal tenant, which nobody has accepted, is not the user's own.
#[test]
fn an_invitation_gives_nobody_a_personal_tenant() -> Result<()> {
    let fleet = fleet()?;
    let (server, mallory, victim) = (Caller::service(), id(0xc1), id(0xc2));
    let mut session = fleet.session()?;
    let make = "select create_personal_tenant($1, 'x@example.com')";
    let theirs: Uuid = session.value(&server, make, &[&mallory])?;
    assert!(session.value::<bool>(&server, "select invite_member($1, $2, 'owner')", &[&theirs, &victim])?);
    assert_ne!(session.value::<Uuid>(&server, make, &[&victim])?, theirs);
    assert!(session.value::<bool>(&server, "select accept_invitation($1, $2)", &[&theirs, &victim])?);
    assert_ne!(session.value::<Uuid>(&server, make, &[&victim])?, theirs);
    Ok(())
}

/// What is there before may be a trap, and what was printed for another number would send tenants elsewhere.
#[test]
fn a_router_is_set_up_where_nobody_else_writes_and_by_one_number() -> Result<()> {
    let fleet = fleet()?;
    fleet.router.create_database_without_extension("trap")?;
    let mut trap = fleet.router.superuser("trap")?;
    trap.batch_execute("create role stranger; create schema metrics authorization stranger")?;
    let refused = trap.batch_execute(&fleet.sql()?).err().context("a stranger's schema is taken")?;
    assert_eq!(sqlstate(&refused), "55000");
    trap.batch_execute(
        "rollback; alter schema metrics owner to current_user; grant create on schema metrics to stranger",
    )?;
    let refused = trap.batch_execute(&fleet.sql()?).err().context("an open schema is taken")?;
    assert_eq!(sqlstate(&refused), "55000");
    let other: String = fleet.node(0)?.query_one("select copilot_internal.router_sql('plproxy', 3)", &[])?.get(0);
    let mut router = fleet.router.superuser(DATABASE)?;
    let refused = router.batch_execute(&other).err().context("another number is taken")?;
    assert_eq!(sqlstate(&refused), "55000");
    Ok(())
}

#[test]
fn only_the_server_calls_a_router() -> Result<()> {
    let fleet = fleet()?;
    let mut router = fleet.router.superuser(DATABASE)?;
    let open = "
        select format('%s may use %s', r.rolname, o.name)
        from (select oid, rolname from pg_roles where rolname in ('anon', 'authenticated', 'authenticator', 'tollgate_router')
              union all select 0, 'PUBLIC') r
        cross join lateral (
            select p.oid::regprocedure::text from pg_proc p cross join aclexplode(coalesce(p.proacl,
                acldefault('f', p.proowner))) a
            where p.pronamespace in ('public'::regnamespace, 'copilot_internal'::regnamespace, 'metrics'::regnamespace)
              and a.grantee = r.oid and p.proowner <> r.oid
            union all
            select c.oid::regclass::text from pg_class c cross join aclexplode(coalesce(c.relacl,
                acldefault('r', c.relowner))) a
            where c.relnamespace in ('copilot_internal'::regnamespace, 'metrics'::regnamespace)
              and c.relkind in ('r', 'v') and a.grantee = r.oid and c.relowner <> r.oid) o (name)";
    assert_eq!(texts(&mut router, open, &[])?, Vec::<String>::new());
    // The server may do there what it may on a node, as far as it is there.
    let may = "select p.proname::text from pg_proc p
               where p.pronamespace = 'public'::regnamespace and p.proowner = 'tollgate_router'::regrole
                 and has_function_privilege('service_role', p.oid, 'execute') order by 1";
    let wanted = "select f.name from copilot_internal.router_functions() f
                  where f.rule <> 'none' and f.qualified like 'public.%' order by 1";
    assert_eq!(texts(&mut router, may, &[])?, texts(&mut fleet.node(0)?, wanted, &[])?);
    let mut session = fleet.session()?;
    for caller in [Caller::anon(), Caller::user(id(1), Some(id(2)))] {
        session.expect_sqlstate(&caller, "select public.has_quota($1, 'llm', 1)", &[&id(2)], "42501");
        session.expect_sqlstate(&caller, "select * from metrics.quota_status", &[], "42501");
        session.expect_sqlstate(&caller, "select * from copilot_internal.placement", &[], "42501");
    }
    for sql in [
        "insert into copilot_internal.placement values (gen_random_uuid(), 0)",
        "select copilot_internal.record_llm_costs_of_nodes(0, '[]')",
        "select copilot_internal.node_of(gen_random_uuid())",
    ] {
        session.expect_sqlstate(&Caller::service(), sql, &[], "42501");
    }
    let searched = "select p.oid::regprocedure::text from pg_proc p
                    where p.proowner = 'tollgate_router'::regrole and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)";
    assert_eq!(texts(&mut router, searched, &[])?, Vec::<String>::new());
    router.batch_execute("set role metrics_reader")?;
    router.query("select * from metrics.quota_status", &[])?;
    Ok(())
}

#[test]
fn a_look_over_all_nodes_is_complete() -> Result<()> {
    let fleet = fleet()?;
    let mut session = fleet.session()?;
    let server = Caller::service();
    let tenants = [fleet.tenant_on(&mut session, 0, "1")?, fleet.tenant_on(&mut session, 1, "1")?];
    for tenant in tenants {
        session.value::<String>(&server, RECORD, &[&tenant, &"0.25", &"a"])?;
    }
    let spent = "select format('%s %s', count(*), trim_scale(sum(total_cost))) from metrics.tenant_total_costs
                 where tenant_id = any ($1)";
    assert_eq!(session.value::<String>(&server, spent, &[&tenants.as_slice()])?, "2 0.5");
    let found = "select count(*) from copilot_internal.verify()";
    assert_eq!(session.value::<i64>(&server, found, &[])?, 0);
    let done = "select count(*) from copilot_internal.maintain() where task = 'fold'";
    assert_eq!(session.value::<i64>(&server, done, &[])?, 2);
    assert_eq!(session.value::<i64>(&server, found, &[])?, 0);
    session.value::<i64>(&server, "select count(*) from copilot_internal.pending()", &[])?;
    // Each view of metrics reads, with the node's columns.
    let views = "select v.name from copilot_internal.router_views() v";
    for view in texts(&mut fleet.node(0)?, views, &[])? {
        session.request(&server, |tx| tx.query(&format!("select * from metrics.{view}"), &[]))?;
    }
    Ok(())
}

#[test]
fn a_placement_comes_before_the_hash_and_stays() -> Result<()> {
    let fleet = fleet()?;
    // A router of its own, which is made again below: that locks out who calls it, and may deadlock with them.
    fleet.route("placed", &fleet.nodes)?;
    let mut session = Session::open(&fleet.router, "placed")?;
    let mut router = fleet.router.superuser("placed")?;
    let tenant = id(0xd0);
    let node_of = "select copilot_internal.node_of($1)";
    let hashed: i32 = router.query_one(node_of, &[&tenant])?.get(0);
    let place = "insert into copilot_internal.placement values ($1, $2)";
    let refused = router.execute(place, &[&tenant, &2]).err().context("a node that is not there is taken")?;
    assert_eq!(sqlstate(&refused), "22023");
    router.execute(place, &[&tenant, &(1 - hashed)])?;
    let make = "select create_tenant('Acme', p_tenant_id => $1)";
    session.value::<Uuid>(&Caller::service(), make, &[&tenant])?;
    assert_eq!(rows_of(&mut fleet.node(usize::try_from(1 - hashed)?)?, tenant)?, "tenants 1");
    assert_eq!(rows_of(&mut fleet.node(usize::try_from(hashed)?)?, tenant)?, "");
    // The id is there: a retry makes no second one.
    session.expect_sqlstate(&Caller::service(), make, &[&tenant], "23505");
    // After an upgrade the SQL is run again.
    router.batch_execute(&fleet.sql()?)?;
    assert_eq!(router.query_one(node_of, &[&tenant])?.get::<_, i32>(0), 1 - hashed);
    // A router that knows fewer nodes than tenants are spread over guesses none.
    fleet.route("few", &fleet.nodes[..1])?;
    let mut session = Session::open(&fleet.router, "few")?;
    let states: Vec<String> = (0..20)
        .filter_map(|_| session.value::<Uuid>(&Caller::service(), "select create_tenant('Acme')", &[]).err())
        .map(|error| sqlstate(&error).to_string())
        .collect();
    assert!(!states.is_empty() && states.iter().all(|state| state == "55000"), "{states:?}");
    Ok(())
}

/// The process of the one session that calls from the router and waits.
fn waiting(client: &mut Client, program: &str) -> Result<i32> {
    let sql = format!("select pid from pg_stat_activity where datname = '{DATABASE}' and {program}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let [row] = client.query(&sql, &[])?.as_slice() {
            return Ok(row.get(0));
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("no call waits: {program}")
}

#[test]
fn a_router_that_dies_in_mid_call_charges_once() -> Result<()> {
    let fleet = Fleet::start()?;
    let server = Caller::service();
    let mut session = fleet.session()?;
    let tenant = fleet.tenant_on(&mut session, 1, "1")?;
    let mut node = fleet.node(1)?;
    let mut blocker = node.transaction()?;
    // The call waits in the node, after the router has sent it.
    blocker.batch_execute("lock table copilot_internal.llm_cost_records in share mode")?;
    let mut watcher = fleet.node(1)?;
    thread::scope(|scope| -> Result<()> {
        let call =
            scope.spawn(|| fleet.session()?.value::<String>(&server, RECORD, &[&tenant, &"0.4", &"a"]).context("dies"));
        waiting(&mut watcher, "wait_event_type = 'Lock' and usename = 'router_login'")?;
        let mut router = fleet.router.superuser(DATABASE)?;
        let caller = waiting(&mut router, "query like '%record_llm_cost%' and pid <> pg_backend_pid()")?;
        kill_process(Pid::from_raw(caller).context("no process")?, Signal::KILL)?;
        fleet.router.crash()?;
        assert!(call.join().map_err(|_| anyhow::anyhow!("a thread panics"))?.is_err());
        // The retry meets its twin, which is still under way.
        let retry = scope
            .spawn(|| fleet.session()?.value::<String>(&server, RECORD, &[&tenant, &"0.4", &"a"]).context("retry"));
        thread::sleep(Duration::from_millis(300));
        blocker.rollback()?;
        let said = retry.join().map_err(|_| anyhow::anyhow!("a thread panics"))??;
        // Where the retry's row was first, its twin was still in flight, which counts as held.
        assert!(["t t 0.6 OK", "t f 0.6 OK", "t f 0.2 OK"].contains(&said.as_str()), "{said}");
        Ok(())
    })?;
    let mut session = fleet.session()?;
    assert_eq!(session.value::<String>(&server, RECORD, &[&tenant, &"0.4", &"a"])?, "t t 0.6 OK");
    assert_eq!(charged(&mut watcher, tenant)?, "1 for 0.4");
    let found = "select count(*) from copilot_internal.verify()";
    assert_eq!(session.value::<i64>(&server, found, &[])?, 0);
    Ok(())
}
