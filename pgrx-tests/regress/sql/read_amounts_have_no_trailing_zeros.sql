-- Amounts, shares and seconds are told in as many decimals as they need, however they were written.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
\set conversation c0000000-0000-4000-8000-000000000001
set role service_role;
-- What a row says with a zero too many: none of the following may say anything.
create temp view answers (what, answer) as
    select 'llm_costs', to_jsonb(v) from metrics.llm_costs v
    union all select 'e2b_costs', to_jsonb(v) from metrics.e2b_costs v
    union all select 'llm_costs_daily', to_jsonb(v) from metrics.llm_costs_daily v
    union all select 'e2b_costs_daily', to_jsonb(v) from metrics.e2b_costs_daily v
    union all select 'cost_by_user', to_jsonb(v) from metrics.cost_by_user v
    union all select 'cost_by_conversation', to_jsonb(v) from metrics.cost_by_conversation v
    union all select 'tenant_total_costs', to_jsonb(v) from metrics.tenant_total_costs v
    union all select 'quota_status', to_jsonb(v) from metrics.quota_status v
    union all select 'cost_estimates', to_jsonb(v) from metrics.cost_estimates v
    union all select 'summary', to_jsonb(s)
        from get_tenant_cost_summary('a0000000-0000-4000-8000-000000000001', '-infinity', 'infinity') s
    union all select 'check', to_jsonb(c)
        from check_quota_before_operation('a0000000-0000-4000-8000-000000000001', 'llm', 0.10, 'b0000000-0000-4000-8000-000000000001') c
    union all select 'events', e.payload from copilot_internal.quota_events e
    union all select 'estimate', to_jsonb(get_llm_cost_estimate('acme', 'one', 'chat'))
    union all select 'session estimate', to_jsonb(get_e2b_cost_estimate('standard'));
create temp view zeros as
    select what, answer from answers where answer::text ~ '[0-9]\.[0-9]*0([^0-9]|$)' order by 1, 2;
select set_quota('tenant', :'tenant', 'llm', 10.00) is not null as is_set;
select set_quota('tenant', :'tenant', 'llm', 20.00) is not null as is_set;
select set_quota('user', :'user', 'all', 5.50, p_tenant_id => :'tenant') is not null as is_set;
select set_quota('tenant', :'tenant', 'e2b', 0.00) is not null as is_set;
select raise_quota(q.quota_id, 1.50, 'tomorrow') is not null as raised from metrics.quota_status q where q.resource_type = 'all' and q.scope = 'user';
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('acme', 'one', 0.0500);
insert into copilot_internal.e2b_cost_estimates (sandbox_type, estimated_cost_usd) values ('standard', 0.50);
select cost_usd, remaining_usd from record_llm_cost(:'tenant', 'acme', 'one', 1, 1, p_user_id => :'user', p_conversation_id => :'conversation', p_cost_usd => 0.250);
select cost_usd, remaining_usd from record_llm_cost(:'tenant', 'acme', 'one', 1, 1, p_user_id => :'user', p_conversation_id => :'conversation', p_cost_usd => 1.7500);
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 1.50, p_user_id => :'user', p_conversation_id => :'conversation', p_cost_usd => 0.50);
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 1.50, p_user_id => :'user', p_conversation_id => :'conversation', p_cost_usd => 0.50);
select allowed, current_spend_usd, limit_usd, remaining_usd, utilization_percent from check_and_record_quota_atomic('tenant', :'tenant', 1.00, 'llm');
select allowed, reserved_usd, current_spend_usd, remaining_usd from reserve_quota(:'tenant', 'llm', 1.00, 'r1');
select * from zeros;
-- The same from the rollups.
select task from copilot_internal.maintain() where task = 'fold';
select * from zeros;
-- What there was to be told.
select what, count(*) from answers group by what order by what;
select total_cost, total_duration from metrics.e2b_costs;
select resource_type, limit_usd, usage_percentage from metrics.quota_status order by scope, resource_type;
select event_type, payload -> 'old' -> 'limit_usd' as old, payload -> 'new' -> 'limit_usd' as new from copilot_internal.quota_events where event_type = 'limit_changed';
