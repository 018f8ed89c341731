//! What members see of each other: owners and admins all that a user does and spends, plain members their own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tollgate_tests::support::{Database, texts};
use uuid::Uuid;

use crate::callers::{Asker, Door, Kind, Sessions, all};
use crate::relations::{Relation, relations};
use crate::world::{seed, tenant_a};

/// Who belongs to a tenant, and what limits it has set for them, is no secret among members.
const KNOWN: &[&str] =
    &["copilot_internal.tenants", "copilot_internal.tenant_memberships", "copilot_internal.cost_quotas"];
/// Each user's own, also to owners and admins.
const PRIVATE: &str = "copilot_internal.user_preferences";
/// Sums over all users.
const TOTALS: &[&str] = &[
    "copilot_internal.period_rollups",
    "copilot_internal.total_rollups",
    "metrics.llm_costs",
    "metrics.e2b_costs",
    "metrics.llm_costs_daily",
    "metrics.e2b_costs_daily",
    "metrics.tenant_total_costs",
];
/// Where a user is not in a column `user_id`.
const ELSEWHERE: &[&str] =
    &["copilot_internal.quota_events", "copilot_internal.reservation_extensions", "metrics.quota_status"];

/// Everything that the users can leave a row in, under request ids that name the user; once for the rollups, once pending.
fn spend(database: &Database, users: &[Uuid]) -> Result<()> {
    let tenant = tenant_a().tenant;
    let mut client = database.superuser()?;
    for user in users {
        client.batch_execute(&format!(
            "select public.set_quota('user', '{user}', 'llm', 100, 'week', '{tenant}', p_event_thresholds => '{{0.0001}}')"
        ))?;
    }
    for round in [1, 2] {
        // Folds what the first round has left.
        client.batch_execute("select * from copilot_internal.maintain()")?;
        for user in users {
            client.batch_execute(&format!(
                "select public.record_llm_cost('{tenant}', 'own', 'm', 1, 1, '{user}', p_task => 'task',
                     p_cost_usd => 0.01, p_request_id => '{user}-{round}');
                 select public.record_e2b_cost('{tenant}', 's', 'box', 1, '{user}', p_cost_usd => 0.01,
                     p_request_id => '{user}-{round}');
                 select public.check_and_record_quota_atomic('user', '{user}', 0.01, 'llm', '{tenant}', '{user}-{round}');
                 select public.reserve_quota('{tenant}', 'llm', 0.01, '{user}-{round}', '{user}', '8 days');
                 select public.extend_reservation(id, '8 days', p_request_id => request_id)
                     from copilot_internal.quota_reservations where request_id = '{user}-{round}';
                 select public.refund_cost(id, 0.001, request_id)
                     from copilot_internal.llm_cost_records where request_id = '{user}-{round}';"
            ))?;
        }
    }
    Ok(())
}

/// Every row that the caller is shown, by relation.
fn shown(sessions: &mut Sessions, asker: &Asker, relations: &[Relation]) -> Result<BTreeMap<String, Vec<String>>> {
    let readable: Vec<&Relation> = relations.iter().filter(|relation| relation.readable_by(asker.kind)).collect();
    let queries: Vec<String> = readable.iter().map(|relation| relation.reading(asker.kind)).collect();
    let answers = sessions.ask(asker, &queries)?;
    readable
        .iter()
        .zip(answers)
        .map(|(relation, answer)| {
            let mut rows = answer.map_err(anyhow::Error::msg).with_context(|| relation.full())?;
            rows.sort_unstable();
            Ok((relation.full(), rows))
        })
        .collect()
}

/// The relations whose rows name one of the users, but those in which every member may find them.
fn naming(shown: &BTreeMap<String, Vec<String>>, users: &[Uuid]) -> Vec<String> {
    let names = |row: &String| users.iter().any(|user| row.contains(&user.to_string()));
    let is_secret = |relation: &str| !KNOWN.contains(&relation) && relation != PRIVATE;
    shown
        .iter()
        .filter(|(name, rows)| is_secret(name) && rows.iter().any(names))
        .map(|(name, _)| name.clone())
        .collect()
}

fn with_users(database: &Database) -> Result<Vec<String>> {
    let sql = "
        select format('%s.%s', n.nspname, c.relname) from pg_attribute a
        join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        where a.attname = 'user_id' and not a.attisdropped and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
          and (n.nspname = 'metrics' or n.nspname = 'copilot_internal' and c.relkind = 'r')";
    let mut found = texts(&mut database.superuser()?, sql, &[])?;
    found.retain(|name| !KNOWN.contains(&name.as_str()) && name != PRIVATE);
    found.extend(ELSEWHERE.iter().map(|name| name.to_string()));
    found.sort_unstable();
    Ok(found)
}

#[test]
fn a_plain_member_sees_nothing_that_a_colleague_does_or_spends() -> Result<()> {
    let database = Database::fresh()?;
    seed(&database)?;
    let a = tenant_a();
    let users = [a.owner, a.member];
    spend(&database, &users)?;
    let everywhere = with_users(&database)?;
    let relations = relations(&database)?;
    let (_pooler, mut sessions) = Door::Direct.open(&database)?;
    let asker = |label: &str| {
        all().into_iter().find(|asker| asker.label == label && asker.kind == Kind::MemberOfA).context("no such caller")
    };
    let (owner, admin, member, viewer) = (asker("owner")?, asker("admin")?, asker("member")?, asker("viewer")?);

    // Owners and admins find each of them everywhere, or the search proves nothing.
    let whole = shown(&mut sessions, &admin, &relations)?;
    for user in users {
        assert_eq!(naming(&whole, &[user]), everywhere, "{user}");
    }
    assert_eq!(naming(&shown(&mut sessions, &owner, &relations)?, &[a.member]), everywhere);

    let of_member = shown(&mut sessions, &member, &relations)?;
    assert_eq!(naming(&of_member, &[a.owner]), Vec::<String>::new(), "to a member");
    assert_eq!(naming(&of_member, &[a.member]), everywhere, "of their own");
    let of_viewer = shown(&mut sessions, &viewer, &relations)?;
    assert_eq!(naming(&of_viewer, &users), Vec::<String>::new(), "to a viewer");
    for total in TOTALS {
        assert!(!whole[*total].is_empty() && of_viewer[*total] == whole[*total], "{total}: {:#?}", of_viewer[*total]);
    }

    // Where the tenant shares it, a viewer is shown what an admin is.
    database.superuser()?.batch_execute(&format!(
        "update copilot_internal.tenants set settings = '{{\"share_details\": true}}' where id = '{}'",
        a.tenant
    ))?;
    assert_eq!(naming(&shown(&mut sessions, &viewer, &relations)?, &users), everywhere);
    Ok(())
}
