-- A raise adds to a limit from its beginning to its end, in checks, charges, views and the bill, without anybody's help.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann a0000000-0000-4000-8000-000000000002
set role service_role;
create temp view shown as
    select resource_type, limit_usd, current_spend_usd, remaining_usd, usage_percentage, status from metrics.quota_status
    where period = 'lifetime' order by 1;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') as quota \gset
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 1);
table shown;
select raise_quota(:'quota', 0.5, clock_timestamp() + interval '1 hour', p_reason => 'launch day') is not null as raised;
select allowed, limit_usd, remaining_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.3);
table shown;
select q ->> 'limit_usd' as limit_usd, q ->> 'remaining_usd' as remaining_usd
from get_tenant_cost_summary(:'tenant') s, jsonb_array_elements(s.quotas) q;
-- Raises add up. One that has not begun counts for nothing yet.
select raise_quota(:'quota', 2, clock_timestamp() + interval '2 hours', clock_timestamp() + interval '1 hour') is not null as raised;
select allowed, limit_usd from check_quota_before_operation(:'tenant', 'llm', 0.25);
-- It ends by itself, for charges and for looks, also where a session knows of it.
select raise_quota(:'quota', 7.5000000009, clock_timestamp() + interval '1 second') is not null as raised;
select count(*) from check_quota_before_operation(:'tenant', 'llm', 5);
select pg_sleep(1.1);
select allowed, limit_usd, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 5);
select allowed, limit_usd from check_and_record_quota_atomic('tenant', :'tenant', 5);
-- And begins by itself.
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour', clock_timestamp() + interval '0.5 seconds') is not null as raised;
select count(*) from check_quota_before_operation(:'tenant', 'llm', 0.45);
select pg_sleep(0.6);
select allowed, limit_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.45);
-- Ended early.
update copilot_internal.quota_overrides set ends_at = greatest(starts_at + interval '1 microsecond', clock_timestamp()) where reason is null;
select allowed, limit_usd from check_quota_before_operation(:'tenant', 'llm', 0.01);
table shown;
-- A quota without a limit stays without; a limit of 0 is raised; a default has an id.
select raise_quota(set_quota('tenant', :'tenant', 'e2b', null, 'lifetime'), 1, clock_timestamp() + interval '1 hour') is not null as raised;
select raise_quota(set_quota('tenant', :'tenant', 'all', 0, 'lifetime'), 3, clock_timestamp() + interval '1 hour') is not null as raised;
table shown;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 1.2, 'e2b');
insert into copilot_internal.tenants (id, name) values (:'ann', 'Ann');
select raise_quota(quota_id, 20, clock_timestamp() + interval '1 hour') is not null as raised
from metrics.quota_status where tenant_id = :'ann' and resource_type = 'llm';
select allowed, limit_usd from check_and_record_quota_atomic('tenant', :'ann', 119);
select resource_type, limit_usd, current_spend_usd, is_default from metrics.quota_status where tenant_id = :'ann' order by 1;
-- The threshold is that of the raised limit: 96 of 120.
select threshold, trim_scale(limit_nanos / 1e9) as limit from copilot_internal.quota_events where tenant_id = :'ann' and limit_nanos > 100e9 order by created_at, threshold;
select tenant_id = :'ann' as own, reason, amount_usd from copilot_internal.quota_overrides where tenant_id = :'ann';

\set VERBOSITY sqlstate
select raise_quota(null, 1, clock_timestamp() + interval '1 hour');
select raise_quota(gen_random_uuid(), 1, clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', 0, clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', -1, clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', 'NaN', clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', 1000000001, clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', null, clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', 1, null);
select raise_quota(:'quota', 1, 'infinity');
select raise_quota(:'quota', 1, clock_timestamp() - interval '1 second');
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour', clock_timestamp() + interval '1 hour');
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour', p_reason => '');
-- At most 32 that have not ended: two are there.
select count(raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour')) from generate_series(1, 30);
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour');
select limit_usd from shown where resource_type = 'llm';
