-- How sessions hear that configuration has changed. Triggers that only tell name no relation, change nothing and
-- fire always: during a restore and for replicated rows, too.

create function copilot_internal.configuration_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'configuration_changed_wrapper';
comment on function copilot_internal.configuration_changed() is
    'Tells every session at commit what has changed. The first argument is the kind: quotas, prices, policies or '
    'people. The others are columns of the tenant, quota or user that it concerns: without one, or where it is NULL, '
    'all; of people, no user.';

create function copilot_internal.definitions_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'definitions_changed_wrapper';
comment on function copilot_internal.definitions_changed() is
    'Says which quotas will come or go with this transaction: those of the tenant in the named column, of the platform '
    'where it is NULL. Without a column: of all. See the lock protocol in the library''s crate escrow.';

-- Of rows, not of statements, also where all are concerned: a subscription fires no other. What has changed is asked
-- of the rows, since a trigger of somebody else may change columns that no statement names.
do $$
declare
    v_table text;
    v_kind text;
    v_column text;
begin
    for v_table, v_kind, v_column in
        values ('cost_quotas', 'quotas', 'tenant_id'), ('default_quotas', 'quotas', null),
               ('quota_overrides', 'quotas', 'quota_id'),
               ('model_pricing', 'prices', 'tenant_id'), ('e2b_pricing', 'prices', 'tenant_id'),
               ('price_markups', 'prices', 'tenant_id'), ('model_aliases', 'prices', null),
               ('shipped_model_prices', 'prices', null), ('shipped_sandbox_prices', 'prices', null),
               ('tenant_llm_policies', 'policies', 'tenant_id'),
               ('tenant_memberships', 'people', 'user_id'), ('user_preferences', 'people', 'user_id')
    loop
        execute pg_catalog.format('create trigger configuration_changed after insert or update or delete '
            'on copilot_internal.%I for each row execute function copilot_internal.configuration_changed(%s)',
            v_table, pg_catalog.concat_ws(', ', pg_catalog.quote_literal(v_kind), pg_catalog.quote_literal(v_column)));
        execute pg_catalog.format('create trigger all_configuration_changed after truncate on copilot_internal.%I '
            'for each statement execute function copilot_internal.configuration_changed(%L)', v_table, v_kind);
    end loop;
end $$;

-- Of a tenant only that it is there and its plan say which quotas apply.
create trigger configuration_changed after insert or delete on copilot_internal.tenants
    for each row execute function copilot_internal.configuration_changed('quotas', 'id');
create trigger configuration_updated after update on copilot_internal.tenants
    for each row when ((old.id, old.plan, old.deleted_at) is distinct from (new.id, new.plan, new.deleted_at))
    execute function copilot_internal.configuration_changed('quotas', 'id');
create trigger all_configuration_changed after truncate on copilot_internal.tenants
    for each statement execute function copilot_internal.configuration_changed('quotas');
-- A tenant that comes or changes hands concerns its owners. One that goes, or comes back, concerns its members.
create trigger people_changed after insert on copilot_internal.tenants
    for each row execute function copilot_internal.configuration_changed('people', 'owner_id');
create trigger owner_changed after update on copilot_internal.tenants
    for each row when (old.owner_id is distinct from new.owner_id)
    execute function copilot_internal.configuration_changed('people', 'owner_id');
create trigger people_updated after update on copilot_internal.tenants
    for each row when ((old.id, old.deleted_at) is distinct from (new.id, new.deleted_at))
    execute function copilot_internal.configuration_changed('people');
create trigger people_deleted after delete on copilot_internal.tenants
    for each row execute function copilot_internal.configuration_changed('people');
create trigger all_people_changed after truncate on copilot_internal.tenants
    for each statement execute function copilot_internal.configuration_changed('people');
-- In a subscription the members may be there before it.
create trigger replicated_people_changed after insert on copilot_internal.tenants
    for each row execute function copilot_internal.configuration_changed('people');

create trigger definitions_changed after insert or delete on copilot_internal.cost_quotas
    for each row execute function copilot_internal.definitions_changed('tenant_id');
create trigger definitions_changed after insert or delete on copilot_internal.tenants
    for each row execute function copilot_internal.definitions_changed('id');
create trigger definitions_updated after update on copilot_internal.tenants
    for each row when ((old.id, old.plan) is distinct from (new.id, new.plan))
    execute function copilot_internal.definitions_changed('id');
create trigger definitions_changed after insert or delete or update on copilot_internal.default_quotas
    for each row execute function copilot_internal.definitions_changed();
create trigger all_definitions_changed after truncate on copilot_internal.cost_quotas
    for each statement execute function copilot_internal.definitions_changed();
create trigger all_definitions_changed after truncate on copilot_internal.tenants
    for each statement execute function copilot_internal.definitions_changed();
create trigger all_definitions_changed after truncate on copilot_internal.default_quotas
    for each statement execute function copilot_internal.definitions_changed();

-- What counters are read from: rows that the kernels did not write, be it by an import, a repair or a subscription.
create function copilot_internal.rows_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'rows_changed_wrapper';
comment on function copilot_internal.rows_changed() is
    'Reads all counters again from the tables after a commit. For transactions in which anything but the kernels and '
    'the fold wrote rows of this table.';

create function copilot_internal.reload_counters() returns bigint
    language c volatile as 'MODULE_PATHNAME', 'reload_counters_wrapper';
comment on function copilot_internal.reload_counters() is
    'Has the counters of this database read again from the tables once the transaction has committed, and returns how '
    'many there were. Rows that arrive by statements, COPY or a subscription do so by themselves; this is for what '
    'no trigger sees.';

create function copilot_internal.reload_tenant_counters(p_tenant_id uuid) returns void
    language c volatile strict as 'MODULE_PATHNAME', 'reload_tenant_counters_wrapper';
comment on function copilot_internal.reload_tenant_counters(uuid) is
    'The same for the counters of one tenant, and of others in its 64th. Run as the owner.';

do $$
declare
    v_table text;
begin
    foreach v_table in array array['pending_costs', 'quota_rollups', 'quota_reservations']
    loop
        execute pg_catalog.format('create trigger rows_changed after insert or update or delete or truncate '
            'on copilot_internal.%I for each statement execute function copilot_internal.rows_changed()', v_table);
        -- A subscription fires no triggers of statements.
        execute pg_catalog.format('create trigger replicated_rows_changed after insert or update or delete '
            'on copilot_internal.%I for each row execute function copilot_internal.rows_changed()', v_table);
    end loop;
end $$;

-- All of these fire always, also for what a subscription brings. `enable trigger all` makes them deaf to that.
create function copilot_internal.arm_triggers() returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_trigger record;
    v_armed bigint := 0;
    v_lock_timeout text := current_setting('lock_timeout');
begin
    for v_trigger in
        select c.relname as relation, t.tgname as name, w.enabled,
               case w.enabled when 'R' then 'replica' else 'always' end as way
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        join pg_proc p on p.oid = t.tgfoid
        cross join lateral (select case when t.tgname like 'replicated%' then 'R' else 'A' end) as w (enabled)
        where c.relnamespace = 'copilot_internal'::regnamespace and p.pronamespace = c.relnamespace
          and p.proname in ('configuration_changed', 'definitions_changed', 'rows_changed', 'lock_platform')
          and t.tgenabled not in ('D', w.enabled) and not t.tgisinternal
        order by c.relname, t.tgname
    loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            execute format('alter table copilot_internal.%I enable %s trigger %I', v_trigger.relation, v_trigger.way,
                v_trigger.name);
            v_armed := v_armed + 1;
        exception when lock_not_available then
            -- Somebody writes the table: the next time.
            null;
        end;
    end loop;
    perform set_config('lock_timeout', v_lock_timeout, true);
    return v_armed;
end $$;
comment on function copilot_internal.arm_triggers() is
    'Has the triggers that tell of changes fire always again after `alter table ... enable trigger all`; returns how '
    'many did not. One that is disabled stays so. maintain() does it. Run as the owner.';
select copilot_internal.arm_triggers();
