-- Days of another zone, models, views and the ledger add up, a refund among them, before and after folding.
-- BerriAI/litellm#29568 (single days summed up to twice the range), #22176, #32581 (by model too much).
\set tenant a0000000-0000-4000-8000-000000000001
set timezone = 'UTC';
set role service_role;
-- Each hour of three days, 29:59.999999 past it, at 0.10 USD and a cent for each hour of the day: 3 × (2.40 + 2.76), less 0.05.
select count(*) from generate_series('2026-05-29 00:00Z'::timestamptz, '2026-05-31 23:00Z', '1 hour') h, lateral record_llm_cost(
    :'tenant', 'acme', 'm' || extract(hour from h)::int % 2, 10, 5, p_cost_usd => 0.1 + extract(hour from h)::numeric / 100,
    p_occurred_at => h + interval '29 minutes 59.999999 seconds');
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records
    where tenant_id = :'tenant' and occurred_at = '2026-05-29 03:29:59.999999Z'), 0.05, 'refund');
create temp view sums as
    select days.cost as days, days.requests, whole.total_cost_usd as range, (select sum((m ->> 'cost_usd')::numeric) from jsonb_array_elements(whole.by_model) m) as models,
           (select sum(total_cost) from metrics.llm_costs_daily) as daily, (select sum(total_cost) from metrics.llm_costs) as by_model,
           (select total_cost from metrics.tenant_total_costs) as total
    from (select sum(total_cost_usd) as cost, sum(llm_request_count) as requests from generate_series(date '2026-05-28', date '2026-06-01', '1 day') d,
              lateral get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', d::timestamp at time zone 'Asia/Kolkata',
                  (d + interval '1 day')::timestamp at time zone 'Asia/Kolkata')) days,
         get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', '2026-05-28 00:00+05:30', '2026-06-02 00:00+05:30') whole;
table sums;
select task from copilot_internal.maintain() where task = 'fold' and done > 0;
table sums;
-- Half-open to the microsecond.
select a.total_cost_usd as at, b.total_cost_usd as before
from get_tenant_cost_summary(:'tenant', '2026-05-29 03:29:59.999999Z', '2026-05-29 03:30Z') a,
     get_tenant_cost_summary(:'tenant', '2026-05-29 03:29:59.999998Z', '2026-05-29 03:29:59.999999Z') b;
