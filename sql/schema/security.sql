-- Row level security, grants, and what a dump holds. Nothing is left to default privileges: everything that is open is
-- granted here, and everything else is taken from PUBLIC and the API roles, whatever the server's defaults gave them.

do $$
declare
    v_object record;
    v_table text;
    v_filter text;
    v_tenant_filter constant text := 'tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])';
begin
    -- Whatever default privileges have granted on the extension's objects is taken back first.
    for v_object in
        select case d.classid when 'pg_catalog.pg_proc'::regclass then 'function '
                   || d.objid::regprocedure::text else 'table ' || d.objid::regclass::text end as name
        from pg_catalog.pg_depend d
        where d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate')
          and (d.classid = 'pg_catalog.pg_proc'::regclass
               or d.classid = 'pg_catalog.pg_class'::regclass
                  and (select relkind in ('r', 'v') from pg_catalog.pg_class where oid = d.objid))
    loop
        execute pg_catalog.format('revoke all on %s from public, anon, authenticated, service_role, metrics_reader',
            v_object.name);
    end loop;

    -- One policy per role and action. Kernels act as the owner, whom row level security does not bind.
    for v_table, v_filter in
        select * from (values
            ('tenants', 'id = any ((select copilot_internal.caller_tenants())::uuid[])'),
            ('tenant_memberships', v_tenant_filter),
            ('user_preferences', 'user_id = (select copilot_internal.caller_user())'),
            ('model_pricing', 'tenant_id is null or ' || v_tenant_filter),
            ('e2b_pricing', 'tenant_id is null or ' || v_tenant_filter),
            ('model_aliases', 'true'),
            ('price_markups', null),
            ('llm_cost_estimates', 'tenant_id is null or ' || v_tenant_filter),
            ('e2b_cost_estimates', 'tenant_id is null or ' || v_tenant_filter),
            ('shipped_model_prices', 'true'),
            ('shipped_sandbox_prices', 'true'),
            ('shipped_operation_profiles', 'true'),
            ('cost_quotas', v_tenant_filter),
            ('default_quotas', null),
            ('llm_cost_records', v_tenant_filter),
            ('e2b_cost_records', v_tenant_filter),
            ('quota_charges', v_tenant_filter),
            ('cost_corrections', v_tenant_filter),
            ('quota_reservations', v_tenant_filter),
            ('reservation_extensions', v_tenant_filter),
            ('pending_costs', v_tenant_filter),
            ('quota_rollups', v_tenant_filter),
            ('cost_rollups', v_tenant_filter),
            ('conversation_rollups', v_tenant_filter)
        ) as tables (name, filter)
    loop
        execute pg_catalog.format('alter table copilot_internal.%I enable row level security', v_table);
        execute pg_catalog.format(
            'create policy service_role_all on copilot_internal.%I to service_role using (true) with check (true)',
            v_table);
        execute pg_catalog.format('grant select on copilot_internal.%I to service_role', v_table);
        if v_filter is not null then
            execute pg_catalog.format('create policy authenticated_read on copilot_internal.%I for select to authenticated using (%s)',
                v_table, v_filter);
            execute pg_catalog.format('grant select on copilot_internal.%I to authenticated', v_table);
        end if;
    end loop;

    -- Configuration is written by the application's server; money only by the functions.
    for v_table in
        select unnest(array['tenants', 'tenant_memberships', 'user_preferences', 'model_pricing', 'e2b_pricing', 'model_aliases',
            'price_markups', 'llm_cost_estimates', 'e2b_cost_estimates', 'cost_quotas', 'default_quotas'])
    loop
        execute pg_catalog.format('grant insert, update, delete on copilot_internal.%I to service_role', v_table);
    end loop;

    -- Rows of data are dumped with the database; what ships comes back with the extension.
    for v_table in
        select unnest(array['tenants', 'tenant_memberships', 'user_preferences', 'model_pricing', 'e2b_pricing',
            'model_aliases', 'price_markups',
            'llm_cost_estimates', 'e2b_cost_estimates', 'cost_quotas', 'default_quotas', 'llm_cost_records',
            'e2b_cost_records', 'quota_charges', 'cost_corrections', 'quota_reservations',
            'reservation_extensions', 'pending_costs', 'quota_rollups', 'cost_rollups',
            'conversation_rollups'])
    loop
        perform pg_catalog.pg_extension_config_dump(pg_catalog.format('copilot_internal.%I', v_table)::regclass, '');
    end loop;
end $$;

-- An application's own tables may refer to tenants.
grant references on copilot_internal.tenants to service_role;

grant usage on schema copilot_internal to authenticated, service_role;
grant usage on schema public to authenticated, service_role;
grant usage on schema metrics to authenticated, service_role, metrics_reader;
grant select on metrics.llm_costs, metrics.e2b_costs, metrics.llm_costs_daily, metrics.e2b_costs_daily,
    metrics.cost_by_user, metrics.cost_by_conversation, metrics.tenant_total_costs, metrics.quota_status,
    metrics.cost_estimates, metrics.admission to authenticated, service_role, metrics_reader;
-- Views to come get the same readers, whether a superuser or Supabase's postgres makes them.
alter default privileges in schema metrics grant select on tables to authenticated, service_role, metrics_reader;
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'postgres') then
        grant create on schema metrics to postgres;
        alter default privileges for role postgres in schema metrics
            grant select on tables to authenticated, service_role, metrics_reader;
    end if;
end $$;

-- A view needs its reader's right to execute what it calls.
grant execute on function copilot_internal.caller_sees_all(), copilot_internal.caller_tenants(),
    copilot_internal.period_bounds(text, text, timestamptz), copilot_internal.is_time_zone(text) to authenticated, service_role, metrics_reader;
grant execute on function copilot_internal.admission_counters() to authenticated, service_role, metrics_reader;
grant execute on function copilot_internal.caller_user(), copilot_internal.check_confidence_level(text),
    copilot_internal.check_own_tenant(uuid)
    to authenticated, service_role;
grant execute on function copilot_internal.price_problem(numeric, numeric, jsonb),
    copilot_internal.adjust_quota(uuid, numeric, text, text),
    copilot_internal.reprice(timestamptz, timestamptz, boolean, bigint),
    copilot_internal.read_price_list(jsonb), copilot_internal.price_list(text),
    copilot_internal.price_values(numeric, numeric, jsonb),
    copilot_internal.import_model_pricing(jsonb, text, timestamptz, boolean, boolean),
    copilot_internal.export_model_pricing(timestamptz),
    copilot_internal.maintain(integer), copilot_internal.verify(), copilot_internal.pending() to service_role;

grant execute on function
    public.check_quota_before_operation(uuid, text, numeric, uuid),
    public.has_quota(uuid, text, numeric, uuid),
    public.require_quota(uuid, text, numeric, uuid),
    public.get_tenant_cost_summary(uuid, timestamptz, timestamptz),
    public.estimate_llm_cost(text, text, bigint, bigint, jsonb, text, uuid),
    public.estimate_e2b_cost(text, numeric, text, numeric, numeric, uuid),
    public.normalize_llm_usage(text, jsonb),
    public.get_llm_cost_estimate(text, text, text, text, uuid),
    public.get_e2b_cost_estimate(text, text, text, text, uuid),
    public.get_current_tenant_id(uuid)
    to authenticated, service_role;
grant execute on function
    public.check_and_record_quota_atomic(text, uuid, numeric, text, uuid, text),
    public.record_llm_cost(uuid, text, text, bigint, bigint, uuid, uuid, uuid, text, jsonb, text, numeric, text, uuid, boolean, timestamptz, text, text, jsonb),
    public.record_e2b_cost(uuid, text, text, numeric, uuid, uuid, uuid, text, numeric, numeric, numeric, text, uuid, boolean, timestamptz, jsonb),
    public.record_llm_costs(jsonb),
    public.reserve_quota(uuid, text, numeric, text, uuid, interval, jsonb),
    public.commit_reservation(uuid, numeric, text, uuid),
    public.release_reservation(uuid, text, uuid),
    public.extend_reservation(uuid, interval, numeric, text, uuid),
    public.refund_cost(uuid, numeric, text, text, uuid),
    public.set_quota(text, uuid, text, numeric, text, uuid, text, text, numeric),
    public.set_model_price(text, text, numeric, numeric, timestamptz, jsonb, uuid)
    to service_role;
