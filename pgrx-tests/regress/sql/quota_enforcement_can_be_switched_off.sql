-- For the night when a limit was wrong: every hard quota answers as a soft one, and every answer says so.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set SHOW_CONTEXT never
\set VERBOSITY terse
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme'), (:'other', 'Other');
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
create temp view asked as
    select c.allowed as looked, c.status, c.reason, has_quota(t.id, 'llm', 2) as has_quota, r.recorded, r.quota_status, r.reason as record_reason,
           a.allowed as charged, a.status as charge_status, h.allowed as held, h.reason as hold_reason
    from (values ('a0000000-0000-4000-8000-000000000001'::uuid)) t (id),
         lateral check_quota_before_operation(t.id, 'llm', 2) c,
         lateral record_llm_cost(t.id, 'acme', 'm', 1, 1, p_cost_usd => 2, p_enforce => true) r,
         lateral check_and_record_quota_atomic('tenant', t.id, 2) a,
         lateral reserve_quota(t.id, 'llm', 2, 'r' || random()) h;
table asked;
set pg_tollgate.enforcement = off;
reset role;
set pg_tollgate.enforcement = off;
set role service_role;
table asked;
select allowed, status, reason from check_quota_before_operation(:'other', 'llm', 1);
select recorded, reason from record_llm_cost(:'other', 'acme', 'm', 1, 1, p_cost_usd => 1);
select recorded, reason, replayed from record_llm_cost(:'other', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r');
select recorded, reason, replayed from record_llm_cost(:'other', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'r');
select reservation_id as id from reserve_quota(:'other', 'llm', 1, 'h') \gset
select allowed, reason from extend_reservation(:'id', '1 hour');
-- The other refusals stay.
select recorded, quota_status, reason from record_llm_cost(:'other', 'acme', 'unheard-of', 1, 1, p_enforce => true);
select allowed, status, reason from check_quota_before_operation('a0000000-0000-4000-8000-00000000000f', 'llm', 1);
select set_quota('tenant', :'other', 'llm', 100, p_suspended => true) is not null as made;
select allowed, status, reason from check_quota_before_operation(:'other', 'llm', 1);
-- Which quotas are hard is not lost.
reset role;
reset pg_tollgate.enforcement;
set role service_role;
select limit_usd, current_spend_usd, reserved_usd, status from metrics.quota_status where tenant_id = :'tenant' and period = 'lifetime';
table asked;
select * from copilot_internal.verify();
