-- How sessions hear that configuration has changed. Triggers that only tell name no relation, change nothing and
-- fire always: during a restore and for replicated rows, too.

create function copilot_internal.configuration_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'configuration_changed_wrapper';
comment on function copilot_internal.configuration_changed() is
    'Tells every session at commit that rows of this table have changed, by an invalidation message of Postgres'' own: what sessions keep of configuration is never behind what was acknowledged.';

create function copilot_internal.definitions_changed() returns trigger
    language c as 'MODULE_PATHNAME', 'definitions_changed_wrapper';
comment on function copilot_internal.definitions_changed() is
    'Says which quotas will come or go with this transaction: those of the tenant in the named column (of the platform where it is NULL), or of all without one. See the lock protocol in the library''s crate escrow.';

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
        execute pg_catalog.format('create trigger configuration_changed after insert or update or delete or truncate '
            'on copilot_internal.%I for each statement execute function copilot_internal.configuration_changed()',
            v_table);
        execute pg_catalog.format('alter table copilot_internal.%I enable always trigger configuration_changed', v_table);
    end loop;
    alter table copilot_internal.cost_quotas enable always trigger lock_platform;
end $$;
