-- A threshold is told of again under a higher limit that had put it out of reach, and in another period. A lowered limit
-- tells of what is reached now and was not told of.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
create temp view told as
    select event_type as type, threshold, trim_scale(limit_nanos / 1e9) as limit, trim_scale(spent_nanos / 1e9) as spent
    from copilot_internal.quota_events where event_type <> 'limit_changed' order by created_at, threshold, id;
select set_quota('tenant', :'tenant', 'llm', 100, 'lifetime') is not null as made;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 85);
table told;
-- 80 percent of 104 are less than was spent when it was told of.
select set_quota('tenant', :'tenant', 'llm', 104, 'lifetime') is not null as made;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 1);
table told;
-- Of 200 they are more.
select set_quota('tenant', :'tenant', 'llm', 200, 'lifetime') is not null as made;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 73);
table told;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 1);
table told;
-- Lowered: above it at once, with the next charge.
select set_quota('tenant', :'tenant', 'llm', 150, 'lifetime') is not null as made;
table told;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 1);
table told;
-- And up again to where it was: nothing is new until 200 are reached.
select set_quota('tenant', :'tenant', 'llm', 200, 'lifetime') is not null as made;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 39);
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 1);
table told;

-- Each period anew: a charge belongs to the period in which it happened.
\set other a0000000-0000-4000-8000-000000000002
select set_quota('tenant', :'other', 'llm', 1, 'month') is not null as made;
select count(*) from (values ('2026-01-15'), ('2026-01-16'), ('2026-02-15'), ('2026-01-17')) v (at),
    lateral record_llm_cost(:'other', 'p', 'm', 1, 1, p_cost_usd => 0.5, p_occurred_at => v.at::timestamptz);
select event_type, threshold, (period_start at time zone 'UTC')::date as period_start, (period_end at time zone 'UTC')::date as period_end,
       trim_scale(spent_nanos / 1e9) as spent
from copilot_internal.quota_events where tenant_id = :'other' order by created_at, threshold;
select count(*) from record_llm_cost(:'other', 'p', 'm', 1, 1, p_cost_usd => 0.5, p_occurred_at => '2026-02-16');
select count(*) from copilot_internal.quota_events where tenant_id = :'other' and period_start = '2026-02-01Z';
