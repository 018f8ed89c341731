-- A cost is kept to 1e-12 USD, rounded once, half to even. What quotas count is that cost rounded up to 1e-9 USD.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;

-- Three provided costs of 1e-12 USD count as one nano-dollar each.
select cost_usd, remaining_usd
from generate_series(1, 3) n,
     lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_cost_usd => 0.000000000001, p_task => n::text);
select sum(cost_usd) as cost_usd, sum(charge_nanos) as charged_nanos from copilot_internal.llm_cost_records;

-- Half to even at 1e-12: 0.5e-12 and 1.5e-12 lie between two neighbours and go to the even one, 0 and 2e-12;
-- 0.6e-12 goes up.
select p.cost as given, r.cost_usd
from (values (0.0000000000005), (0.0000000000015), (0.0000000000006)) as p (cost),
     lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_cost_usd => p.cost) r
order by p.cost;

-- 0.000000001001 is 1.001 nano-dollars and counts as 2; an exact nano-dollar counts as 1.
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001001);
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);
select cost_usd, charge_nanos from copilot_internal.quota_charges order by cost_usd;

-- In sum: 3 × 1 for the first three, 0 + 1 + 1 for the next (0, 2e-12 and 1e-12 USD), 2 + 1 for the charges: 8.
select current_spend_usd from check_quota_before_operation(:'tenant', 'llm', 0);

-- Less than nothing is refused before it could be rounded to nothing.
select * from check_and_record_quota_atomic('tenant', :'tenant', -1e-30);
