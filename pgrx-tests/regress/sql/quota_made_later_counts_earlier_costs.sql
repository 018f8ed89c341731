-- A charge belongs to a tenant, a user, a resource and a moment, never to a quota: one that is made in mid-period counts
-- what its period has cost, exactly, rolled up or not.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set role service_role;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 0.3);
select task from copilot_internal.maintain() where task = 'fold';
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 0.2);
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.1);
-- Long ago: of a year's quota it is none, of a lifetime's it is.
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 7, p_occurred_at => '2001-01-01Z');

-- 0.3 + 0.2 for the user, 0.1 more for the tenant, 7 more in a lifetime.
select set_quota('user', :'user', 'llm', 0.6, 'year', :'tenant') is not null as made;
select set_quota('tenant', :'tenant', 'all', 0.65, 'year') is not null as made;
select set_quota('platform', null, 'all', null, 'lifetime') is not null as made;
select scope, limit_usd, current_spend_usd, remaining_usd, status from metrics.quota_status order by scope;
select allowed, blocked_scope from check_quota_before_operation(:'tenant', 'llm', 0.05, :'user');
select allowed, blocked_scope from check_quota_before_operation(:'tenant', 'llm', 0.06, :'user');
select allowed, blocked_scope from check_quota_before_operation(:'tenant', 'llm', 0.11, :'user');

-- Below what was spent already a limit refuses everything that costs, until it is raised.
select set_quota('tenant', :'tenant', 'all', 0.5, 'year') is not null as made;
select allowed, current_spend_usd, remaining_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);
select allowed, current_spend_usd, remaining_usd, status from check_and_record_quota_atomic('tenant', :'tenant', 0);
select set_quota('tenant', :'tenant', 'all', 0.6, 'year') is not null as made;
select allowed, current_spend_usd, remaining_usd from check_and_record_quota_atomic('tenant', :'tenant', 0);
