-- A trigger on the ledger or on the holds that charges in turn sees what it was fired by, once: no limit is exceeded.
\set one a0000000-0000-4000-8000-000000000001
\set two a0000000-0000-4000-8000-000000000002
insert into copilot_internal.tenants (id, name) values (:'one', 'One'), (:'two', 'Two');
select set_quota('tenant', :'one', 'llm', 1) is not null as one, set_quota('tenant', :'two', 'llm', 1) is not null as two;
create table public.fee (fee numeric, tenant uuid, enforce boolean, answer text);
insert into public.fee values (0.6, :'one', true);
create function public.fee() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_trigger_depth() = 1 then
        update public.fee f set answer = (
            select case when r.recorded then 'recorded' else 'refused' end from public.record_llm_cost(
                f.tenant, 'p', 'fee', 1, 1, p_cost_usd => f.fee, p_enforce => f.enforce) r);
    end if;
    return new;
end $$;
create trigger after_cost after insert on copilot_internal.llm_cost_records for each row execute function public.fee();
-- Too much after what was recorded, and then as much as is left.
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0.6, p_enforce => true);
select answer from public.fee;
update public.fee set fee = 0.2;
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0.2, p_enforce => true);
select answer from public.fee;
select current_spend_usd, remaining_usd from check_quota_before_operation(:'one', 'llm', 0);
-- Of another tenant, whose quota nobody has asked about yet.
update public.fee set fee = 1.5, tenant = :'two', enforce = false;
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0.1);
select answer from public.fee;
select current_spend_usd, reserved_usd from check_quota_before_operation(:'two', 'llm', 0);
drop trigger after_cost on copilot_internal.llm_cost_records;
-- Before the row is there: a hold, what settles it, a cost, and a correction.
select set_quota('tenant', :'one', 'llm', 10) is not null as one;
update public.fee set fee = 0.6, tenant = :'one', enforce = true;
create trigger before_hold before insert on copilot_internal.quota_reservations for each row execute function public.fee();
select reservation_id as hold from reserve_quota(:'one', 'llm', 8.4, 'hold') \gset
select answer from public.fee;
drop trigger before_hold on copilot_internal.quota_reservations;
create trigger before_cost before insert on copilot_internal.llm_cost_records for each row execute function public.fee();
update public.fee set fee = 0.4;
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 8.2, p_reservation_id => :'hold');
select answer from public.fee;
update public.fee set fee = 0.1;
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0.25, p_enforce => true, p_request_id => 'a');
select answer from public.fee;
drop trigger before_cost on copilot_internal.llm_cost_records;
create trigger before_correction before insert on copilot_internal.cost_corrections for each row execute function public.fee();
update public.fee set fee = 0.04;
select refund_cost(id, 0.02, 'b') is not null as refunded from copilot_internal.llm_cost_records where request_id = 'a';
select answer from public.fee;
drop trigger before_correction on copilot_internal.cost_corrections;
select current_spend_usd, reserved_usd from check_quota_before_operation(:'one', 'llm', 0);
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
