-- check_and_record_quota_atomic charges a tenant, a user of a tenant (their only one unless it is named), or the platform
-- alone.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set one b0000000-0000-4000-8000-000000000001
\set two b0000000-0000-4000-8000-000000000002
\set none b0000000-0000-4000-8000-000000000003
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'one'), (:'other', 'Other', null);
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'two'), (:'other', :'two');
select count(set_quota(s.scope, s.id, 'all', 10, 'lifetime', s.tenant)) as made
from (values ('platform', null::uuid, null::uuid), ('tenant', :'tenant', null), ('tenant', :'other', null),
             ('user', :'one', :'tenant'), ('user', :'two', :'tenant'), ('user', :'two', :'other')) as s (scope, id, tenant);
create temp view spent as
    select scope, right(tenant_id::text, 1) as tenant, right(scope_id::text, 1) as id, current_spend_usd
    from metrics.quota_status where period = 'lifetime' order by scope, tenant_id, scope_id;

select allowed, current_spend_usd, limit_usd, remaining_usd, utilization_percent, period, period_end
from check_and_record_quota_atomic('tenant', :'tenant', 1);
-- The owner is a user of one tenant.
select allowed from check_and_record_quota_atomic('user', :'one', 0.5, 'e2b');
table spent;
-- A user of two tenants has to say which; so has one of none.
select * from check_and_record_quota_atomic('user', :'two', 0.25);
select * from check_and_record_quota_atomic('user', :'none', 0.25);
select allowed from check_and_record_quota_atomic('user', :'two', 0.25, p_tenant_id => :'other');
-- The server says which tenant is charged: nothing asks whether the user belongs to it.
select allowed from check_and_record_quota_atomic('user', :'none', 0.125, p_tenant_id => :'other');
table spent;
-- The platform alone: no tenant pays.
select allowed from check_and_record_quota_atomic('platform', null, 2);
table spent;
-- The user's own limit is told before the tenant's: 9.75 are left of their 10 at Other, 9.625 of the tenant's.
select allowed, remaining_usd from check_and_record_quota_atomic('user', :'two', 9.8, p_tenant_id => :'other');
select allowed, remaining_usd from check_and_record_quota_atomic('user', :'two', 9.7, p_tenant_id => :'other');
-- A membership that is not active does not count: one tenant is left.
update copilot_internal.tenant_memberships set status = 'suspended' where user_id = :'two' and tenant_id = :'other';
select allowed, remaining_usd from check_and_record_quota_atomic('user', :'two', 0.5);

select * from check_and_record_quota_atomic('team', :'tenant', 1);
select * from check_and_record_quota_atomic(null, :'tenant', 1);
select * from check_and_record_quota_atomic('tenant', null, 1);
select * from check_and_record_quota_atomic('tenant', :'tenant', 1, p_tenant_id => :'other');
select * from check_and_record_quota_atomic('platform', :'tenant', 1);
select * from check_and_record_quota_atomic('platform', null, 1, p_tenant_id => :'tenant');
select * from check_and_record_quota_atomic('tenant', :'tenant', 1, 'all');
select * from check_and_record_quota_atomic('tenant', :'tenant', 1, null);
select * from check_and_record_quota_atomic('tenant', :'tenant', null);
select * from check_and_record_quota_atomic('tenant', :'tenant', 'NaN');
select * from check_and_record_quota_atomic('tenant', :'tenant', 1, p_request_id => '');
select count(*), sum(cost_usd) from copilot_internal.quota_charges;
