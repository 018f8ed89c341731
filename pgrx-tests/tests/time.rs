//! Periods, days and moments: what counts when, by which calendar, folded or not.

use tollgate_tests::support;

use anyhow::Result;
use postgres::Client;
use support::{Database, assert_verified, id, make_tenant, text, texts};
use uuid::Uuid;

fn prepared() -> Result<(Client, Uuid)> {
    let mut client = Database::fresh()?.superuser()?;
    make_tenant(&mut client, id(1))?;
    Ok((client, id(1)))
}

fn charge_at(client: &mut Client, tenant: Uuid, moment: &str, usd: &str) -> Result<()> {
    let sql = "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::text::numeric, p_occurred_at => $3::text::timestamptz)";
    client.execute(sql, &[&tenant, &usd, &moment])?;
    Ok(())
}

#[test]
fn a_local_day_lasts_23_or_25_hours_when_the_clocks_change() -> Result<()> {
    let (mut client, _) = prepared()?;
    for (zone, moment, expected) in [
        ("Europe/Berlin", "2026-03-29 12:00Z", "2026-03-28 23:00 2026-03-29 22:00 23 h"),
        ("Europe/Berlin", "2026-10-25 12:00Z", "2026-10-24 22:00 2026-10-25 23:00 25 h"),
        ("Europe/Berlin", "2026-07-01 21:59:59Z", "2026-06-30 22:00 2026-07-01 22:00 24 h"),
        ("America/New_York", "2026-03-08 12:00Z", "2026-03-08 05:00 2026-03-09 04:00 23 h"),
        ("America/New_York", "2026-11-01 12:00Z", "2026-11-01 04:00 2026-11-02 05:00 25 h"),
        ("Asia/Kathmandu", "2026-01-01 18:15Z", "2026-01-01 18:15 2026-01-02 18:15 24 h"),
        ("UTC", "2026-03-29 00:00Z", "2026-03-29 00:00 2026-03-30 00:00 24 h"),
    ] {
        let sql = "
            select to_char(period_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' '
                || to_char(period_end at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' ' || (extract(epoch from period_end - period_start)::integer / 3600)::text || ' h'
            from copilot_internal.period_bounds('day', $1, $2::text::timestamptz)";
        assert_eq!(text(&mut client, sql, &[&zone, &moment])?, expected, "{zone} {moment}");
    }
    Ok(())
}

/// Against Postgres' own calendar, hour by hour over the days on which clocks change and the turn of a year.
#[test]
fn periods_agree_with_date_trunc_in_each_zone() -> Result<()> {
    let (mut client, _) = prepared()?;
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"];
    for zone in zones {
        let sql = "
            select format('%s %s: %s..%s', p.period, m.moment, b.period_start, b.period_end)
            from unnest(array['day', 'week', 'month', 'year']) as p (period)
            cross join (select generate_series(d::timestamptz, d::timestamptz + interval '60 hours', interval '1 hour')
                        from unnest(array['2026-03-07', '2026-03-28', '2026-04-04', '2026-10-03', '2026-10-24',
                                          '2026-10-31', '2025-12-30', '2024-02-28', '2011-12-29']) as d) as m (moment)
            cross join lateral copilot_internal.period_bounds(p.period, $1, m.moment) b
            where b.period_start is distinct from date_trunc(p.period, m.moment, $1)
               or b.period_end is distinct from
                  ((date_trunc(p.period, m.moment at time zone $1) + ('1 ' || p.period)::interval) at time zone $1)
               or not (b.period_start <= m.moment and m.moment < b.period_end)";
        assert_eq!(texts(&mut client, sql, &[&zone])?, Vec::<String>::new(), "{zone}");
    }
    // Hours are not local: the hour that comes twice is two hours.
    let hours = "
        select (period_end - period_start)::text from generate_series('2026-10-25 00:30Z'::timestamptz, '2026-10-25 02:30Z', '1 hour') m
        cross join lateral copilot_internal.period_bounds('hour', 'Europe/Berlin', m) b";
    assert_eq!(texts(&mut client, hours, &[])?, ["01:00:00"; 3]);
    let lifetime =
        "select coalesce(period_start::text, 'null') from copilot_internal.period_bounds('lifetime', 'UTC', now())";
    assert_eq!(text(&mut client, lifetime, &[])?, "null");
    Ok(())
}

/// What a quota of a zone has counted now, in USD.
fn spent(client: &mut Client, tenant: Uuid, period: &str) -> Result<String> {
    let sql = "select current_spend_usd::text from metrics.quota_status
               where tenant_id = $1 and period = $2 and scope = 'tenant' and resource_type = 'llm'";
    text(client, sql, &[&tenant, &period])
}

/// A second before and a second after the local midnight that began today, wherever that is in UTC.
#[test]
fn a_charge_counts_in_the_local_day_in_which_it_happened() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"];
    for (number, zone) in (1..).zip(zones) {
        let tenant = id(number);
        make_tenant(&mut client, tenant)?;
        client.execute("select public.set_quota('tenant', $1, 'llm', 50, 'day', null, $2)", &[&tenant, &zone])?;
        let midnight = text(&mut client, "select date_trunc('day', now(), $1)::text", &[&zone])?;
        for (offset, usd) in [("-1 microsecond", "1"), ("0", "2"), ("1 microsecond", "4")] {
            let moment =
                text(&mut client, "select ($1::text::timestamptz + $2::text::interval)::text", &[&midnight, &offset])?;
            charge_at(&mut client, tenant, &moment, usd)?;
        }
        for state in ["pending", "folded"] {
            assert_eq!(spent(&mut client, tenant, "day")?, "6", "{zone}, {state}");
            let sql = "select current_spend_usd::text from public.check_quota_before_operation($1, 'llm', 1)";
            assert_eq!(text(&mut client, sql, &[&tenant])?, "6", "{zone}, {state}");
            client.batch_execute("select copilot_internal.maintain()")?;
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// `now()` is when the transaction began, which may be last month. The moment of a charge is its own.
#[test]
fn a_long_transaction_charges_the_present_not_its_beginning() -> Result<()> {
    let (mut client, tenant) = prepared()?;
    client.batch_execute("begin; select now()")?;
    client.batch_execute("select pg_sleep(1.1)")?;
    for call in [
        "public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_enforce => true)",
        "public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)",
        "public.record_e2b_cost($1, 's', 'standard', 1)",
        "public.check_and_record_quota_atomic('tenant', $1, 1)",
    ] {
        client.execute(&format!("select {call}"), &[&tenant])?;
    }
    let sql = "
        select bool_and(at - now() > interval '1 second')
        from (select charged_at as at from copilot_internal.ledger_lines union all select occurred_at from copilot_internal.ledger_lines
              union all select recorded_at from copilot_internal.llm_cost_records) m";
    assert!(client.query_one(sql, &[])?.get::<_, bool>(0));
    // The period that a check tells is that of the clock, too: an hour that began before the transaction may be over.
    // The answer lies between what the clock says before the call and after it.
    let clock = "select extract(epoch from clock_timestamp())::float8";
    let before: f64 = client.query_one(clock, &[])?.get(0);
    let sql = "select retry_after_seconds::float8, extract(epoch from period_end)::float8
               from public.check_quota_before_operation($1, 'llm', 1000)";
    let row = client.query_one(sql, &[&tenant])?;
    let (told, end): (f64, f64) = (row.get(0), row.get(1));
    let after: f64 = client.query_one(clock, &[])?.get(0);
    assert!(
        told >= end - after - 1.0 && told <= end - before + 1.0,
        "{told}, and {} to {} left",
        end - after,
        end - before
    );
    client.batch_execute("commit")?;
    Ok(())
}

/// Quotas made after the spending, of each scope and resource, folded or not.
#[test]
fn a_quota_made_in_mid_period_counts_what_was_spent_before_it() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let (tenant, other, user) = (id(1), id(2), id(0xf1));
    make_tenant(&mut client, tenant)?;
    make_tenant(&mut client, other)?;
    for folded in [false, true] {
        client.batch_execute(&format!(
            "select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 1, p_user_id => '{user}');
             select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 2);
             select public.record_e2b_cost('{tenant}', 's', 't', 1, p_cost_usd => 4, p_user_id => '{user}');
             select public.check_and_record_quota_atomic('tenant', '{tenant}', 8);
             select public.record_llm_cost('{other}', 'p', 'm', 1, 1, p_cost_usd => 16, p_user_id => '{user}');
             select public.check_and_record_quota_atomic('platform', null, 32)"
        ))?;
        if folded {
            client.batch_execute("select copilot_internal.maintain()")?;
        }
        let times = if folded { 2 } else { 1 };
        let mut tells = |scope: &str, scope_id: Option<Uuid>, resource: &str, expected: i32| -> Result<()> {
            let owner = (scope == "user").then_some(tenant);
            let sql = "select public.set_quota($1, $2, $3, 1000, 'lifetime', $4)";
            client.execute(sql, &[&scope, &scope_id, &resource, &owner])?;
            let sql = "select current_spend_usd::text from metrics.quota_status
                       where scope = $1 and scope_id is not distinct from $2 and resource_type = $3 and period = 'lifetime'";
            let shown = text(&mut client, sql, &[&scope, &scope_id, &resource])?;
            assert_eq!(shown, (times * expected).to_string(), "{scope} {resource}, folded: {folded}");
            client.batch_execute("delete from copilot_internal.cost_quotas where limit_usd = 1000")?;
            Ok(())
        };
        tells("tenant", Some(tenant), "llm", 1 + 2 + 8)?;
        tells("tenant", Some(tenant), "e2b", 4)?;
        tells("tenant", Some(tenant), "all", 1 + 2 + 4 + 8)?;
        tells("user", Some(user), "llm", 1)?;
        tells("user", Some(user), "all", 1 + 4)?;
        tells("platform", None, "llm", 1 + 2 + 8 + 16 + 32)?;
        tells("platform", None, "all", 1 + 2 + 4 + 8 + 16 + 32)?;
    }
    assert_verified(&mut client);
    Ok(())
}

/// Charges over two years, then every quota that can be made. No figure moves when pending rows are folded, in part or
/// in whole, and each is the sum of the ledger over the period.
#[test]
fn folding_changes_no_figure() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let (tenant, user) = (id(1), id(0xf1));
    make_tenant(&mut client, tenant)?;
    client.batch_execute(&format!(
        "select setseed(0.25);
         select public.record_llm_cost('{tenant}', 'p', 'm' || i % 3, i, 1, p_cost_usd => (random() * 1e9)::bigint / 1e12,
             p_user_id => case when i % 2 = 0 then '{user}'::uuid end,
             p_occurred_at => clock_timestamp() - case when i % 4 = 0 then random() * interval '3 hours'
                 when i % 4 = 1 then random() * interval '10 days' else random() * interval '730 days' end)
         from generate_series(1, 400) i;
         select public.record_e2b_cost('{tenant}', 's', 'standard', i, p_occurred_at => clock_timestamp() - i * interval '7 days')
         from generate_series(1, 50) i;"
    ))?;
    for period in ["hour", "day", "week", "month", "year", "lifetime"] {
        client.batch_execute(&format!(
            "select public.set_quota('tenant', '{tenant}', 'llm', 10, '{period}', null, 'Europe/Berlin');
             select public.set_quota('tenant', '{tenant}', 'all', 10, '{period}', null, 'Asia/Kathmandu');
             select public.set_quota('user', '{user}', 'llm', 10, '{period}', '{tenant}', 'America/New_York');
             select public.set_quota('platform', null, 'all', 10, '{period}')"
        ))?;
    }
    // Straight from the ledger, without a rollup.
    let wrong = "
        select format('%s %s %s: %s, ledger %s', s.scope, s.resource_type, s.period, s.current_spend_usd, l.usd)
        from metrics.quota_status s
        cross join lateral (
            select trim_scale(coalesce(sum(l.charge_nanos), 0) * 0.000000001) as usd from copilot_internal.ledger_lines l
            where (s.resource_type = 'all' or l.resource_type = s.resource_type) and (s.scope <> 'user' or l.user_id = s.scope_id)
              and (s.period_start is null or l.charged_at >= s.period_start) and (s.period_end is null or l.charged_at < s.period_end)
        ) l
        where s.current_spend_usd <> l.usd";
    let shown = "select string_agg(to_jsonb(v)::text, E'\\n' order by to_jsonb(v)::text) from
        (select 'q' as of, to_jsonb(q) - 'period_start' - 'period_end' as row from metrics.quota_status q
           where period not in ('hour', 'day')
         union all select 't', to_jsonb(t) from metrics.tenant_total_costs t
         union all select 'u', to_jsonb(u) from metrics.cost_by_user u
         union all select 'd', to_jsonb(d) from metrics.llm_costs_daily d
         union all select 'e', to_jsonb(e) from metrics.e2b_costs_daily e
         union all select 'l', to_jsonb(l) from metrics.llm_costs l) v";
    let before = text(&mut client, shown, &[])?;
    for step in [0, 37, 100, 10_000] {
        if step > 0 {
            client.batch_execute(&format!("select copilot_internal.maintain({step})"))?;
        }
        assert_eq!(texts(&mut client, wrong, &[])?, Vec::<String>::new(), "after maintain({step})");
        assert_eq!(text(&mut client, shown, &[])?, before, "after maintain({step})");
        // The kernel's own sums, which admission rests on, against the same ledger.
        let told = "select current_spend_usd::text from public.check_quota_before_operation($1, 'llm', 1000, $2)";
        let told = text(&mut client, told, &[&tenant, &user])?;
        let year = "select trim_scale(sum(charge_nanos) * 0.000000001)::text from copilot_internal.ledger_lines where user_id = $1 and resource_type = 'llm'";
        assert_eq!(told, text(&mut client, year, &[&user])?, "after maintain({step})");
        assert_verified(&mut client);
    }
    Ok(())
}

/// Bounds that cut through days and quarters of an hour, against a direct sum.
#[test]
fn a_summary_between_any_two_moments_is_the_sum_of_the_ledger() -> Result<()> {
    let (mut client, tenant) = prepared()?;
    // Printed when the test fails; a constant, so that a failure comes again.
    println!("seed 0.5");
    client.batch_execute(&format!(
        "select setseed(0.5);
         select public.record_llm_cost('{tenant}', 'p', 'm' || i % 3, i, i, p_occurred_at => '2026-01-01'::timestamptz + random() * interval '60 days',
             p_cost_usd => case when i % 7 > 0 then (random() * 1e6)::bigint / 1e9 end) from generate_series(1, 200) i;
         select public.record_e2b_cost('{tenant}', 's', 'standard', i, p_occurred_at => '2026-01-01'::timestamptz + random() * interval '60 days')
         from generate_series(1, 60) i;
         select public.check_and_record_quota_atomic('tenant', '{tenant}', 0.25) from generate_series(1, 3)"
    ))?;
    let pairs = client.query(
        "select least(a, b)::text, greatest(a, b)::text
         from (select '2025-12-25'::timestamptz + random() * interval '80 days' as a, '2025-12-25'::timestamptz + random() * interval '80 days' as b
               from generate_series(1, 25)) r
         union all values ('2026-01-10 00:00Z', '2026-01-20 00:00Z'), ('2026-01-10 00:00Z', '2026-01-10 00:00Z'),
             ('2026-01-10 08:00Z', '2026-01-10 08:00:01Z'), ('2026-01-10 08:00Z', '2026-01-11 07:00Z'),
             ('2026-01-10 23:59:59.999999Z', '2026-01-11 00:00:00.000001Z'), ('2000-01-01', '2100-01-01')",
        &[],
    )?;
    let sql = "
        select format('summary %s, ledger %s', s, l)
        from (select llm_cost_usd, e2b_cost_usd, other_charges_usd, total_cost_usd, llm_request_count, e2b_session_count, input_tokens,
                     output_tokens, e2b_duration_seconds, unpriced_count,
                     (select sum((m ->> 'request_count')::bigint) from jsonb_array_elements(by_model) m) as of_models,
                     (select sum((m ->> 'duration_seconds')::numeric) from jsonb_array_elements(by_sandbox_type) m) as of_sandboxes
              from public.get_tenant_cost_summary($1, $2::text::timestamptz, $3::text::timestamptz)) s,
             (select coalesce(sum(cost_usd) filter (where source = 'llm'), 0), coalesce(sum(cost_usd) filter (where source = 'e2b'), 0),
                     coalesce(sum(cost_usd) filter (where source = 'charge'), 0), coalesce(sum(cost_usd), 0),
                     count(*) filter (where source = 'llm'),
                     (select count(distinct coalesce(r.sandbox_id, r.id::text)) from copilot_internal.e2b_cost_records r
                      where r.tenant_id = $1 and r.occurred_at >= $2::text::timestamptz and r.occurred_at < $3::text::timestamptz),
                     coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint,
                     coalesce(sum(duration_seconds), 0), count(*) filter (where cost_usd is null),
                     nullif(count(*) filter (where source = 'llm'), 0), sum(duration_seconds) filter (where source = 'e2b')
              from copilot_internal.ledger_lines
              where tenant_id = $1 and occurred_at >= $2::text::timestamptz and occurred_at < $3::text::timestamptz) l
        where row (s.*) is distinct from row (l.*)";
    for step in [0, 50, 10_000] {
        if step > 0 {
            client.batch_execute(&format!("select copilot_internal.maintain({step})"))?;
        }
        for pair in &pairs {
            let (from, to): (String, String) = (pair.get(0), pair.get(1));
            assert_eq!(
                texts(&mut client, sql, &[&tenant, &from, &to])?,
                Vec::<String>::new(),
                "{from}..{to} after maintain({step})"
            );
        }
    }
    // By default the present month of UTC, whatever the session's zone.
    client.batch_execute("set timezone = 'Pacific/Kiritimati'")?;
    let month = "select period_start = date_trunc('month', clock_timestamp(), 'UTC')
                    and period_end = (date_trunc('month', clock_timestamp() at time zone 'UTC') + interval '1 month') at time zone 'UTC'
                    and other_charges_usd = 0.75
                 from public.get_tenant_cost_summary($1)";
    assert!(client.query_one(month, &[&tenant])?.get::<_, bool>(0));
    Ok(())
}

/// A session's zone decides nothing.
#[test]
fn daily_views_go_by_the_utc_day_of_what_occurred() -> Result<()> {
    let (mut client, tenant) = prepared()?;
    client.batch_execute("set timezone = 'America/New_York'")?;
    for (moment, usd) in [("2026-05-01 23:59:59.999999Z", "1"), ("2026-05-02 00:00Z", "2"), ("2026-05-02 23:59Z", "4")]
    {
        charge_at(&mut client, tenant, moment, usd)?;
        let sql = "select public.record_e2b_cost($1, 's', 't', 1, p_cost_usd => $2::text::numeric, p_occurred_at => $3::text::timestamptz)";
        client.execute(sql, &[&tenant, &usd, &moment])?;
    }
    for state in ["pending", "folded"] {
        for view in ["llm_costs_daily", "e2b_costs_daily"] {
            let sql = format!("select date || ' ' || total_cost from metrics.{view} where tenant_id = $1 order by 1");
            assert_eq!(texts(&mut client, &sql, &[&tenant])?, ["2026-05-01 1", "2026-05-02 6"], "{view}, {state}");
        }
        client.batch_execute("set timezone = 'Pacific/Kiritimati'; select copilot_internal.maintain()")?;
    }
    assert_verified(&mut client);
    Ok(())
}
