-- Nothing is admitted for a tenant that does not exist or was deleted; what it has cost is recorded, and stays in the books.
\set tenant a0000000-0000-4000-8000-000000000001
\set quota a0000000-0000-4000-8000-000000000002
\set nobody a0000000-0000-4000-8000-00000000000f
\set user b0000000-0000-4000-8000-000000000001
\set SHOW_CONTEXT never
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'user');
set role service_role;
select set_quota('platform', null, 'all', 1000, 'lifetime') is not null as made;
-- Known by its row, or by a quota of its own, be it a user's.
select set_quota('user', :'user', 'llm', 5, 'lifetime', :'quota') is not null as made;
create temp view asked as
    select t.place, c.allowed as looked, c.status, c.reason, has_quota(t.id, 'llm', 1) as has_quota, r.recorded, r.quota_status, r.blocked_scope, r.limit_usd,
           a.allowed as charged, a.status as charge_status, h.allowed as held, h.status as hold_status, h.reservation_id is not null as id, h.state
    from (values (1, 'a0000000-0000-4000-8000-000000000001'::uuid), (2, 'a0000000-0000-4000-8000-000000000002'), (3, 'a0000000-0000-4000-8000-00000000000f')) t (place, id),
         lateral check_quota_before_operation(t.id, 'llm', 1) c,
         lateral record_llm_cost(t.id, 'acme', 'm', 1, 1, p_cost_usd => 0.01, p_enforce => true) r,
         lateral check_and_record_quota_atomic('tenant', t.id, 0.01) a,
         lateral reserve_quota(t.id, 'llm', 0.01, 'r' || random()) h
    order by 1;
table asked;
\set VERBOSITY default
select require_quota(:'nobody', 'llm', 1);
-- An unpriced call of nobody's is nobody's first of all.
select recorded, quota_status, reason from record_llm_cost(:'nobody', 'acme', 'unheard-of', 1, 1, p_enforce => true);
-- What was spent is recorded, and counts for the platform.
select recorded, quota_status, reason from record_llm_cost(:'nobody', 'acme', 'm', 1, 1, p_cost_usd => 2);
select current_spend_usd, reserved_usd from metrics.quota_status where scope = 'platform';
-- A tenant that comes is known at once, and one that goes is not.
insert into copilot_internal.tenants (id, name) values (:'nobody', 'Somebody');
select allowed, status from check_quota_before_operation(:'nobody', 'llm', 1);
select reservation_id as hold from reserve_quota(:'tenant', 'llm', 1, 'before') \gset
select delete_tenant(:'tenant');
select looked, status, regexp_replace(reason, '[0-9:TZ-]{20}', '…') as reason, has_quota, recorded, quota_status, charged, charge_status, held, hold_status from asked where place = 1;
select allowed, status, regexp_replace(reason, '[0-9:TZ-]{20}', '…') as reason from extend_reservation(:'hold', p_additional_usd => 1);
select status, charged_usd from commit_reservation(:'hold', 0.5);
select recorded from record_e2b_cost(:'tenant', 's', 'standard', 1, p_cost_usd => 2);
select total_cost from metrics.tenant_total_costs where tenant_id = :'tenant';
-- Its row deleted, too, there still is no limitless tenant; and it comes back.
update copilot_internal.tenants set deleted_at = null where id = :'tenant';
select looked, status, recorded, charged, held from asked where place = 1;
delete from copilot_internal.tenants where id = :'tenant';
select looked, status, reason, recorded, charged, held from asked where place = 1;
-- An operator who wants it otherwise.
set pg_tollgate.unknown_tenant = 'allow';
reset role;
set pg_tollgate.unknown_tenant = 'allow';
set role service_role;
select looked, status, recorded, charged, held from asked where place = 1;
select * from copilot_internal.verify();
