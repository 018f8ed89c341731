-- An event for each threshold that is reached, once per quota, period and threshold, each of several in one jump; and
-- for spending more than the limit.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;
create temp view told as
    select event_type as type, threshold, trim_scale(limit_nanos / 1e9) as limit, trim_scale(spent_nanos / 1e9) as spent, payload ->> 'mode' as mode,
           payload -> 'limit_usd' as limit_usd, payload -> 'current_spend_usd' as spend_usd, acknowledged_at
    from copilot_internal.quota_events order by created_at, threshold, id;

select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.799999999);
table told;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);
table told;
-- It was told of; a refusal tells of nothing.
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.1);
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.2);
table told;
select tenant_id = :'tenant' as of_tenant, quota_id = (select id from copilot_internal.cost_quotas) as of_quota,
       period_start, period_end, payload
from copilot_internal.quota_events;
-- Several in one jump, in order. Nothing more after that.
select set_quota('tenant', :'other', 'all', 10, 'lifetime', p_event_thresholds => '{1.5, 0.5, 0.05, 0.9, 0.9}') is not null as made;
select recorded, quota_status from record_e2b_cost(:'other', 's', 'box', 1, p_cost_usd => 9.5);
select type, threshold, spent from told where "limit" = 10;
select recorded, quota_status from record_e2b_cost(:'other', 's', 'box', 1, p_cost_usd => 20);
select count(*) from record_e2b_cost(:'other', 's', 'box', 1, p_cost_usd => 20);
select type, threshold, spent from told where "limit" = 10;
-- A batch is one transaction.
select set_quota('tenant', :'other', 'llm', 2, 'lifetime') is not null as made;
select ordinal, quota_status from record_llm_costs(
    (select jsonb_agg(jsonb_build_object('tenant_id', :'other', 'model_provider', 'p', 'model_name', 'm', 'input_tokens', 1,
         'output_tokens', 1, 'cost_usd', 0.7)) from generate_series(1, 4)));
select type, threshold, spent from told where "limit" = 2;
-- What is asked of thresholds.
\set VERBOSITY sqlstate
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_event_thresholds => '{0}');
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_event_thresholds => '{10.1}');
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_event_thresholds => '{NaN}');
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_event_thresholds => '{0.5, null}');
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_event_thresholds => array_fill(0.5, '{17}'));
update copilot_internal.cost_quotas set event_thresholds = '{0.5, null}' where true;
insert into copilot_internal.default_quotas (resource_type, event_thresholds) values ('llm', '{-1}');
-- None at all; and they stay as they are where they are not given.
select set_quota('tenant', :'tenant', 'e2b', 1, 'lifetime', p_event_thresholds => '{}') is not null as made;
select set_quota('tenant', :'tenant', 'e2b', 2, 'lifetime') is not null as made;
select event_thresholds from copilot_internal.cost_quotas where resource_type = 'e2b';
-- What is held is not spent; a hold that is committed is.
\set ann a0000000-0000-4000-8000-000000000003
select set_quota('tenant', :'ann', 'llm', 4, 'lifetime') is not null as made;
select reservation_id as hold from reserve_quota(:'ann', 'llm', 3.9, 'r') \gset
select count(*) from told where "limit" = 4;
select status from commit_reservation(:'hold', 3.3);
select type, threshold, spent from told where "limit" = 4;
