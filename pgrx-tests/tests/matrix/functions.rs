//! Functions.

use anyhow::Result;
use tollgate_tests::supabase::DefaultPrivileges;

use crate::callers::{Answer, Asker, Cells, Door, Kind, all};
use crate::support::{Database, id, texts};
use crate::world::{Tenant, seed, tenant_a, tenant_b};

/// The callers that a function is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    /// Signed-in people, for a tenant they belong to, and the server.
    Members,
    /// The same, without a tenant in question.
    SignedIn,
    /// As `Members`, but a refusal is an answer.
    Policies,
    /// Users about themselves, and the server about any user.
    Oneself,
    /// The same, with the e-mail address of the token.
    OneselfByEmail,
    /// Members of the tenant for themselves, and the server.
    MembersForThemselves,
    /// Owners and admins of the tenant, and the server.
    Leaders,
    /// The same, and the member that is meant.
    LeadersOrThemselves,
    /// Owners of the tenant, and the server.
    Owners,
    /// The server.
    Server,
    /// Callers that see the metrics of all tenants; a view that all may read calls it.
    Analysts,
    /// Part of another function or view: callable where a view or constraint needs it, and harmless.
    Machinery(&'static [Kind]),
    /// Called by kernels and triggers only.
    NoCaller,
}

const PEOPLE: &[Kind] = &[Kind::MemberOfA, Kind::MemberOfB, Kind::Invited, Kind::Stranger, Kind::Service];
/// What the views of `metrics` call for any reader.
const READERS: &[Kind] =
    &[Kind::MemberOfA, Kind::MemberOfB, Kind::Invited, Kind::Stranger, Kind::Service, Kind::Auditor, Kind::Replicator];
const SERVER: &[Kind] = &[Kind::Service];

/// Name, callers, and a call. `$T` is a tenant, `$U` its plain member, `$NEW` a user without any tenant. `$ME` is the
/// calling user; for the server and for callers without a user it is that member. `$R` is a reservation, `$L` a cost
/// record and `$Q` a quota of the tenant.
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
    ("get_user_tenants", For::Oneself, "public.get_user_tenants($ME)"),
    ("verify_tenant_access", For::Oneself, "public.verify_tenant_access($ME, $T)"),
    ("create_personal_tenant", For::OneselfByEmail, "public.create_personal_tenant($ME, $ME || '@example.com')"),
    ("create_tenant", For::Server, "public.create_tenant('New')"),
    ("invite_member", For::Leaders, "public.invite_member($T, $NEW)"),
    ("accept_invitation", For::MembersForThemselves, "public.accept_invitation($T, $ME)"),
    ("set_member_role", For::Leaders, "public.set_member_role($T, $U, 'viewer')"),
    ("remove_member", For::LeadersOrThemselves, "public.remove_member($T, $U)"),
    ("switch_tenant", For::MembersForThemselves, "public.switch_tenant($T, $ME)"),
    ("delete_tenant", For::Owners, "public.delete_tenant($T)"),
    ("resolve_llm_policy", For::Members, "public.resolve_llm_policy($T)"),
    ("set_llm_policy", For::Server, "public.set_llm_policy($T, '{}')"),
    ("initialize_tenant_quotas", For::Server, "public.initialize_tenant_quotas($T)"),
    ("check_and_record_quota_atomic", For::Server, "public.check_and_record_quota_atomic('tenant', $T, 0.01)"),
    ("record_llm_cost", For::Server, "public.record_llm_cost($T, 'shared', 'model-for-all', 1, 1, $U)"),
    (
        "record_llm_usage",
        For::Server,
        "public.record_llm_usage($T, 'shared', 'model-for-all', '{\"prompt_tokens\": 1}', $U)",
    ),
    ("record_e2b_cost", For::Server, "public.record_e2b_cost($T, 's', 'box-for-all', 1, $U)"),
    ("record_llm_costs", For::Server, "public.record_llm_costs('[]')"),
    ("record_e2b_costs", For::Server, "public.record_e2b_costs('[]')"),
    ("reserve_quota", For::Server, "public.reserve_quota($T, 'llm', 0.01, 'asked', $U)"),
    ("commit_reservation", For::Server, "public.commit_reservation($R, 0.01)"),
    ("release_reservation", For::Server, "public.release_reservation($R)"),
    ("extend_reservation", For::Server, "public.extend_reservation($R, '1 hour')"),
    ("refund_cost", For::Server, "public.refund_cost($L, 0.01, 'asked')"),
    ("adjust_quota", For::Server, "copilot_internal.adjust_quota($Q, 0.01, 'asked')"),
    ("set_quota", For::Server, "public.set_quota('tenant', $T, 'llm', 10)"),
    (
        "raise_quota",
        For::Server,
        "public.raise_quota((select q.quota_id from metrics.quota_status q where q.tenant_id = $T limit 1), 1, \
         clock_timestamp() + interval '1 hour')",
    ),
    ("claim_quota_events", For::Server, "public.claim_quota_events()"),
    ("acknowledge_quota_events", For::Server, "public.acknowledge_quota_events('{}')"),
    ("erase_user", For::Server, "public.erase_user($U)"),
    ("export_user_data", For::Server, "(select count(*) from public.export_user_data($NEW))"),
    ("purge_tenant", For::Server, "public.purge_tenant('00000000-0000-0000-0000-00000000de1e')"),
    ("redact_cost_metadata", For::Server, "public.redact_cost_metadata($T, $U)"),
    ("charge_on_insert", For::Server, "copilot_internal.charge_on_insert()"),
    ("set_sandbox_price", For::Server, "public.set_sandbox_price('shared', 'another', '{\"per_second\": 1}')"),
    ("set_model_price", For::Server, "public.set_model_price('shared', 'another', 1, 1)"),
    ("maintain", For::Server, "copilot_internal.maintain()"),
    ("housekeep", For::Server, "call copilot_internal.housekeep()"),
    ("verify", For::Server, "copilot_internal.verify()"),
    ("verify_counters", For::Server, "copilot_internal.verify_counters()"),
    ("reload_counters", For::Server, "copilot_internal.reload_counters()"),
    ("pending", For::Server, "copilot_internal.pending()"),
    ("router_sql", For::Server, "copilot_internal.router_sql('plproxy')"),
    ("router_functions", For::Machinery(SERVER), "(select count(*) from copilot_internal.router_functions())"),
    ("router_views", For::Machinery(SERVER), "(select count(*) from copilot_internal.router_views())"),
    ("router_frame", For::Machinery(SERVER), "copilot_internal.router_frame(1)"),
    ("router_own_body", For::Machinery(SERVER), "copilot_internal.router_own_body('switch_tenant')"),
    ("router_batch_body", For::Machinery(SERVER), "copilot_internal.router_batch_body('record_llm_costs', '{}')"),
    ("router_function", For::Machinery(SERVER), "copilot_internal.router_function('f', '', '', 'text', 'sql', '')"),
    ("router_plproxy", For::Machinery(SERVER), "copilot_internal.router_plproxy(1)"),
    ("router_citus", For::Machinery(SERVER), "copilot_internal.router_citus()"),
    ("admission_counters", For::Analysts, "copilot_internal.admission_counters()"),
    ("caller_sees_all", For::Machinery(READERS), "copilot_internal.caller_sees_all()"),
    ("caller_tenants", For::Machinery(READERS), "copilot_internal.caller_tenants()"),
    ("caller_open_tenants", For::Machinery(READERS), "copilot_internal.caller_open_tenants()"),
    ("caller_sees_costs_of", For::Machinery(READERS), "copilot_internal.caller_sees_costs_of($T, $U)"),
    ("caller_user", For::Machinery(READERS), "copilot_internal.caller_user()"),
    ("period_bounds", For::Machinery(READERS), "copilot_internal.period_bounds('day', 'UTC', '2026-01-01')"),
    ("period_parts", For::Machinery(READERS), "copilot_internal.period_parts('day', 'UTC', '2026-01-01')"),
    ("check_confidence_level", For::Machinery(PEOPLE), "copilot_internal.check_confidence_level('typical')"),
    ("raise_refusal", For::Machinery(PEOPLE), "copilot_internal.raise_refusal(null, null)"),
    ("is_time_zone", For::Machinery(READERS), "copilot_internal.is_time_zone('UTC')"),
    ("price_problem", For::Machinery(SERVER), "copilot_internal.price_problem(1, 1, '{}')"),
    (
        "policy_problem",
        For::Machinery(SERVER),
        "copilot_internal.policy_problem(null, null, null, '[]', null, '[]', 'open', '{}', '{}')",
    ),
    ("grant_api_roles", For::NoCaller, "copilot_internal.grant_api_roles()"),
    ("begin_script", For::NoCaller, "copilot_internal.begin_script('0.1.0')"),
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
    ("refresh_estimates", For::NoCaller, "copilot_internal.refresh_estimates($T)"),
    ("complete_quota", For::NoCaller, "copilot_internal.complete_quota()"),
    ("note_limit_change", For::NoCaller, "copilot_internal.note_limit_change()"),
    ("bound_overrides", For::NoCaller, "copilot_internal.bound_overrides()"),
    ("charge", For::NoCaller, "copilot_internal.charge('tenant', $T, 0.01, 'llm', $T, null, false)"),
    ("count_charged_row", For::NoCaller, "copilot_internal.count_charged_row()"),
    ("claim_events", For::NoCaller, "copilot_internal.claim_events(1, '1 second', null)"),
    ("acknowledge_events", For::NoCaller, "copilot_internal.acknowledge_events('{}', null)"),
    ("run_maintenance", For::NoCaller, "copilot_internal.run_maintenance(10, '1 second', 10)"),
    ("ledger_differences", For::NoCaller, "copilot_internal.ledger_differences()"),
    ("catch_up_events", For::NoCaller, "copilot_internal.catch_up_events($T, 10)"),
    ("catch_up_events_of_charged", For::NoCaller, "copilot_internal.catch_up_events_of_charged(10)"),
    ("delete_old_events", For::NoCaller, "copilot_internal.delete_old_events(10)"),
    ("arm_triggers", For::NoCaller, "copilot_internal.arm_triggers()"),
    ("rows_changed", For::NoCaller, "copilot_internal.rows_changed()"),
    ("keep_ledger", For::NoCaller, "copilot_internal.keep_ledger()"),
    ("lock_platform", For::NoCaller, "copilot_internal.lock_platform()"),
    ("configuration_changed", For::NoCaller, "copilot_internal.configuration_changed()"),
    ("definitions_changed", For::NoCaller, "copilot_internal.definitions_changed()"),
    ("holdings", For::Server, "copilot_internal.holdings()"),
    ("cost_summary", For::NoCaller, "copilot_internal.cost_summary($T, null, null)"),
    ("fold", For::NoCaller, "copilot_internal.fold($T, 10)"),
    ("fold_batch", For::NoCaller, "copilot_internal.fold_batch(array[$T::uuid], array[10])"),
    ("pending_tails", For::NoCaller, "copilot_internal.pending_tails()"),
    ("housekeeping_step", For::NoCaller, "copilot_internal.housekeeping_step(true)"),
    ("lock_share", For::NoCaller, "copilot_internal.lock_share()"),
    ("fold_plan", For::NoCaller, "copilot_internal.fold_plan(10, 10)"),
    ("fold_pending", For::NoCaller, "copilot_internal.fold_pending(10, clock_timestamp())"),
    ("retention_days", For::NoCaller, "copilot_internal.retention_days('{}')"),
    ("add_up", For::NoCaller, "copilot_internal.add_up('llm_cost_records', 'llm', $T, '{}')"),
    ("retire_ledger", For::NoCaller, "copilot_internal.retire_ledger(10, clock_timestamp())"),
    ("retire_rows", For::NoCaller, "copilot_internal.retire_rows($T, clock_timestamp(), 10)"),
    ("forget_voided_starts", For::NoCaller, "copilot_internal.forget_voided_starts(10)"),
    ("sole_tenant", For::NoCaller, "copilot_internal.sole_tenant($U)"),
    ("expire_reservations", For::NoCaller, "copilot_internal.expire_reservations(10)"),
    ("await_fold_lock", For::NoCaller, "copilot_internal.await_fold_lock($T)"),
    ("move_lines", For::NoCaller, "copilot_internal.move_lines($T, 'llm', '{}', null)"),
    ("left_of_person", For::NoCaller, "copilot_internal.left_of_person($U, $T)"),
    ("tenants_of_person", For::NoCaller, "copilot_internal.tenants_of_person($U)"),
    ("erase_long", For::NoCaller, "copilot_internal.erase_long(null, 10, null)"),
    ("erase_rows", For::NoCaller, "copilot_internal.erase_rows(null, 'llm', '{}')"),
    ("erase_day", For::NoCaller, "copilot_internal.erase_day(null, 'llm', '2026-01-01', 10)"),
    ("erase_short", For::NoCaller, "copilot_internal.erase_short(null)"),
    ("erase_events", For::NoCaller, "copilot_internal.erase_events(null, 10)"),
    ("must_not_own", For::NoCaller, "copilot_internal.must_not_own($U, $T)"),
    ("erase_in_tenant", For::NoCaller, "copilot_internal.erase_in_tenant($U, $T, 10, null)"),
    ("erase_person", For::NoCaller, "copilot_internal.erase_person($U, $T)"),
    ("export_person", For::NoCaller, "copilot_internal.export_person($U, $T, null, 10)"),
    ("export_ledger", For::NoCaller, "copilot_internal.export_ledger($U, $T, 'llm_cost_records', '-infinity', $U, 10)"),
    ("left_of_tenant", For::NoCaller, "copilot_internal.left_of_tenant($T)"),
    ("purge_ledger", For::NoCaller, "copilot_internal.purge_ledger($NEW, 10)"),
    ("purge_rest", For::NoCaller, "copilot_internal.purge_rest($NEW, 10)"),
    ("purge_rows", For::NoCaller, "copilot_internal.purge_rows('00000000-0000-0000-0000-00000000de1e')"),
    ("redact_costs", For::NoCaller, "copilot_internal.redact_costs($T, $U)"),
    ("redact_conversation_costs", For::NoCaller, "copilot_internal.redact_conversation_costs($T, array[$U::uuid])"),
    ("tier_understood", For::NoCaller, "copilot_internal.tier_understood('flex')"),
    ("usage_understood", For::NoCaller, "copilot_internal.usage_understood('openai', 1, 1, '{}')"),
    ("pricing_alone", For::NoCaller, "copilot_internal.pricing_alone('{}')"),
    ("reload_tenant_counters", For::NoCaller, "copilot_internal.reload_tenant_counters($T)"),
    ("trigger_in_the_way", For::NoCaller, "copilot_internal.trigger_in_the_way(true)"),
    ("refuse_triggers", For::NoCaller, "copilot_internal.refuse_triggers(true)"),
    ("try_corrections_lock", For::NoCaller, "copilot_internal.try_corrections_lock($T)"),
    ("try_fold_lock", For::NoCaller, "copilot_internal.try_fold_lock($T)"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Answered,
    False,
    Denied,
    Unknown,
}

fn expected(callers: For, asker: &Asker, tenant: &Tenant) -> Outcome {
    let role = asker.role_in(tenant.tenant);
    let serves = matches!(asker.kind, Kind::Superuser | Kind::Administrator | Kind::Service);
    let own = serves || role.is_some();
    let people = matches!(asker.kind, Kind::MemberOfA | Kind::MemberOfB | Kind::Invited | Kind::Stranger);
    let signed_in = serves || people;
    // Administrators have service_role.
    let kind = if asker.kind == Kind::Administrator { Kind::Service } else { asker.kind };
    let when = |allowed| if allowed { Outcome::Answered } else { Outcome::Denied };
    match callers {
        _ if kind == Kind::Superuser => Outcome::Answered,
        For::Members => when(own),
        For::SignedIn => when(signed_in),
        For::Policies if own => Outcome::Answered,
        For::Policies if signed_in => Outcome::False,
        For::Policies => Outcome::Denied,
        For::Oneself => when(serves || people && asker.subject.is_some()),
        For::OneselfByEmail => when(serves || people && asker.has_email),
        // An invitation is accepted, and not more.
        For::MembersForThemselves => when(own),
        For::Leaders => when(serves || matches!(role, Some("owner" | "admin"))),
        For::LeadersOrThemselves => {
            when(serves || matches!(role, Some("owner" | "admin")) || asker.subject == Some(tenant.member))
        }
        For::Owners => when(serves || role == Some("owner")),
        For::Server => when(kind == Kind::Service),
        // Analysts reach it through the view alone.
        For::Analysts => when(matches!(kind, Kind::Service | Kind::Auditor)),
        For::Machinery(kinds) => when(kinds.contains(&kind)),
        For::NoCaller => Outcome::Denied,
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
    assert_eq!(found, listed, "list a new function with its callers");
    Ok(())
}

/// A call that is denied may be denied further in; what must not be open is closed at the door.
#[test]
fn only_the_callers_of_a_function_may_execute_it() -> Result<()> {
    for privileges in [DefaultPrivileges::Secure, DefaultPrivileges::Legacy] {
        let database = Database::with_privileges(&format!("executed_{}", privileges.name()), privileges)?;
        let mut client = database.superuser()?;
        for (name, callers, _) in FUNCTIONS {
            let sql = "
                select r.name from pg_proc p
                join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
                cross join unnest(array['anon', 'authenticated', 'metrics_reader', 'pg_read_all_data', 'service_role']) as r (name)
                where p.proname = $1 and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')
                  and has_function_privilege(r.name, p.oid, 'execute') order by 1";
            let roles = match callers {
                For::Members
                | For::SignedIn
                | For::Policies
                | For::Oneself
                | For::OneselfByEmail
                | For::MembersForThemselves
                | For::Leaders
                | For::LeadersOrThemselves
                | For::Owners => vec!["authenticated", "service_role"],
                // Refused by the kernel, unless the setting allows some.
                For::Server if *name == "create_tenant" => vec!["authenticated", "service_role"],
                For::Machinery(kinds) if *kinds == PEOPLE => vec!["authenticated", "service_role"],
                For::Machinery(kinds) if *kinds == READERS => {
                    vec!["authenticated", "metrics_reader", "pg_read_all_data", "service_role"]
                }
                For::Server | For::Machinery(_) => vec!["service_role"],
                For::Analysts => vec!["authenticated", "metrics_reader", "pg_read_all_data", "service_role"],
                For::NoCaller => Vec::new(),
            };
            assert_eq!(texts(&mut client, sql, &[name])?, roles, "{name}");
        }
    }
    Ok(())
}

#[test]
fn functions_where_projects_grant_nothing() -> Result<()> {
    each_caller_against_each_function(DefaultPrivileges::Secure, Door::Direct)
}

#[test]
fn functions_through_pgbouncer() -> Result<()> {
    each_caller_against_each_function(DefaultPrivileges::Secure, Door::Pgbouncer)
}

#[test]
fn functions_where_projects_grant_everything() -> Result<()> {
    each_caller_against_each_function(DefaultPrivileges::Legacy, Door::Direct)
}

fn each_caller_against_each_function(privileges: DefaultPrivileges, door: Door) -> Result<()> {
    let title = format!("functions, {}, {}", privileges.name(), door.name());
    let database = Database::with_privileges(&title, privileges)?;
    seed(&database)?;
    let (_pooler, mut sessions) = door.open(&database)?;
    let mut wrong = Vec::new();
    let mut cells = Cells::default();
    for asker in all() {
        for tenant in [tenant_a(), tenant_b()] {
            let queries: Vec<String> =
                FUNCTIONS.iter().map(|(name, _, call)| query(name, call, &tenant, &asker)).collect();
            for ((name, callers, _), (sql, answer)) in
                FUNCTIONS.iter().zip(queries.iter().zip(sessions.ask(&asker, &queries)?))
            {
                let outcome = match *name {
                    "accept_invitation" if asker.kind == Kind::Invited && tenant.tenant == tenant_a().tenant => {
                        Outcome::Answered
                    }
                    _ => expected(*callers, &asker, &tenant),
                };
                cells.count(outcome == Outcome::Denied, outcome == Outcome::False);
                judge_answer(&asker, &tenant, (name, *callers, outcome), sql, &answer, &mut wrong);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    println!("{title}: {cells}");
    Ok(())
}

/// A grant on everything is quickly made, and opens nothing. What acts with the owner's rights checks the caller, and
/// the rest has no rights but the caller's.
#[test]
fn functions_where_everything_has_been_granted() -> Result<()> {
    let database = Database::with_privileges("functions granted", DefaultPrivileges::Secure)?;
    seed(&database)?;
    database.superuser()?.batch_execute(
        "grant usage on schema copilot_internal, public to public;
         grant execute on all functions in schema copilot_internal, public to public;",
    )?;
    let acts_as_owner = texts(
        &mut database.superuser()?,
        "select p.proname::text from pg_proc p join pg_language l on l.oid = p.prolang
         join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
         where (l.lanname = 'c' or p.prosecdef)
           and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')",
        &[],
    )?;
    let (_pooler, mut sessions) = Door::Direct.open(&database)?;
    let mut wrong = Vec::new();
    let mut cells = Cells::default();
    for asker in all() {
        for tenant in [tenant_a(), tenant_b()] {
            let queries: Vec<String> =
                FUNCTIONS.iter().map(|(name, _, call)| query(name, call, &tenant, &asker)).collect();
            for ((name, callers, _), (sql, answer)) in
                FUNCTIONS.iter().zip(queries.iter().zip(sessions.ask(&asker, &queries)?))
            {
                let invited = *name == "accept_invitation" && asker.kind == Kind::Invited;
                let outcome = expected(*callers, &asker, &tenant);
                let serves = matches!(asker.kind, Kind::Superuser | Kind::Administrator | Kind::Service);
                let is_for_all = matches!(callers, For::SignedIn | For::Policies | For::Machinery(_));
                let may = serves || invited || is_for_all || *callers == For::Analysts && asker.sees_all();
                let asks = acts_as_owner.iter().any(|function| function == name);
                let is_pure = ["price_list", "tier_understood", "usage_understood"].contains(name);
                if asks && !may && outcome == Outcome::Denied && !TRIGGERS.contains(name) && !is_pure {
                    cells.count(true, false);
                    judge_answer(&asker, &tenant, (name, *callers, outcome), sql, &answer, &mut wrong);
                } else {
                    // Nothing of others may be told, whatever the answer is.
                    judge_answer(&asker, &tenant, (name, *callers, Outcome::Unknown), sql, &answer, &mut wrong);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("functions granted to all roles: {cells}");
    Ok(())
}

const TRIGGERS: [&str; 9] = [
    "rows_changed",
    "keep_ledger",
    "complete_quota",
    "lock_platform",
    "configuration_changed",
    "definitions_changed",
    "note_limit_change",
    "bound_overrides",
    "charge_on_insert",
];

fn is_about_triggers(error: &str) -> bool {
    error.starts_with("0A000") || error.ends_with("this function is a trigger")
}

fn query(name: &str, call: &str, tenant: &Tenant, asker: &Asker) -> String {
    let me = asker.subject.unwrap_or(tenant.member);
    let one_of = |table: &str, which: &str| {
        format!("(select id from copilot_internal.{table} where tenant_id = '{}' and {which} limit 1)", tenant.tenant)
    };
    let call = [("$T", tenant.tenant), ("$U", tenant.member), ("$ME", me), ("$NEW", id(0x4e))]
        .iter()
        .fold(call.to_string(), |call, (place, value)| call.replace(place, &format!("'{value}'")))
        .replace("$R", &one_of("quota_reservations", "request_id like 'held-%'"))
        .replace("$L", &one_of("llm_cost_records", "request_id is not null"))
        .replace("$Q", &one_of("cost_quotas", "scope = 'tenant'"));
    if call.starts_with("call ") {
        call
    } else if TRIGGERS.contains(&name) {
        // A trigger's function cannot stand in FROM.
        format!("select {call}")
    } else {
        format!("select to_jsonb(r)::text from {call} r")
    }
}

fn judge_answer(
    asker: &Asker,
    tenant: &Tenant,
    (name, callers, expected): (&str, For, Outcome),
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
        (Outcome::Answered, Ok(rows)) if callers == For::Policies && rows != &["true"] => {
            wrong.push(told(&format!("({rows:?}) is not told true by")));
        }
        _ => {}
    }
    // Neither an answer nor an error may tell of others. A caller may find their own question in it.
    let said = format!("{outcome:?}").replace(&tenant.tenant.to_string(), "");
    for marker in asker.forbidden_markers() {
        if said.contains(&marker) {
            wrong.push(told(&format!("finds {marker} ({said}) in")));
        }
    }
}
