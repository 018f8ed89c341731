-- How sessions hear that configuration has changed. Triggers that only tell name no relation, change nothing and
-- fire always: during a restore and for replicated rows, too.

create function copilot_internal.configuration_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'configuration_changed_wrapper';
comment on function copilot_internal.configuration_changed() is
    'Tells every session at commit that rows of this table have changed, by an invalidation message of Postgres'' own. '
    'What sessions keep of configuration is never behind what was acknowledged.';

create function copilot_internal.people_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'people_changed_wrapper';
comment on function copilot_internal.people_changed() is
    'The same for what sessions keep of memberships alone: what people do among themselves makes no session forget '
    'quotas and prices.';

create function copilot_internal.definitions_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'definitions_changed_wrapper';
comment on function copilot_internal.definitions_changed() is
    'Says which quotas will come or go with this transaction: those of the tenant in the named column, of the platform '
    'where it is NULL. Without a column: of all. See the lock protocol in the library''s crate escrow.';

create trigger definitions_changed after insert or delete on copilot_internal.cost_quotas
    for each row execute function copilot_internal.definitions_changed('tenant_id');
create trigger definitions_changed after insert or delete or update of id, plan on copilot_internal.tenants
    for each row execute function copilot_internal.definitions_changed('id');
create trigger definitions_changed after insert or delete or update on copilot_internal.default_quotas
    for each statement execute function copilot_internal.definitions_changed();

do $$
declare
    v_table text;
begin
    for v_table in
        select unnest(array['cost_quotas', 'tenants', 'default_quotas'])
    loop
        execute pg_catalog.format('create trigger all_definitions_changed after truncate on copilot_internal.%I '
            'for each statement execute function copilot_internal.definitions_changed()', v_table);
        execute pg_catalog.format('alter table copilot_internal.%I enable always trigger definitions_changed, '
            'enable always trigger all_definitions_changed', v_table);
    end loop;
    for v_table in
        select unnest(array['cost_quotas', 'default_quotas', 'quota_overrides', 'tenants', 'tenant_memberships',
            'user_preferences', 'tenant_llm_policies', 'model_pricing', 'e2b_pricing', 'shipped_model_prices',
            'shipped_sandbox_prices', 'model_aliases', 'price_markups'])
    loop
        -- Of a tenant only that it is there and its plan say which quotas and prices apply; who owns it, people.
        execute pg_catalog.format('create trigger configuration_changed after insert or update%s or delete or truncate '
            'on copilot_internal.%I for each statement execute function copilot_internal.configuration_changed()',
            case v_table when 'tenants' then ' of id, plan, deleted_at' end, v_table);
        execute pg_catalog.format(
            'alter table copilot_internal.%I enable always trigger configuration_changed', v_table);
    end loop;
    create trigger people_changed after update of owner_id on copilot_internal.tenants
        for each statement execute function copilot_internal.people_changed();
    alter table copilot_internal.tenants enable always trigger people_changed;
    alter table copilot_internal.cost_quotas enable always trigger lock_platform;
end $$;

-- What counters are read from: rows that the kernels did not write, be it by an import, a repair or a subscription.
create function copilot_internal.rows_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'rows_changed_wrapper';
comment on function copilot_internal.rows_changed() is
    'Reads all counters anew from the tables once a transaction has committed in which anything but the kernels and '
    'the fold wrote rows of this table.';

create function copilot_internal.reload_counters() returns bigint
    language c volatile as 'MODULE_PATHNAME', 'reload_counters_wrapper';
comment on function copilot_internal.reload_counters() is
    'Has the counters of this database read anew from the tables once the transaction has committed, and returns how '
    'many there were. Rows that arrive by INSERT, UPDATE, DELETE, TRUNCATE, COPY or a subscription do so by '
    'themselves; this is for what no trigger sees.';

create function copilot_internal.reload_tenant_counters(p_tenant_id uuid) returns void
    language c volatile strict as 'MODULE_PATHNAME', 'reload_tenant_counters_wrapper';
comment on function copilot_internal.reload_tenant_counters(uuid) is
    'The same for the counters of one tenant, and of others in its 64th. Run as the owner.';

do $$
declare
    v_table text;
begin
    for v_table in
        select unnest(array['pending_costs', 'quota_rollups', 'quota_reservations'])
    loop
        execute pg_catalog.format('create trigger rows_changed after insert or update or delete or truncate '
            'on copilot_internal.%I for each statement execute function copilot_internal.rows_changed()', v_table);
        -- A subscription fires no triggers of statements.
        execute pg_catalog.format('create trigger replicated_rows_changed after insert or update or delete '
            'on copilot_internal.%I for each row execute function copilot_internal.rows_changed()', v_table);
        execute pg_catalog.format('alter table copilot_internal.%I enable always trigger rows_changed, '
            'enable replica trigger replicated_rows_changed', v_table);
    end loop;
end $$;
