-- Soft quotas tell as hard ones do; shadow quotas of thresholds alone; a limit of 0 of overruns alone; no limit of nothing.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set role service_role;
create temp view told as
    select q.scope, q.resource_type, q.mode, q.limit_usd, e.event_type, e.threshold, e.tenant_id is null as of_platform
    from copilot_internal.quota_events e left join metrics.quota_status q using (quota_id)
    order by q.scope, q.mode, q.limit_usd, e.created_at, e.threshold;
select count(set_quota('tenant', :'tenant', 'llm', q.limit_usd, q.period, p_mode => q.mode)) as made
from (values (1, 'day', 'soft'), (2, 'week', 'shadow'), (0, 'month', 'soft'), (null, 'year', 'hard'), (null, 'lifetime', 'soft'))
     as q (limit_usd, period, mode);
select count(set_quota(s.scope, s.id, 'all', 4, 'lifetime', s.tenant)) as made
from (values ('platform', null::uuid, null::uuid), ('user', :'user', :'tenant')) as s (scope, id, tenant);
select recorded from record_llm_cost(:'tenant', 'p', 'm', 1, 1, :'user', p_cost_usd => 3.5);
table told;
-- A default has no row and tells all the same, under the id that it is known by.
\set ann a0000000-0000-4000-8000-000000000002
insert into copilot_internal.tenants (id, name) values (:'ann', 'Ann');
select recorded from record_llm_cost(:'ann', 'p', 'm', 1, 1, p_cost_usd => 81);
select q.is_default, q.resource_type, e.threshold, e.payload
from copilot_internal.quota_events e join metrics.quota_status q using (quota_id) where e.tenant_id = :'ann';
-- An operator's defaults have thresholds of their own.
insert into copilot_internal.default_quotas (resource_type, limit_usd, event_thresholds) values ('e2b', 10, '{0.1}');
select recorded from record_e2b_cost(:'ann', 's', 'box', 1, p_cost_usd => 1);
select q.resource_type, e.threshold
from copilot_internal.quota_events e join metrics.quota_status q using (quota_id)
where e.tenant_id = :'ann' and q.resource_type = 'e2b';
-- Platform events are the server's business; members read those of their tenants.
update copilot_internal.tenants set owner_id = :'user' where id = :'ann';
begin;
set local role authenticated;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001"}';
select count(*), count(distinct tenant_id) as tenants, bool_and(tenant_id = :'ann') as own from copilot_internal.quota_events;
rollback;
