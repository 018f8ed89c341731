-- The outbox: oldest first, with a lease, until acknowledged. Limits, modes and suspensions that change are told of too.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select * from claim_quota_events();
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select count(set_quota('tenant', :'tenant', 'llm', v.limit_usd, 'lifetime', p_mode => v.mode, p_suspended => v.suspended)) as made
from (values (1, 'hard', false), (2, 'hard', null), (2, 'soft', null), (null, 'soft', null), (null, 'soft', true), (3, 'soft', null))
     as v (limit_usd, mode, suspended);
-- A change of anything else is none.
update copilot_internal.cost_quotas set metadata = '{"a": 1}', warning_threshold = 0.5, event_thresholds = '{0.1, 0.2, 0.3}' where true;
select event_type, threshold, period_start, payload -> 'old' as old, payload -> 'new' as new,
       payload - 'old' - 'new' - 'scope_id' as rest
from claim_quota_events(2);
select payload -> 'new' as new, acknowledged_at from claim_quota_events(2);
-- What is not acknowledged comes again when the lease is over.
select payload -> 'new' as new, tenant_id = :'tenant' as own, created_at <= clock_timestamp() as before from claim_quota_events(p_lease => '1 second');
select pg_sleep(1.1);
select payload -> 'new' as new from claim_quota_events();
select count(*) from claim_quota_events();
-- Acknowledged once, for good; ids of nobody count for nothing.
select acknowledge_quota_events(array_agg(id) || gen_random_uuid()) from copilot_internal.quota_events;
select acknowledge_quota_events(array_agg(id)) from copilot_internal.quota_events;
select acknowledge_quota_events('{}');
select count(*), count(acknowledged_at) as acknowledged from copilot_internal.quota_events;
update copilot_internal.cost_quotas set suspended = false where true;
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 0.65);
select event_type, threshold from claim_quota_events();

\set VERBOSITY sqlstate
select * from claim_quota_events(0);
select * from claim_quota_events(1001);
select * from claim_quota_events(null);
select * from claim_quota_events(1, '0.5 seconds');
select * from claim_quota_events(1, '1 month');
select * from claim_quota_events(1, null);
select acknowledge_quota_events(null);
select acknowledge_quota_events(array[null::uuid]);
-- Nobody writes or takes back an event by hand.
insert into copilot_internal.quota_events (event_type) values ('denied');
update copilot_internal.quota_events set acknowledged_at = null where true;
delete from copilot_internal.quota_events where true;

-- Housekeeping keeps what is not acknowledged, what is not old, and what guards a period that goes on.
reset role;
update copilot_internal.quota_events set acknowledged_at = clock_timestamp() - interval '91 days' where event_type = 'limit_changed';
update copilot_internal.quota_events set acknowledged_at = clock_timestamp() - interval '91 days' where threshold = 0.1;
update copilot_internal.quota_events set acknowledged_at = clock_timestamp() - interval '91 days', period_end = clock_timestamp() - interval '91 days' where threshold = 0.2;
set role service_role;
select task, done from copilot_internal.maintain(5);
select task, done from copilot_internal.maintain();
select event_type, threshold from copilot_internal.quota_events;
