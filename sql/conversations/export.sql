-- What is kept about a user, as JSON, page by page.

-- Keys lead through both tables, so a page reads no more than the tenant's rows from its cursor on.
create function copilot_internal.export_user_conversations(
    p_tenant_id uuid, p_user_id uuid, p_cursor text default null, p_limit integer default 500)
    returns table (item jsonb, next_cursor text)
    language plpgsql stable security definer rows 500 set search_path = pg_catalog, pg_temp as $$
declare
    v_place constant text[] := regexp_match(p_cursor,
        '^(config|conversation|message):([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
    v_kind constant text := coalesce(v_place[1], 'config');
    v_after uuid := '00000000-0000-0000-0000-000000000000';
begin
    perform copilot_internal.require_server('export conversations of a user');
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_tenant_id is null or p_user_id is null then
        raise exception 'p_tenant_id and p_user_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if p_cursor is not null then
        if v_place is null then
            raise exception 'p_cursor must be one that export_user_conversations gave'
                using errcode = 'invalid_parameter_value';
        end if;
        v_after := v_place[2]::uuid;
    end if;
    return query
    select x.item || jsonb_build_object('kind', x.kind), x.kind || ':' || x.id
    from (
        (select 1 as place, 'config' as kind, f.id, to_jsonb(f) as item
         from copilot_internal.conversation_configs f
         where v_kind = 'config' and f.tenant_id = p_tenant_id and f.user_id = p_user_id and f.id > v_after)
        union all
        (select 2, 'conversation', c.id, to_jsonb(c)
         from copilot_internal.conversations c
         where v_kind in ('config', 'conversation') and c.tenant_id = p_tenant_id and c.user_id = p_user_id
           and (v_kind <> 'conversation' or c.id > v_after)
         order by c.id limit p_limit)
        union all
        (select 3, 'message', m.id, to_jsonb(m)
         from copilot_internal.conversation_messages m
         where m.tenant_id = p_tenant_id and (v_kind <> 'message' or m.id > v_after)
           -- In a conversation of their own also what no person wrote. What colleagues wrote is theirs.
           and (m.user_id = p_user_id or m.user_id is null and exists (
                select from copilot_internal.conversations c
                where c.id = m.conversation_id and c.tenant_id = p_tenant_id and c.user_id = p_user_id))
         order by m.id limit p_limit)
    ) x
    order by x.place, x.id limit p_limit;
end $$;
comment on function copilot_internal.export_user_conversations(uuid, uuid, text, integer) is
    'Settings, conversations and messages of a user in a tenant, and what models answered in conversations of their '
    'own. JSON rows, at most p_limit (1 to 1000) after p_cursor. Fewer are the last. For service_role.';
