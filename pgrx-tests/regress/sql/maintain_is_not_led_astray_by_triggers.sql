-- A BEFORE trigger that skips or rewrites rows would lose amounts that a fold, an erasure or a purge moves: 55000.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-000000000001
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
create function public.skip() returns trigger language plpgsql security definer as $$ begin return null; end $$;
create function public.charge(p_amount numeric) returns boolean language sql as $$
    select recorded from record_llm_cost('a0000000-0000-4000-8000-000000000001', 'p', 'm', 1, 1, 'b0000000-0000-4000-8000-000000000001',
        gen_random_uuid(), p_cost_usd => p_amount, p_enforce => true) $$;
create function public.tried(p_call text) returns text language plpgsql as $$
begin
    execute p_call;
    return 'done';
exception when others then
    return sqlstate || ': ' || sqlerrm;
end $$;
create view public.folded as select task, done > 0 as done from copilot_internal.maintain() where task = 'fold';
select charge(0.25);
-- Each table that a fold writes, each row that one of these triggers would have kept from it.
do $$
declare
    v_table text;
    v_call text;
    v_event text;
begin
    foreach v_table in array array['pending_costs', 'quota_rollups', 'cost_rollups', 'period_rollups', 'total_rollups', 'user_rollups', 'conversation_rollups', 'purged_costs', 'erasures',
        'llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections', 'quota_reservations', 'reservation_extensions']
    loop
        foreach v_event in array array['insert', 'update', 'delete'] loop
            execute format('create trigger skip before %s on copilot_internal.%I for each row execute function public.skip()', v_event, v_table);
            foreach v_call in array array['select * from copilot_internal.maintain()',
                'select * from erase_user(''b0000000-0000-4000-8000-000000000009'')']
            loop
                raise notice '% on %, %: %', v_event, v_table, split_part(split_part(v_call, 'from ', 2), '(', 1), tried(v_call);
            end loop;
            execute format('drop trigger skip on copilot_internal.%I', v_table);
        end loop;
    end loop;
end $$;
-- Nor by rules.
do $$
declare
    v_table text;
begin
    foreach v_table in array array['cost_rollups', 'llm_cost_records', 'quota_charges'] loop
        execute format('create rule stay as on update to copilot_internal.%I do instead nothing', v_table);
        raise notice 'rule on %: %, %', v_table, tried('select * from copilot_internal.maintain()'),
            tried('select * from erase_user(''b0000000-0000-4000-8000-000000000009'')');
        execute format('drop rule stay on copilot_internal.%I', v_table);
    end loop;
end $$;
-- Charges go on beside such a trigger, and lose nothing.
create trigger skip before insert on copilot_internal.quota_rollups for each row execute function public.skip();
select charge(0.5);
select copilot_internal.fold(:'tenant', 100);
select * from folded;
select copilot_internal.reload_counters() >= 0 as reloaded;
select charge(0.5);
alter table copilot_internal.quota_rollups disable trigger skip;
select * from folded;
select charge(0.5), charge(0.25);
update copilot_internal.tenants set deleted_at = now();
create trigger skip before delete on copilot_internal.llm_cost_records for each row execute function public.skip();
select tried(format('select * from purge_tenant(%L)', :'tenant'));
select * from copilot_internal.verify();
