-- Row level security, grants, and what a dump holds. Nothing is left to default privileges: everything that is open is
-- granted here, and everything else is taken from PUBLIC and the API roles, whatever the server's defaults gave them.

create function copilot_internal.grant_api_roles() returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $grants$
declare
    v_tenant_filter constant text := 'tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])';
    -- What users do and spend is for themselves, owners and admins, unless the tenant shares it. What no user was named
    -- for is the tenant's, as its totals are.
    v_shared constant text := 'tenant_id = any ((select copilot_internal.caller_open_tenants())::uuid[])';
    v_users constant text := v_tenant_filter || ' and (user_id is null or user_id in ((select '
        'copilot_internal.caller_user()), ''00000000-0000-0000-0000-000000000000'') or ' || v_shared || ')';
    -- Ids and costs of conversations tell about colleagues: a member sees those that they may read. A path without its
    -- conversation is of none that they may.
    v_conversations constant text := ' and (coalesce(conversation_id, path_id) is null or user_id = (select '
        'copilot_internal.caller_user()) or copilot_internal.caller_sees_costs_of(tenant_id, '
        'coalesce(conversation_id, path_id)))';
    -- Estimates from history are named by tasks.
    v_tasks constant text := ' and (not from_history or operation_type = ''chat'' '
        'or ' || v_shared || ')';
    v_grant record;
    v_policy record;
begin
    for v_grant in
        select g.privileges, g.object, r.role
        from (values
            ('usage', 'schema copilot_internal', array['authenticated', 'service_role']),
            ('usage', 'schema public', array['authenticated', 'service_role']),
            ('usage', 'schema metrics', array['authenticated', 'service_role', 'metrics_reader']),
            -- Read by people through row level security; written by the server, as configuration.
            ('select', 'copilot_internal.tenants, copilot_internal.tenant_memberships, '
                'copilot_internal.user_preferences, copilot_internal.tenant_llm_policies, '
                'copilot_internal.model_pricing, copilot_internal.e2b_pricing, '
                'copilot_internal.llm_cost_estimates, copilot_internal.e2b_cost_estimates, '
                'copilot_internal.cost_quotas, copilot_internal.quota_overrides, copilot_internal.model_aliases',
                array['authenticated']),
            ('select, insert, update, delete', 'copilot_internal.tenants, copilot_internal.tenant_memberships, '
                'copilot_internal.user_preferences, copilot_internal.tenant_llm_policies, '
                'copilot_internal.model_pricing, copilot_internal.e2b_pricing, '
                'copilot_internal.llm_cost_estimates, copilot_internal.e2b_cost_estimates, '
                'copilot_internal.cost_quotas, copilot_internal.default_quotas, copilot_internal.quota_overrides, '
                'copilot_internal.model_aliases, copilot_internal.price_markups', array['service_role']),
            -- Money is written by the kernels alone.
            ('select', 'copilot_internal.llm_cost_records, copilot_internal.e2b_cost_records, '
                'copilot_internal.cost_corrections, copilot_internal.cost_rollups, copilot_internal.period_rollups, '
                'copilot_internal.total_rollups', array['service_role']),
            ('select', 'copilot_internal.quota_events, copilot_internal.quota_charges, '
                'copilot_internal.quota_reservations, copilot_internal.reservation_extensions, '
                'copilot_internal.pending_costs, copilot_internal.quota_rollups, '
                'copilot_internal.user_rollups, copilot_internal.conversation_rollups, '
                'copilot_internal.shipped_model_prices, copilot_internal.shipped_sandbox_prices, '
                'copilot_internal.shipped_operation_profiles', array['authenticated', 'service_role']),
            ('select', 'copilot_internal.purged_costs, copilot_internal.retired_costs, copilot_internal.erasures, '
                'copilot_internal.queue_starts',
                array['service_role']),
            -- An application's own tables may refer to tenants.
            ('references', 'copilot_internal.tenants', array['service_role']),
            ('select', 'metrics.llm_costs, metrics.e2b_costs, metrics.llm_costs_daily, metrics.e2b_costs_daily, '
                'metrics.cost_by_user, metrics.cost_by_conversation, metrics.tenant_total_costs, metrics.quota_status, '
                'metrics.cost_estimates, metrics.admission, metrics.tenants_without_quota',
                array['authenticated', 'service_role', 'metrics_reader']),
            ('select', 'metrics.margins, metrics.housekeeping', array['service_role', 'metrics_reader']),
            -- A view needs its reader's right to execute what it calls, a constraint its writer's.
            ('execute', 'function copilot_internal.caller_sees_all(), copilot_internal.caller_tenants(), '
                'copilot_internal.caller_open_tenants(), copilot_internal.caller_sees_costs_of(uuid, uuid), '
                'copilot_internal.caller_user(), copilot_internal.period_parts(text, text, timestamptz), '
                'copilot_internal.period_bounds(text, text, timestamptz), copilot_internal.is_time_zone(text), '
                'copilot_internal.admission_counters()',
                -- The last has the right to read every view from Postgres itself.
                array['authenticated', 'service_role', 'metrics_reader', 'pg_read_all_data']),
            ('execute', 'function copilot_internal.check_confidence_level(text), '
                'copilot_internal.raise_refusal(jsonb, integer), copilot_internal.check_own_tenant(uuid)',
                array['authenticated', 'service_role']),
            ('execute', 'procedure copilot_internal.housekeep(interval)', array['service_role']),
            ('execute', 'function copilot_internal.price_problem(numeric, numeric, jsonb), '
                'copilot_internal.policy_problem(text, text, jsonb, jsonb, jsonb, jsonb, text, jsonb, jsonb), '
                'copilot_internal.adjust_quota(uuid, numeric, text, text, uuid), copilot_internal.charge_on_insert(), '
                'copilot_internal.reprice(timestamptz, timestamptz, boolean, bigint, text), '
                'copilot_internal.read_price_list(jsonb), copilot_internal.price_list(text), '
                'copilot_internal.price_values(numeric, numeric, jsonb), '
                'copilot_internal.import_model_pricing(jsonb, text, timestamptz, boolean, boolean, text), '
                'copilot_internal.export_model_pricing(timestamptz, text), '
                'copilot_internal.maintain(integer, interval), copilot_internal.verify(), '
                'copilot_internal.verify_counters(), '
                'copilot_internal.reload_counters(), copilot_internal.pending(), copilot_internal.holdings(), '
                'copilot_internal.router_functions(), copilot_internal.router_views(), '
                'copilot_internal.router_frame(integer), copilot_internal.router_own_body(text), '
                'copilot_internal.router_batch_body(text, text[]), '
                'copilot_internal.router_function(text, text, text, text, text, text), '
                'copilot_internal.router_plproxy(integer), copilot_internal.router_citus(), '
                'copilot_internal.router_sql(text, integer)',
                array['service_role']),
            -- Looking, and what people do with their tenants: the kernels decide who may.
            ('execute', 'function public.check_quota_before_operation(uuid, text, numeric, uuid), '
                'public.has_quota(uuid, text, numeric, uuid), public.require_quota(uuid, text, numeric, uuid), '
                'public.get_tenant_cost_summary(uuid, timestamptz, timestamptz), '
                'public.estimate_llm_cost(text, text, bigint, bigint, jsonb, text, uuid), '
                'public.normalize_llm_usage(text, jsonb), '
                'public.estimate_e2b_cost(text, numeric, text, numeric, numeric, uuid, text, numeric, numeric, '
                'numeric, numeric), '
                'public.get_llm_cost_estimate(text, text, text, text, uuid), '
                'public.get_e2b_cost_estimate(text, text, text, text, uuid), '
                'public.get_current_tenant_id(uuid), public.get_user_tenants(uuid), '
                'public.verify_tenant_access(uuid, uuid), public.create_personal_tenant(uuid, text, uuid), '
                'public.create_tenant(text, text, text, text, uuid, uuid), public.invite_member(uuid, uuid, text), '
                'public.accept_invitation(uuid, uuid), public.set_member_role(uuid, uuid, text), '
                'public.remove_member(uuid, uuid), public.switch_tenant(uuid, uuid), public.delete_tenant(uuid), '
                'public.resolve_llm_policy(uuid, text, uuid)', array['authenticated', 'service_role']),
            ('execute', 'function '
                'public.check_and_record_quota_atomic(text, uuid, numeric, text, uuid, text, boolean), '
                'public.record_llm_cost(uuid, text, text, bigint, bigint, uuid, uuid, uuid, text, jsonb, text, '
                'numeric, text, uuid, boolean, timestamptz, text, text, jsonb, boolean), '
                'public.record_llm_usage(uuid, text, text, jsonb, uuid, uuid, uuid, text, text, numeric, text, uuid, '
                'boolean, timestamptz, text, text, jsonb, boolean), '
                'public.record_e2b_cost(uuid, text, text, numeric, uuid, uuid, uuid, text, numeric, numeric, numeric, '
                'text, uuid, boolean, timestamptz, jsonb, boolean, text, numeric, numeric, numeric, numeric), '
                'public.record_llm_costs(jsonb), public.record_e2b_costs(jsonb), '
                'public.set_sandbox_price(text, text, jsonb, timestamptz, text, uuid), '
                'public.reserve_quota(uuid, text, numeric, text, uuid, interval, jsonb, boolean), '
                'public.commit_reservation(uuid, numeric, text, uuid), public.release_reservation(uuid, text, uuid), '
                'public.extend_reservation(uuid, interval, numeric, text, uuid), '
                'public.refund_cost(uuid, numeric, text, text, uuid), '
                'public.set_quota(text, uuid, text, numeric, text, uuid, text, text, numeric, numeric[], boolean), '
                'public.raise_quota(uuid, numeric, timestamptz, timestamptz, text, uuid), '
                'public.claim_quota_events(integer, interval, uuid), public.acknowledge_quota_events(uuid[], uuid), '
                'public.set_model_price(text, text, numeric, numeric, timestamptz, jsonb, uuid), '
                'public.set_llm_policy(uuid, jsonb), public.initialize_tenant_quotas(uuid), '
                'public.erase_user(uuid, uuid), public.export_user_data(uuid, uuid, text, integer), '
                'public.purge_tenant(uuid), public.redact_cost_metadata(uuid, uuid)', array['service_role'])
        ) as g (privileges, object, roles)
        cross join lateral unnest(g.roles) as r (role)
        where exists (select from pg_catalog.pg_roles p where p.rolname = r.role)
    loop
        execute format('grant %s on %s to %I', v_grant.privileges, v_grant.object, v_grant.role);
    end loop;

    -- Members read what they pay, and not what the provider bills: the operator's factor is no business of theirs. What
    -- is not understood of a report stays in usage, be it a cost or what a colleague asked.
    if exists (select from pg_catalog.pg_roles p where p.rolname = 'authenticated') then
        for v_grant in
            select a.attrelid::regclass as object, string_agg(format('%I', a.attname), ', ') as columns
            from pg_catalog.pg_attribute a
            where a.attrelid in ('copilot_internal.llm_cost_records'::regclass,
                  'copilot_internal.e2b_cost_records'::regclass, 'copilot_internal.cost_corrections'::regclass,
                  'copilot_internal.cost_rollups'::regclass, 'copilot_internal.period_rollups'::regclass,
                  'copilot_internal.total_rollups'::regclass)
              and a.attnum > 0 and not a.attisdropped
              and a.attname not in ('provider_cost_usd', 'reported_cost_usd', 'usage')
            group by a.attrelid
        loop
            execute format('grant select (%s) on %s to authenticated', v_grant.columns, v_grant.object);
        end loop;
    end if;

    -- One policy per role and action. Kernels act as the owner, which row level security does not bind.
    for v_policy in
        select p.name, 'copilot_internal.' || t.name as relation, p.role, p.rest
        from (values
            ('tenants', 'id = any ((select copilot_internal.caller_tenants())::uuid[])'),
            ('tenant_memberships', v_tenant_filter),
            ('user_preferences', 'user_id = (select copilot_internal.caller_user())'),
            ('tenant_llm_policies', v_tenant_filter),
            ('model_pricing', 'tenant_id is null or ' || v_tenant_filter),
            ('e2b_pricing', 'tenant_id is null or ' || v_tenant_filter),
            ('model_aliases', 'true'),
            ('price_markups', null),
            ('llm_cost_estimates', 'tenant_id is null or (' || v_tenant_filter || v_tasks || ')'),
            ('e2b_cost_estimates', 'tenant_id is null or ' || v_tenant_filter),
            ('shipped_model_prices', 'true'),
            ('shipped_sandbox_prices', 'true'),
            ('shipped_operation_profiles', 'true'),
            ('cost_quotas', v_tenant_filter),
            ('default_quotas', null),
            ('quota_overrides', v_tenant_filter),
            -- The user that an event is about, as in quota_events_user_idx.
            ('quota_events', v_tenant_filter || ' and (coalesce(payload ->> ''user_id'', case payload ->> ''scope'' '
                || 'when ''user'' then payload ->> ''scope_id'' end, '''') in ('''', '
                || '(select copilot_internal.caller_user())::text) or ' || v_shared || ')'),
            ('llm_cost_records', v_users || v_conversations),
            ('e2b_cost_records', v_users || v_conversations),
            ('quota_charges', v_users),
            ('cost_corrections', v_users || v_conversations),
            ('quota_reservations', v_users),
            ('reservation_extensions', v_tenant_filter || ' and exists (select from copilot_internal.quota_reservations'
                || ' h where h.id = reservation_extensions.reservation_id '
                || 'and h.tenant_id = reservation_extensions.tenant_id)'),
            ('pending_costs', v_users),
            ('quota_rollups', v_users),
            ('cost_rollups', v_users),
            ('period_rollups', v_tenant_filter),
            ('total_rollups', v_tenant_filter),
            ('user_rollups', v_users),
            -- The nil UUID is no conversation that they may read.
            ('conversation_rollups', v_tenant_filter
                || ' and copilot_internal.caller_sees_costs_of(tenant_id, conversation_id)'),
            ('purged_costs', null),
            ('retired_costs', null),
            ('erasures', null),
            ('queue_starts', null)
        ) as t (name, filter)
        cross join lateral (values
            ('authenticated_read', 'authenticated', 'for select to authenticated using (' || t.filter || ')'),
            -- For a service_role that was made without BYPASSRLS.
            ('service_role_all', 'service_role', 'to service_role using (true) with check (true)')
        ) as p (name, role, rest)
        where p.rest is not null
          and exists (select from pg_catalog.pg_roles r where r.rolname = p.role)
          and not exists (select from pg_catalog.pg_policy o
                          where o.polrelid = ('copilot_internal.' || t.name)::regclass and o.polname = p.name)
    loop
        execute format('create policy %I on %s %s', v_policy.name, v_policy.relation, v_policy.rest);
    end loop;

    -- Views to come are for those who may see all tenants, whether a superuser or Supabase's postgres makes them: they
    -- run with their maker's rights, and nothing says that they filter.
    for v_grant in
        select r.role, m.clause
        from unnest(array['service_role', 'metrics_reader']) as r (role)
        cross join (values (null, ''), ('postgres', 'for role postgres ')) as m (maker, clause)
        where exists (select from pg_catalog.pg_roles p where p.rolname = r.role)
          and (m.maker is null or exists (select from pg_catalog.pg_roles p where p.rolname = m.maker))
    loop
        execute format('alter default privileges %sin schema metrics grant select on tables to %I',
            v_grant.clause, v_grant.role);
    end loop;
    if exists (select from pg_catalog.pg_roles p where p.rolname = 'postgres') then
        grant create on schema metrics to postgres;
    end if;
end $grants$;
comment on function copilot_internal.grant_api_roles() is
    'Gives authenticated, service_role, metrics_reader and postgres, as far as they exist, the grants and policies of '
    'a new installation. For the extension''s owner, when one of these roles was made, or made again, after it; takes '
    'nothing away.';

do $$
declare
    v_object record;
    v_table text;
begin
    -- Running something else with the owner's rights gains nothing: the owner has none but these. Functions are run as
    -- it, and tables reached, because it owns them.
    for v_object in
        select case
                   when d.classid = 'pg_catalog.pg_proc'::regclass then 'routine ' || d.objid::regprocedure::text
                   when c.relkind = 'v' then 'view ' || d.objid::regclass::text
                   else 'table ' || d.objid::regclass::text
               end as name
        from pg_catalog.pg_depend d
        left join pg_catalog.pg_class c on d.classid = 'pg_catalog.pg_class'::regclass and c.oid = d.objid
        where d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate')
          and (d.classid = 'pg_catalog.pg_proc'::regclass or c.relkind in ('r', 'v'))
    loop
        execute pg_catalog.format('alter %s owner to tollgate_owner', v_object.name);
    end loop;

    -- Whatever default privileges have granted on the extension's objects is taken back first.
    for v_object in
        select case d.classid when 'pg_catalog.pg_proc'::regclass then 'routine '
                   || d.objid::regprocedure::text else 'table ' || d.objid::regclass::text end as name
        from pg_catalog.pg_depend d
        where d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate')
          and (d.classid = 'pg_catalog.pg_proc'::regclass
               or d.classid = 'pg_catalog.pg_class'::regclass
                  and (select relkind in ('r', 'v') from pg_catalog.pg_class where oid = d.objid))
    loop
        execute pg_catalog.format('revoke all on %s from public, anon, authenticated, service_role, metrics_reader, '
            'pg_read_all_data',
            v_object.name);
    end loop;

    for v_table in
        select c.relname
        from pg_catalog.pg_depend d
        join pg_catalog.pg_class c on c.oid = d.objid
        where d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'e' and c.relkind = 'r'
          and d.refclassid = 'pg_catalog.pg_extension'::regclass
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate')
    loop
        execute pg_catalog.format('alter table copilot_internal.%I enable row level security', v_table);
    end loop;

    -- Rows of data are dumped with the database; what ships comes back with the extension.
    for v_table in
        select unnest(array['tenants', 'tenant_memberships', 'user_preferences', 'tenant_llm_policies', 'model_pricing',
            'e2b_pricing', 'model_aliases', 'price_markups', 'llm_cost_estimates', 'e2b_cost_estimates', 'cost_quotas',
            'default_quotas', 'quota_overrides', 'quota_events', 'llm_cost_records', 'e2b_cost_records',
            'quota_charges', 'cost_corrections', 'quota_reservations', 'reservation_extensions', 'pending_costs',
            'quota_rollups', 'cost_rollups', 'period_rollups', 'total_rollups', 'user_rollups', 'conversation_rollups',
            'purged_costs', 'retired_costs', 'erasures'])
    loop
        perform pg_catalog.pg_extension_config_dump(pg_catalog.format('copilot_internal.%I', v_table)::regclass, '');
    end loop;
end $$;

select copilot_internal.grant_api_roles();
