//! Functions.

use anyhow::Result;
use tollgate_tests::supabase::DefaultPrivileges;

use crate::callers::{Answer, Asker, Kind, Sessions, all};
use crate::support::{Database, texts};
use crate::world::{Tenant, seed, tenant_a, tenant_b};

/// For whom a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    /// Signed-in people, for a tenant they belong to, and the server.
    Members,
    /// The same, without a tenant in question.
    SignedIn,
    /// As `Members`, but a refusal is an answer.
    Policies,
    /// The server.
    Server,
    /// Whoever sees the metrics of all tenants; a view that all may read calls it.
    Analysts,
    /// Part of another function or view: callable where a view or constraint needs it, and harmless.
    Machinery(&'static [Kind]),
    /// Called by kernels and triggers only.
    Nobody,
}

const PEOPLE: &[Kind] = &[Kind::MemberOfA, Kind::MemberOfB, Kind::Stranger, Kind::Service];
const SERVER: &[Kind] = &[Kind::Service];

/// Name, for whom, and a call; `$T` is a tenant, `$U` its plain member, `$R` a reservation, `$L` a cost record and `$Q` a quota
/// of it.
const FUNCTIONS: &[(&str, For, &str)] = &[
    ("check_quota_before_operation", For::Members, "public.check_quota_before_operation($T, 'llm', 0.5)"),
    ("has_quota", For::Policies, "public.has_quota($T, 'llm', 0.5)"),
    ("require_quota", For::Members, "public.require_quota($T, 'llm', 0.5)"),
    ("get_tenant_cost_summary", For::Members, "public.get_tenant_cost_summary($T)"),
    ("estimate_llm_cost", For::SignedIn, "public.estimate_llm_cost('shared', 'model-for-all', 10, 10)"),
    ("estimate_e2b_cost", For::SignedIn, "public.estimate_e2b_cost('box-for-all', 10)"),
    ("reprice", For::Server, "copilot_internal.reprice('2020-01-01', '2020-01-02', true)"),
    ("normalize_llm_usage", For::SignedIn, "public.normalize_llm_usage('openai', '{\"prompt_tokens\": 1}')"),
    ("get_llm_cost_estimate", For::SignedIn, "public.get_llm_cost_estimate('shared', 'model-for-all')"),
    ("get_e2b_cost_estimate", For::SignedIn, "public.get_e2b_cost_estimate('box-for-all')"),
    ("get_current_tenant_id", For::SignedIn, "public.get_current_tenant_id()"),
    ("check_and_record_quota_atomic", For::Server, "public.check_and_record_quota_atomic('tenant', $T, 0.01)"),
    ("record_llm_cost", For::Server, "public.record_llm_cost($T, 'shared', 'model-for-all', 1, 1, $U)"),
    ("record_e2b_cost", For::Server, "public.record_e2b_cost($T, 's', 'box-for-all', 1, $U)"),
    ("record_llm_costs", For::Server, "public.record_llm_costs('[]')"),
    ("reserve_quota", For::Server, "public.reserve_quota($T, 'llm', 0.01, 'asked', $U)"),
    ("commit_reservation", For::Server, "public.commit_reservation($R, 0.01)"),
    ("release_reservation", For::Server, "public.release_reservation($R)"),
    ("extend_reservation", For::Server, "public.extend_reservation($R, '1 hour')"),
    ("refund_cost", For::Server, "public.refund_cost($L, 0.01, 'asked')"),
    ("adjust_quota", For::Server, "copilot_internal.adjust_quota($Q, 0.01, 'asked')"),
    ("set_quota", For::Server, "public.set_quota('tenant', $T, 'llm', 10)"),
    ("set_model_price", For::Server, "public.set_model_price('shared', 'another', 1, 1)"),
    ("maintain", For::Server, "copilot_internal.maintain()"),
    ("verify", For::Server, "copilot_internal.verify()"),
    ("pending", For::Server, "copilot_internal.pending()"),
    ("admission_counters", For::Analysts, "copilot_internal.admission_counters()"),
    ("caller_sees_all", For::Machinery(PEOPLE), "copilot_internal.caller_sees_all()"),
    ("caller_tenants", For::Machinery(PEOPLE), "copilot_internal.caller_tenants()"),
    ("caller_user", For::Machinery(PEOPLE), "copilot_internal.caller_user()"),
    ("period_bounds", For::Machinery(PEOPLE), "copilot_internal.period_bounds('day', 'UTC', '2026-01-01')"),
    ("check_confidence_level", For::Machinery(PEOPLE), "copilot_internal.check_confidence_level('typical')"),
    ("is_time_zone", For::Machinery(PEOPLE), "copilot_internal.is_time_zone('UTC')"),
    ("price_problem", For::Machinery(SERVER), "copilot_internal.price_problem(1, 1, '{}')"),
    (
        "read_price_list",
        For::Machinery(SERVER),
        "copilot_internal.read_price_list('{\"m\": {\"litellm_provider\": \"p\"}}')",
    ),
    ("price_list", For::Server, "copilot_internal.price_list('{}')"),
    ("price_values", For::Machinery(SERVER), "copilot_internal.price_values(1, 1, '{}')"),
    (
        "import_model_pricing",
        For::Server,
        "copilot_internal.import_model_pricing('{\"m\": {\"litellm_provider\": \"p\"}}', 'test', p_dry_run => true)",
    ),
    ("export_model_pricing", For::Server, "copilot_internal.export_model_pricing()"),
    ("check_own_tenant", For::Members, "copilot_internal.check_own_tenant($T)"),
    ("refresh_estimates", For::Nobody, "copilot_internal.refresh_estimates($T)"),
    ("complete_quota", For::Nobody, "copilot_internal.complete_quota()"),
    ("lock_platform", For::Nobody, "copilot_internal.lock_platform()"),
    ("configuration_changed", For::Nobody, "copilot_internal.configuration_changed()"),
    ("definitions_changed", For::Nobody, "copilot_internal.definitions_changed()"),
    ("holdings", For::Nobody, "copilot_internal.holdings()"),
    ("cost_summary", For::Nobody, "copilot_internal.cost_summary($T, null, null)"),
    ("fold", For::Nobody, "copilot_internal.fold($T, 10)"),
    ("sole_tenant", For::Nobody, "copilot_internal.sole_tenant($U)"),
    ("expire_reservations", For::Nobody, "copilot_internal.expire_reservations(10)"),
    ("try_fold_lock", For::Nobody, "copilot_internal.try_fold_lock($T)"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Answered,
    False,
    Denied,
}

fn expected(who: For, kind: Kind, tenant: &Tenant) -> Outcome {
    let own = match kind {
        Kind::Superuser | Kind::Administrator | Kind::Service => true,
        Kind::MemberOfA => tenant.tenant == tenant_a().tenant,
        Kind::MemberOfB => tenant.tenant == tenant_b().tenant,
        _ => false,
    };
    let signed_in = own || matches!(kind, Kind::MemberOfA | Kind::MemberOfB | Kind::Stranger);
    // Administrators have service_role.
    let kind = if kind == Kind::Administrator { Kind::Service } else { kind };
    let when = |allowed| if allowed { Outcome::Answered } else { Outcome::Denied };
    match who {
        _ if kind == Kind::Superuser => Outcome::Answered,
        For::Members => when(own),
        For::SignedIn => when(signed_in),
        For::Policies if own => Outcome::Answered,
        For::Policies if signed_in => Outcome::False,
        For::Policies => Outcome::Denied,
        For::Server => when(kind == Kind::Service),
        // Analysts reach it through the view alone.
        For::Analysts => when(kind == Kind::Service),
        For::Machinery(kinds) => when(kinds.contains(&kind)),
        For::Nobody => Outcome::Denied,
    }
}

#[test]
fn each_function_is_classified() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let sql = "
        select p.proname::text from pg_proc p join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        where d.deptype = 'e' and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')";
    let mut found = texts(&mut client, sql, &[])?;
    let mut listed: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    found.sort_unstable();
    listed.sort_unstable();
    assert_eq!(found, listed, "say for whom a new function is");
    Ok(())
}

/// A call that is denied may be denied further in; what must not be open is closed at the door.
#[test]
fn only_those_whom_a_function_is_for_may_execute_it() -> Result<()> {
    for privileges in [DefaultPrivileges::Secure, DefaultPrivileges::Legacy] {
        let database = Database::with_privileges(&format!("executed_{}", privileges.name()), privileges)?;
        let mut client = database.superuser()?;
        for (name, who, _) in FUNCTIONS {
            let sql = "
                select r.name from pg_proc p
                join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
                cross join unnest(array['anon', 'authenticated', 'metrics_reader', 'service_role']) as r (name)
                where p.proname = $1 and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')
                  and has_function_privilege(r.name, p.oid, 'execute') order by 1";
            let mut roles = match who {
                For::Members | For::SignedIn | For::Policies => vec!["authenticated", "service_role"],
                For::Machinery(kinds) if *kinds == PEOPLE => vec!["authenticated", "service_role"],
                For::Server | For::Machinery(_) => vec!["service_role"],
                For::Analysts => vec!["authenticated", "metrics_reader", "service_role"],
                For::Nobody => Vec::new(),
            };
            // A view needs its reader's right to execute what it calls.
            if ["caller_sees_all", "caller_tenants", "is_time_zone", "period_bounds"].contains(name) {
                roles.insert(1, "metrics_reader");
            }
            assert_eq!(texts(&mut client, sql, &[name])?, roles, "{name}");
        }
    }
    Ok(())
}

#[test]
fn functions_where_projects_grant_nothing() -> Result<()> {
    each_caller_against_each_function(DefaultPrivileges::Secure)
}

#[test]
fn functions_where_projects_grant_everything() -> Result<()> {
    each_caller_against_each_function(DefaultPrivileges::Legacy)
}

fn each_caller_against_each_function(privileges: DefaultPrivileges) -> Result<()> {
    let database = Database::with_privileges(&format!("functions_{}", privileges.name()), privileges)?;
    seed(&database)?;
    let mut sessions = Sessions::open(&database)?;
    let mut wrong = Vec::new();
    for asker in all() {
        for tenant in [tenant_a(), tenant_b()] {
            let queries: Vec<String> = FUNCTIONS.iter().map(|(name, _, call)| query(name, call, &tenant)).collect();
            for ((name, who, _), (sql, answer)) in
                FUNCTIONS.iter().zip(queries.iter().zip(sessions.ask(&asker, &queries)?))
            {
                let outcome = expected(*who, asker.kind, &tenant);
                judge_answer(&asker, &tenant, (name, *who, outcome), sql, &answer, &mut wrong);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}

const TRIGGERS: [&str; 4] = ["complete_quota", "lock_platform", "configuration_changed", "definitions_changed"];

fn is_about_triggers(error: &str) -> bool {
    error.starts_with("0A000") || error.ends_with("this function is a trigger")
}

fn query(name: &str, call: &str, tenant: &Tenant) -> String {
    let one_of = |table: &str, which: &str| {
        format!("(select id from copilot_internal.{table} where tenant_id = '{}' and {which} limit 1)", tenant.tenant)
    };
    let call = call
        .replace("$T", &format!("'{}'", tenant.tenant))
        .replace("$U", &format!("'{}'", tenant.member))
        .replace("$R", &one_of("quota_reservations", "request_id like 'held-%'"))
        .replace("$L", &one_of("llm_cost_records", "request_id is not null"))
        .replace("$Q", &one_of("cost_quotas", "scope = 'tenant'"));
    if TRIGGERS.contains(&name) {
        // A trigger's function cannot stand in FROM.
        format!("select {call}")
    } else {
        format!("select to_jsonb(r)::text from {call} r")
    }
}

fn judge_answer(
    asker: &Asker,
    tenant: &Tenant,
    (name, who, expected): (&str, For, Outcome),
    sql: &str,
    outcome: &Answer,
    wrong: &mut Vec<String>,
) {
    let told = |what: &str| format!("{} {what} {sql}", asker.label);
    match (expected, outcome) {
        // Nothing but a trigger can call a trigger's function.
        (Outcome::Answered, Err(error)) if TRIGGERS.contains(&name) && is_about_triggers(error) => {}
        (Outcome::Answered, Err(error)) => wrong.push(told(&format!("({error}) may not call"))),
        (Outcome::Denied, Ok(rows)) => wrong.push(told(&format!("({rows:?}) may call"))),
        (Outcome::Denied, Err(error)) if !error.starts_with("42501") => {
            wrong.push(told(&format!("({error}) is not denied but fails at")));
        }
        (Outcome::False, answer) if *answer != Ok(vec!["false".to_string()]) => {
            wrong.push(told(&format!("({answer:?}) is not told false by")));
        }
        (Outcome::Answered, Ok(rows)) if who == For::Policies && rows != &["true"] => {
            wrong.push(told(&format!("({rows:?}) is not told true by")));
        }
        _ => {}
    }
    // Neither an answer nor an error may tell of others. A caller may find his own question in it.
    let said = format!("{outcome:?}").replace(&tenant.tenant.to_string(), "");
    for marker in asker.forbidden_markers() {
        if said.contains(&marker) {
            wrong.push(told(&format!("finds {marker} ({said}) in")));
        }
    }
}
