-- Row level security, grants, and what a dump holds: as in the core, nothing is left to default privileges. Functions
-- are granted by their names: each has one signature, in public and in copilot_internal.

create function copilot_internal.conversation_grants()
    returns table (privileges text, object text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        -- Read by people through row level security.
        ('select', 'copilot_internal.conversations, copilot_internal.conversation_paths, '
            'copilot_internal.conversation_messages', array['authenticated', 'service_role']),
        ('select', 'copilot_internal.conversation_path_segments', array['service_role']),
        -- The application's own tables may refer to these.
        ('references', 'copilot_internal.conversations, copilot_internal.conversation_messages',
            array['service_role']),
        -- The application's stores write these columns; numbers, counters, segments and states are the functions'.
        ('insert (tenant_id, user_id, share_audience, tenant_access, authorization_model, authorization_spec, title, '
            'persona_id, jurisdictions, active_path_id, archived_at, expires_at, trace_id, root_span_name, '
            'root_span_id, metadata, last_message_at), '
            'update (share_audience, tenant_access, authorization_model, authorization_spec, title, persona_id, '
            'jurisdictions, active_path_id, archived_at, expires_at, trace_id, root_span_name, root_span_id, '
            'metadata, updated_at, last_message_at)', 'copilot_internal.conversations', array['service_role']),
        ('insert (conversation_id, tenant_id, parent_path_id, branch_point_message_id, name, description, is_primary, '
            'is_active), update (name, description, is_active, merged_to_path_id, merged_at, '
            'merge_summary_message_id, merge_mode, updated_at), delete', 'copilot_internal.conversation_paths',
            array['service_role']),
        ('insert (conversation_id, path_id, tenant_id, user_id, role, content, parts, metadata, token_count, '
            'message_type, trace_id, root_span_name, root_span_id), update (metadata)',
            'copilot_internal.conversation_messages', array['service_role']),
        -- A default is its writer's to call.
        ('execute', 'function copilot_internal.new_id()', array['service_role'])
    ) as g (privileges, object, roles)
$$;
comment on function copilot_internal.conversation_grants() is
    'What grant_conversation_roles() grants of conversations, paths and messages.';

create function copilot_internal.conversation_policies() returns table (name text, filter text)
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        ('conversations', 'tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]) '
            'and erasing_at is null '
            'and (user_id = (select copilot_internal.caller_user()) or effective_audience <> ''private'')'),
        ('conversation_paths', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_paths.tenant_id)'),
        ('conversation_path_segments', null),
        ('conversation_messages', 'deleted_at is null and exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_messages.tenant_id)')
    ) as p (name, filter)
$$;
comment on function copilot_internal.conversation_policies() is
    'The tables of conversations, paths and messages, with what people see. A policy asks the one of conversations.';

create function copilot_internal.conversation_function_roles() returns table (name text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select f.name, array['service_role'] || case f.is_for_people when true then '{authenticated}' else '{}' end::text[]
    from (values
        ('create_conversation', true), ('list_conversations', true), ('set_conversation_sharing', true),
        ('can_read_conversation', true), ('append_message', true), ('append_plain_message', true),
        ('append_messages', false),
        ('finish_message', false), ('get_path_messages', true), ('get_path_context', true),
        ('branch_from_message', true), ('set_active_path', true), ('ensure_primary_path', true),
        ('update_path', true), ('merge_path', true), ('delete_message', true), ('resolve_path_messages', true),
        ('get_path_ancestors', true), ('pin_message', true), ('unpin_message', true), ('get_pinned_messages', true),
        ('get_pinned_message_count', true), ('conversation_store_healthcheck', false), ('current_tenant_id', true)
    ) as f (name, is_for_people)
$$;
comment on function copilot_internal.conversation_function_roles() is
    'Who may call the functions of conversations, paths and messages. The functions ask again.';

create function copilot_internal.members_of_conversations()
    returns table (kind text, object text, relation regclass, name text)
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when d.classid = 'pg_proc'::regclass then 'function' when c.relkind = 'v' then 'view' else 'table' end,
           case when d.classid = 'pg_proc'::regclass then d.objid::regprocedure::text
                else d.objid::regclass::text end,
           case when d.classid = 'pg_class'::regclass then d.objid::regclass end,
           coalesce(p.proname, c.relname)
    from pg_depend d
    left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    left join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
    where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
      and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate_conversations')
      and (p.oid is not null or c.relkind in ('r', 'v'))
$$;
comment on function copilot_internal.members_of_conversations() is
    'The tables, views and functions of pg_tollgate_conversations.';

create function copilot_internal.grant_conversation_roles() returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_grant record;
    v_policy record;
begin
    for v_grant in
        select g.privileges, g.object, r.role
        from (
            select * from copilot_internal.conversation_grants()
            union all
            select * from copilot_internal.upkeep_grants()
            union all
            select 'execute', 'function ' || m.object, f.roles
            from copilot_internal.members_of_conversations() m
            join copilot_internal.conversation_function_roles() f on f.name = m.name and m.kind = 'function'
            union all
            select 'select', m.object, array['authenticated', 'service_role']
            from copilot_internal.members_of_conversations() m
            where m.kind = 'view' and m.name in ('conversations_view', 'conversation_messages_view',
                                                 'conversation_paths_view')
        ) g
        cross join lateral unnest(g.roles) as r (role)
        where exists (select from pg_roles p where p.rolname = r.role)
    loop
        execute format('grant %s on %s to %I', v_grant.privileges, v_grant.object, v_grant.role);
    end loop;
    for v_policy in
        select p.name, t.name as relation, p.role, p.rest
        from (
            select * from copilot_internal.conversation_policies()
            union all
            select * from copilot_internal.upkeep_policies()
        ) t
        cross join lateral (values
            ('authenticated_read', 'authenticated', 'for select to authenticated using (' || t.filter || ')'),
            -- For a service_role that was made without BYPASSRLS.
            ('service_role_all', 'service_role', 'to service_role using (true) with check (true)')
        ) as p (name, role, rest)
        where p.rest is not null
          and exists (select from pg_roles r where r.rolname = p.role)
          and not exists (select from pg_policy o
                          where o.polrelid = ('copilot_internal.' || t.name)::regclass and o.polname = p.name)
    loop
        execute format('create policy %I on copilot_internal.%I %s', v_policy.name, v_policy.relation, v_policy.rest);
    end loop;
end $$;
comment on function copilot_internal.grant_conversation_roles() is
    'As grant_api_roles(), for what pg_tollgate_conversations has: for the extension''s owner, when one of the roles '
    'was made, or made again, after it.';

do $$
declare
    v_member record;
begin
    for v_member in select * from copilot_internal.members_of_conversations() loop
        execute pg_catalog.format('alter %s %s owner to tollgate_owner', v_member.kind, v_member.object);
        -- Whatever default privileges have granted is taken back first.
        execute pg_catalog.format('revoke all on %s %s from public, anon, authenticated, service_role, '
            'metrics_reader, pg_read_all_data', case v_member.kind when 'function' then 'function' else 'table' end,
            v_member.object);
        if v_member.kind = 'table' then
            execute pg_catalog.format('alter table %s enable row level security', v_member.object);
            perform pg_catalog.pg_extension_config_dump(v_member.relation, '');
        end if;
    end loop;
end $$;

select copilot_internal.grant_conversation_roles();
