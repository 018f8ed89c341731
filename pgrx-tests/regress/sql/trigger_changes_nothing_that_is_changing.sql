-- A trigger that changes what its statement has read and is changing is refused: a hold is settled once, and no more of a
-- record is refunded than it cost.
\set one a0000000-0000-4000-8000-000000000001
insert into copilot_internal.tenants (id, name) values (:'one', 'One');
select set_quota('tenant', :'one', 'llm', 10) is not null as one;
create table public.deed (what text);
create table public.answer (answer text);
create function public.deed() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_what text;
    v_answer text;
begin
    if pg_trigger_depth() = 1 then
        for v_what in select what from public.deed loop
            begin
                execute v_what into v_answer;
            exception when object_not_in_prerequisite_state then
                v_answer := sqlerrm;
            end;
            insert into public.answer values (v_answer);
        end loop;
    end if;
    return new;
end $$;
create trigger before_hold before update on copilot_internal.quota_reservations for each row execute function public.deed();
create trigger before_cost before insert on copilot_internal.llm_cost_records for each row execute function public.deed();
-- The hold that a cost settles.
select reservation_id as hold from reserve_quota(:'one', 'llm', 2, 'hold') \gset
insert into public.deed values
    (format('select status from public.commit_reservation(%L, 1.5)', :'hold')),
    (format('select status from public.release_reservation(%L)', :'hold')),
    (format('select allowed from public.extend_reservation(%L, p_additional_usd => 3)', :'hold'));
select recorded, remaining_usd from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 1, p_reservation_id => :'hold');
select answer from public.answer;
select state, charged_usd, released_usd from copilot_internal.quota_reservations;
truncate public.deed, public.answer;
-- A hold that is extended takes the room before the trigger does.
select set_quota('tenant', :'one', 'llm', 2) is not null as one;
select reservation_id as hold from reserve_quota(:'one', 'llm', 0.2, 'extended') \gset
insert into public.deed values (format($$select recorded::text from public.record_llm_cost(%L, 'p', 'fee', 1, 1,
    p_cost_usd => 0.7, p_enforce => true)$$, :'one'));
select allowed, reserved_usd from extend_reservation(:'hold', p_additional_usd => 0.7);
select answer from public.answer;
select current_spend_usd, reserved_usd from check_quota_before_operation(:'one', 'llm', 0);
truncate public.deed, public.answer;
select status from release_reservation(:'hold');
-- A record that is refunded. Another may be refunded with it.
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z') is not null as priced;
select cost_record_id as record from record_llm_cost(:'one', 'acme', 'm', 1000000, 0) \gset
select set_model_price('acme', 'm', 0.1, 1, '2020-01-02Z') is not null as priced;
select cost_record_id as other from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0) \gset
create trigger before_correction before insert on copilot_internal.cost_corrections
    for each row execute function public.deed();
insert into public.deed values
    (format('select ''refunded'' from public.refund_cost(%L, 0.7, ''inner'')', :'record')),
    (format('select ''refunded'' from public.refund_cost(%L, 0, ''other'')', :'other')),
    ('select ''repriced'' from copilot_internal.reprice(''2020-01-01Z'', now() + interval ''1 hour'')');
select refund_cost(:'record', 0.7, 'outer') is not null as refunded;
select answer from public.answer;
drop trigger before_correction on copilot_internal.cost_corrections;
select adjustment_usd from copilot_internal.reprice('2020-01-01Z', now() + interval '1 hour');
truncate public.deed, public.answer;
-- What is refunded makes room once, also where a trigger folds it.
select cost_record_id as record from record_llm_cost(:'one', 'p', 'm', 1, 1, p_cost_usd => 0.7) \gset
insert into public.deed values
    ('select ''folded'' from copilot_internal.maintain() where task = ''fold'''),
    (format($$select recorded::text from public.record_llm_cost(%L, 'p', 'fee', 1, 1, p_cost_usd => 0.8,
        p_enforce => true)$$, :'one'));
select current_spend_usd, reserved_usd from check_quota_before_operation(:'one', 'llm', 0);
create trigger after_pending after insert on copilot_internal.pending_costs for each row execute function public.deed();
select refund_cost(:'record', 0.4, 'folded') is not null as refunded;
select answer from public.answer;
drop trigger after_pending on copilot_internal.pending_costs;
select current_spend_usd, reserved_usd from check_quota_before_operation(:'one', 'llm', 0);
-- What the platform does not count of a cost is left out once, also while an event of it fires a trigger.
drop trigger before_cost on copilot_internal.llm_cost_records;
truncate public.deed, public.answer;
\set two a0000000-0000-4000-8000-000000000002
set pg_tollgate.platform_counts = 'provider_cost';
insert into copilot_internal.tenants (id, name) values (:'two', 'Two');
insert into copilot_internal.price_markups (tenant_id, factor, effective_from) values (:'two', 2, '2020-01-01Z');
select set_model_price('acme', 'n', 1, 1, '2020-01-01Z') is not null as priced;
select set_quota('tenant', :'two', 'llm', 2.4) is not null as two, set_quota('tenant', :'one', 'llm', 10) is not null as one;
select coalesce(sum(charge_nanos), 0) / 1e9 as spent from copilot_internal.ledger_lines \gset
select set_quota('platform', null, 'llm', :spent + 3) is not null as platform;
insert into public.deed values (format($$select recorded::text from public.record_llm_cost(%L, 'p', 'fee', 1, 1,
    p_cost_usd => 2.5, p_enforce => true)$$, :'one'));
create trigger after_event after insert on copilot_internal.quota_events for each row execute function public.deed();
select recorded, cost_usd from record_llm_cost(:'two', 'acme', 'n', 1000000, 0, p_enforce => true);
select answer from public.answer;
drop trigger after_event on copilot_internal.quota_events;
-- A record that is being written is corrected by nobody: what the platform leaves out of it is not there yet.
truncate public.deed, public.answer;
create function public.refund_it() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform public.refund_cost(new.id, 1, 'at once');
    return new;
exception when object_not_in_prerequisite_state then
    insert into public.answer values (sqlerrm);
    return new;
end $$;
create trigger refund_it after insert on copilot_internal.llm_cost_records for each row execute function public.refund_it();
select recorded, cost_usd from record_llm_cost(:'two', 'acme', 'n', 100000, 0);
select answer from public.answer;
drop trigger refund_it on copilot_internal.llm_cost_records;
select * from copilot_internal.verify();
-- No row is erased or purged under a call that goes on with it.
drop trigger before_hold on copilot_internal.quota_reservations;
truncate public.deed, public.answer;
\set user b0000000-0000-4000-8000-000000000001
select cost_record_id as record from record_llm_cost(:'one', 'p', 'm', 1, 1, :'user', p_cost_usd => 0.3) \gset
insert into public.deed values (format('select finished::text from public.erase_user(%L)', :'user'));
create trigger before_correction before insert on copilot_internal.cost_corrections
    for each row execute function public.deed();
select refund_cost(:'record', 0.1, 'erased beside') is not null as refunded;
select answer from public.answer;
drop trigger before_correction on copilot_internal.cost_corrections;
select finished from erase_user(:'user');
select count(*) from copilot_internal.ledger_lines where user_id = :'user';
truncate public.deed, public.answer;
select delete_tenant(:'two') is not null as deleted;
insert into public.deed values (format('select finished::text from public.purge_tenant(%L)', :'two'));
create trigger after_cost after insert on copilot_internal.llm_cost_records for each row execute function public.deed();
select recorded from record_llm_cost(:'two', 'p', 'm', 1, 1, p_cost_usd => 0.3);
select answer from public.answer;
drop trigger after_cost on copilot_internal.llm_cost_records;
select finished from purge_tenant(:'two');
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
