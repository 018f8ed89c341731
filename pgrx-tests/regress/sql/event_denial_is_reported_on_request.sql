-- A refused charge leaves an event if its caller wants one, and a quota not more than one a minute.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set role service_role;
create temp view told as
    select event_type, quota_id is not null as of_quota, tenant_id is not null as of_tenant, limit_nanos, spent_nanos, payload
    from copilot_internal.quota_events order by created_at, id;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 2);
table told;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 2, p_request_id => 'r', p_log_denial => true);
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 3, p_enforce => true, p_log_denial => true);
table told;
-- Another quota has its own; so has what is refused for want of a price.
select set_quota('user', :'user', 'e2b', 0, 'lifetime', :'tenant') is not null as made;
select recorded from record_e2b_cost(:'tenant', 's', 'box', 1, :'user', p_cost_usd => 0, p_enforce => true, p_log_denial => true);
select recorded, reason from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_enforce => true, p_log_denial => true);
select set_quota('platform', null, 'llm', 0) is not null as made;
select allowed from check_and_record_quota_atomic('platform', null, 1, p_log_denial => true);
select payload -> 'reason' as reason, payload -> 'user_id' as user_id, of_quota, of_tenant from told offset 1;
-- In a batch; what is recorded whatever it costs is never refused.
delete from copilot_internal.cost_quotas where true;
select set_quota('tenant', :'tenant', 'all', 1, 'day') is not null as made;
select ordinal, recorded from record_llm_costs(
    (select jsonb_agg(jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'p', 'model_name', 'm', 'input_tokens', 1,
         'output_tokens', 1, 'cost_usd', 3 - i, 'enforce', true, 'log_denial', true)) from generate_series(1, 2) i));
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 3, p_log_denial => true);
select event_type, payload -> 'reason' as reason from told offset 4;
-- A minute later.
reset role;
update copilot_internal.quota_events set created_at = created_at - interval '1 minute' where true;
set role service_role;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 3, p_enforce => true, p_log_denial => true);
select count(*) from told where event_type = 'denied';
\set VERBOSITY sqlstate
select * from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_log_denial => null);
select * from check_and_record_quota_atomic('tenant', :'tenant', 2, p_log_denial => null);
select * from record_llm_costs('[{"log_denial": 1}]');
