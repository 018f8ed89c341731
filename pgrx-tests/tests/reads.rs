//! What is read is what the ledger says: at any bounds, in every view, whatever was folded, corrected, erased or purged.

use tollgate_tests::support;

use anyhow::Result;
use postgres::Client;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use support::{Database, assert_verified, differences, id, make_tenant, texts};
use uuid::Uuid;

const TENANT: u128 = 0xa1;
const OTHER: u128 = 0xa2;
const BOB: u128 = 0xb0b;

/// Spans whose summary is not what the ledger comes to. Bounds are given as text, for a microsecond counts.
const WRONG_SPANS: &str = "
    select s.first || ' to ' || s.last
    from unnest($2::text[]::timestamptz[], $3::text[]::timestamptz[]) as s (first, last)
    cross join lateral public.get_tenant_cost_summary($1, s.first, s.last) g
    cross join lateral (
        select coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0) as llm,
               coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0) as e2b,
               coalesce(sum(l.cost_usd) filter (where l.source = 'charge'), 0) as other,
               coalesce(sum(l.records) filter (where l.source = 'llm'), 0) as requests,
               coalesce(sum(l.input_tokens), 0) as input, coalesce(sum(l.output_tokens), 0) as output,
               coalesce(sum(l.duration_seconds), 0) as seconds, count(*) filter (where l.cost_usd is null) as unpriced
        from copilot_internal.ledger_lines l
        where l.tenant_id = $1 and l.occurred_at >= s.first and l.occurred_at < s.last
    ) l
    where (g.llm_cost_usd, g.e2b_cost_usd, g.other_charges_usd, g.total_cost_usd, g.llm_request_count, g.input_tokens,
           g.output_tokens, g.e2b_duration_seconds, g.unpriced_count)
          is distinct from (l.llm, l.e2b, l.other, l.llm + l.e2b + l.other, l.requests, l.input, l.output, l.seconds,
                            l.unpriced)
       or exists (
          (select m ->> 'model_provider', m ->> 'model_name', (m ->> 'request_count')::numeric,
                  (m ->> 'cost_usd')::numeric, (m ->> 'input_tokens')::numeric
           from jsonb_array_elements(g.by_model) m)
          except
          (select l.provider, l.name, sum(l.records),
                  case when count(*) filter (where l.cost_usd is null) < sum(l.records) then sum(l.cost_usd) end,
                  sum(l.input_tokens)
           from copilot_internal.ledger_lines l
           where l.tenant_id = $1 and l.occurred_at >= s.first and l.occurred_at < s.last and l.source = 'llm'
           group by 1, 2))";

/// Each view, what it groups by, and which of the ledger it shows.
const VIEWS: [(&str, &str, &str); 7] = [
    ("metrics.llm_costs", "model_provider = l.provider and v.model_name = l.name", "l.source = 'llm'"),
    ("metrics.e2b_costs", "sandbox_type = l.name", "l.source = 'e2b'"),
    (
        "metrics.llm_costs_daily",
        "date = (l.occurred_at at time zone 'UTC')::date and v.model_provider = l.provider and v.model_name = l.name",
        "l.source = 'llm'",
    ),
    (
        "metrics.e2b_costs_daily",
        "date = (l.occurred_at at time zone 'UTC')::date and v.sandbox_type = l.name",
        "l.source = 'e2b'",
    ),
    ("metrics.cost_by_user", "user_id is not distinct from nullif(l.user_id, $1)", "true"),
    ("metrics.cost_by_conversation", "conversation_id = l.conversation_id", "l.conversation_id is not null"),
    ("metrics.tenant_total_costs", "total_cost is not null", "true"),
];

/// Rows of a view whose cost or whose count of what has no price is not the ledger's, or that the ledger knows nothing of.
fn wrong_rows(client: &mut Client, (view, same, which): (&str, &str, &str)) -> Result<Vec<String>> {
    let sql = format!(
        "select v::text || ' against ' || coalesce(l.cost::text, 'nothing')
         from {view} v
         cross join lateral (
             select sum(l.cost_usd) as cost, count(*) filter (where l.cost_usd is null) as unpriced, count(*) as number,
                    sum(l.records) as records
             from copilot_internal.ledger_lines l
             where l.tenant_id = coalesce(v.tenant_id, $1) and v.{same} and {which}
         ) l
         where coalesce(v.total_cost, 0) <> coalesce(l.cost, 0) and (v.total_cost is not null or l.unpriced < l.records)
            or v.unpriced_count <> l.unpriced or l.number = 0
         union all
         select 'the ledger has more than {view}'
         where (select sum(v.unpriced_count) from {view} v)
               is distinct from (select count(*) from copilot_internal.ledger_lines l where l.cost_usd is null and {which})
            or (select sum(v.total_cost) from {view} v)
               is distinct from (select sum(l.cost_usd) from copilot_internal.ledger_lines l where {which})
               -- What costs something by a correction alone is shown as without a price.
               and not exists (select from {view} v where v.total_cost is null)"
    );
    texts(client, &sql, &[&Uuid::nil()])
}

/// What nobody may find, in one snapshot.
fn wrong(client: &mut Client, moments: &[String], rng: &mut ChaCha8Rng) -> Result<Vec<String>> {
    client.batch_execute("begin isolation level repeatable read read only")?;
    let mut pairs: Vec<(String, String)> = (0..24)
        .map(|_| {
            let mut pick = || moments[rng.random_range(0..moments.len())].clone();
            let (one, two) = (pick(), pick());
            if one <= two { (one, two) } else { (two, one) }
        })
        .collect();
    pairs.push(("-infinity".to_string(), "infinity".to_string()));
    let (first, last): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    let mut found = Vec::new();
    for tenant in [TENANT, OTHER] {
        found.extend(texts(client, WRONG_SPANS, &[&id(tenant), &first, &last])?);
    }
    for view in VIEWS {
        found.extend(wrong_rows(client, view)?);
    }
    let paths = "select r::text from (
        (select l.tenant_id, l.conversation_id, l.path_id, sum(l.cost_usd), sum(l.record_count)
         from copilot_internal.conversation_lines l group by 1, 2, 3)
        except
        (select l.tenant_id, coalesce(l.conversation_id, $1), coalesce(l.path_id, $1), coalesce(sum(l.cost_usd), 0), sum(l.records)
         from copilot_internal.ledger_lines l where l.conversation_id is not null or l.path_id is not null
         group by 1, 2, 3)) r";
    found.extend(texts(client, paths, &[&Uuid::nil()])?);
    client.batch_execute("commit")?;
    Ok(found)
}

/// Moments about which rollups could be wrong: where hours, days, months and years meet, and any other.
fn moments(rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut found = Vec::new();
    for edge in [
        "2023-12-31 23:00",
        "2024-01-01 00:00",
        "2024-01-31 00:00",
        "2024-02-01 00:00",
        "2024-02-29 00:00",
        "2024-03-01 00:00",
        "2024-03-01 01:00",
    ] {
        found.push(format!("{edge}:00+00"));
        found.push(format!("{edge}:00.000001+00"));
        let before = edge
            .replace(" 00:00", " 23:59:59.999999")
            .replace(" 01:00", " 00:59:59.999999")
            .replace(" 23:00", " 22:59:59.999999");
        found.push(format!("{before}+00"));
    }
    for _ in 0..40 {
        let (month, day, hour) = (rng.random_range(1..4), rng.random_range(1..29), rng.random_range(0..24));
        let micros = rng.random_range(0..3_600_000_000_u64);
        let (minute, second, rest) = (micros / 60_000_000, micros / 1_000_000 % 60, micros % 1_000_000);
        found.push(format!("2024-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{rest:06}+00"));
    }
    found
}

/// A record of whatever kind, at one of the moments.
fn record(client: &mut Client, rng: &mut ChaCha8Rng, moments: &[String], number: usize) -> Result<()> {
    let tenant = id(if rng.random_range(0..4) == 0 { OTHER } else { TENANT });
    let user = [None, Some(id(BOB)), Some(id(0xc)), Some(id(0xd))][rng.random_range(0..4)];
    let conversation = [None, Some(id(0xe1)), Some(id(0xe2))][rng.random_range(0..3)];
    let path = [None, Some(id(0xf1)), Some(id(0xf2))][rng.random_range(0..3)];
    let at = &moments[rng.random_range(0..moments.len())];
    let cost = format!("0.{:012}", rng.random_range(0..1_000_000_000_000_u64));
    let cost = (rng.random_range(0..6) > 0).then_some(cost);
    let (kind, model, tokens) = (rng.random_range(0..10), rng.random_range(0..3), rng.random_range(0..1_000_i64));
    match kind {
        0 => {
            let amount = cost.unwrap_or("0.000000001".to_string());
            let sql = "select public.check_and_record_quota_atomic('tenant', $1, $2::text::numeric, 'llm', $1)";
            client.query(sql, &[&tenant, &amount])?;
        }
        1 | 2 => {
            let sql = "select public.record_e2b_cost($1, $2, 'box-' || $3::integer, 7.25, $4, $5, $6,
                p_cost_usd => $7::text::numeric, p_request_id => $8, p_occurred_at => $9::text::timestamptz)";
            let sandbox = format!("sandbox-{}", rng.random_range(0..6));
            client.query(
                sql,
                &[&tenant, &sandbox, &model, &user, &conversation, &path, &cost, &number.to_string(), at],
            )?;
        }
        _ => {
            let sql = "select public.record_llm_cost($1, 'p', 'm' || $2::integer, $3, 1, $4, $5, $6,
                p_cost_usd => $7::text::numeric, p_request_id => $8, p_occurred_at => $9::text::timestamptz)";
            client
                .query(sql, &[&tenant, &model, &tokens, &user, &conversation, &path, &cost, &number.to_string(), at])?;
        }
    }
    Ok(())
}

/// Takes back a quarter of a record that has a cost, at most three times: of three thirds the last may be too much by what
/// was rounded.
fn refund(client: &mut Client, number: usize) -> Result<()> {
    client.execute(
        "select public.refund_cost(r.record_id, r.cost_usd / 4, 'refund ' || $1::bigint)
         from (select l.record_id, l.cost_usd from copilot_internal.ledger_lines l
               where l.cost_usd > 0 and l.written_in in ('llm', 'e2b')
                 and (select count(*) from copilot_internal.cost_corrections c where c.record_id = l.record_id) < 3
               order by md5(l.record_id::text || $1::bigint) limit 1) r",
        &[&(number as i64)],
    )?;
    Ok(())
}

fn world() -> Result<(Database, Client)> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    for tenant in [TENANT, OTHER] {
        make_tenant(&mut client, id(tenant))?;
    }
    Ok((database, client))
}

#[test]
fn what_is_read_is_what_the_ledger_says() -> Result<()> {
    let (_database, mut client) = world()?;
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let moments = moments(&mut rng);
    let mut number = 0;
    for round in 0..8 {
        for _ in 0..40 {
            number += 1;
            record(&mut client, &mut rng, &moments, number)?;
            if number % 7 == 0 {
                refund(&mut client, number)?;
            }
        }
        assert_eq!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new(), "round {round}, before the fold");
        let some = rng.random_range(1..60);
        client.execute("select copilot_internal.fold($1, $2)", &[&id(TENANT), &some])?;
        if round % 2 == 1 {
            client.execute("select copilot_internal.maintain()", &[])?;
        }
        assert_eq!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new(), "round {round}, after the fold");
        assert_verified(&mut client);
        if round == 4 {
            // An unpriced record gets its price, and a person goes.
            client.batch_execute(
                "insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd,
                     output_per_million_usd, effective_from) values ('p', 'm1', 3, 7, '2020-01-01');
                 select copilot_internal.reprice('2023-01-01', '2025-01-01', false)",
            )?;
            while !client.query_one("select finished from public.erase_user($1)", &[&id(BOB)])?.get::<_, bool>(0) {}
            assert_eq!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new(), "after the erasure");
            assert_verified(&mut client);
        }
    }
    // What a tenant that is purged has spent stays with the platform, hour by hour.
    client.execute("update copilot_internal.tenants set deleted_at = now() where id = $1", &[&id(OTHER)])?;
    while !client.query_one("select finished from public.purge_tenant($1)", &[&id(OTHER)])?.get::<_, bool>(0) {}
    assert_eq!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new(), "after the purge");
    assert_verified(&mut client);
    Ok(())
}

/// A table of rollups, which of its rows, the column that is changed, and what verify() calls it.
const GRAINS: [(&str, &str, &str, &str); 10] = [
    ("quota_rollups", "grain = 'quarter'", "nanos", "quota charges by quarter (nano USD)"),
    ("quota_rollups", "grain = 'day'", "nanos", "quota charges by day (nano USD)"),
    ("quota_rollups", "grain = 'month'", "nanos", "quota charges by month (nano USD)"),
    ("cost_rollups", "true", "cost_usd", "costs by day (USD)"),
    ("period_rollups", "grain = 'hour'", "cost_usd", "costs by tenant and hour (USD)"),
    ("period_rollups", "grain = 'day'", "cost_usd", "costs by tenant and day (USD)"),
    ("period_rollups", "grain = 'month'", "cost_usd", "costs by tenant and month (USD)"),
    ("total_rollups", "true", "cost_usd", "costs by tenant (USD)"),
    ("user_rollups", "true", "cost_usd", "costs by user (USD)"),
    (
        "conversation_rollups",
        "path_id <> '00000000-0000-0000-0000-000000000000'",
        "cost_usd",
        "costs by conversation (USD)",
    ),
];

#[test]
fn verify_names_a_wrong_row_of_each_grain_and_readers_see_it() -> Result<()> {
    let (_database, mut client) = world()?;
    let mut rng = ChaCha8Rng::seed_from_u64(14);
    let moments = moments(&mut rng);
    for number in 0..60 {
        record(&mut client, &mut rng, &moments, number)?;
    }
    client.execute("select copilot_internal.maintain()", &[])?;
    assert_eq!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new());
    for (table, which, column, name) in GRAINS {
        let change = format!(
            "update copilot_internal.{table} set {column} = {column} + 1 where {which} and tenant_id = '{}'",
            id(TENANT)
        );
        client.batch_execute(&change)?;
        let mut found = differences(&mut client)?;
        found.retain(|line| line.contains(" by "));
        assert!(!found.is_empty() && found.iter().all(|line| line.contains(name)), "{table} where {which}: {found:?}");
        // The grain by user and day is read by nobody, and those of quotas by the kernels and quota_status.
        if !["quota_rollups", "cost_rollups"].contains(&table) {
            assert_ne!(wrong(&mut client, &moments, &mut rng)?, Vec::<String>::new(), "{table} where {which}");
        }
        client.batch_execute(&change.replace("+ 1", "- 1"))?;
    }
    assert_verified(&mut client);
    Ok(())
}

/// A month of many days and users is a row of each model.
#[test]
fn a_summary_reads_no_more_rows_for_more_days_and_users() -> Result<()> {
    let (_database, mut client) = world()?;
    client.execute(
        "with written as (
             insert into copilot_internal.llm_cost_records (tenant_id, user_id, model_provider, model_name, input_tokens,
                 output_tokens, cost_usd, cost_status, charge_nanos, charged_at, occurred_at)
             select $1, md5((n % 50)::text)::uuid, 'p', 'm' || n % 4, n, 1, 0.001, 'provided', 1000000, m.at, m.at
             from generate_series(1, 4000) n
             cross join lateral (select timestamptz '2024-03-01 00:00Z' + n * interval '11 minutes' as at) m
             returning *)
         insert into copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         select tenant_id, id, 'llm', user_id, 'llm', charged_at, charge_nanos from written",
        &[&id(TENANT)],
    )?;
    client.execute("select copilot_internal.maintain()", &[])?;
    client.batch_execute("vacuum copilot_internal.pending_costs")?;
    // Between the middle of one hour and that of another: 4 models in 2 x 23 hours and 28 days, and 2 parts of an hour.
    for (first, last, most) in
        [("2024-03-01 00:00Z", "2024-04-01 00:00Z", 20), ("2024-03-01 00:31:07.5Z", "2024-03-30 23:12Z", 320)]
    {
        let explain = format!(
            "explain (analyze, costs off, timing off, summary off)
             select * from copilot_internal.cost_summary('{}', '{first}', '{last}')",
            id(TENANT)
        );
        let plan = texts(&mut client, &explain, &[])?;
        let rows =
            plan.iter().filter_map(|line| line.split("actual rows=").nth(1)?.split(' ').next()?.parse::<i64>().ok());
        let rows = rows.max().unwrap_or(i64::MAX);
        assert!((4..=most).contains(&rows), "{first} to {last}: {rows} rows\n{}", plan.join("\n"));
    }
    Ok(())
}
