-- Paths: branched, activated, merged.

create function copilot_internal.get_path_ancestors(p_path_id uuid)
    returns table (path_id uuid, depth integer)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    v_path := copilot_internal.readable_path(null, p_path_id, null);
    return query
        select l.id, (row_number() over (order by l.at desc) - 1)::integer as away
        from (
            select s.source_path_id as id, s.to_position as at from copilot_internal.conversation_path_segments s
            where s.path_id = v_path.id and s.tenant_id = v_path.tenant_id
            union all
            select v_path.id, 2147483647
        ) l
        order by away desc;
end $$;
comment on function copilot_internal.get_path_ancestors(uuid) is
    'A path and those that it inherits from, the root first; depth 0 is the path itself.';

-- Callers that name a path and no conversation are told the same of a path that is not there.
create function copilot_internal.readable_path(p_tenant_id uuid, p_path_id uuid, p_user_id uuid)
    returns copilot_internal.conversation_paths
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    if p_path_id is null then
        raise exception 'p_path_id must not be NULL' using errcode = 'invalid_parameter_value';
    end if;
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and (p_tenant_id is null or p.tenant_id = p_tenant_id);
    -- A path that is not there is as one of no conversation: for it, too, the caller may be refused for other reasons.
    perform copilot_internal.access(
        coalesce(v_path.tenant_id, p_tenant_id, '00000000-0000-0000-0000-000000000000'),
        coalesce(v_path.conversation_id, '00000000-0000-0000-0000-000000000000'), p_user_id, 'read');
    if v_path.id is null then
        perform copilot_internal.refuse_unknown('conversation');
    end if;
    return v_path;
end $$;
comment on function copilot_internal.readable_path(uuid, uuid, uuid) is
    'The path, for one who may read it; else P0002. Run as the owner.';

create function copilot_internal.replayed_branch(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_position text, p_request_id text)
    returns copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    if p_request_id is null then
        return null;
    end if;
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.tenant_id = p_tenant_id and p.request_id = p_request_id;
    if v_path.id is not null and (v_path.conversation_id <> p_conversation_id
        or case p_position when 'before' then v_path.replaces_message_id is distinct from p_message_id
                           else v_path.replaces_message_id is not null
                                or v_path.branch_point_message_id is distinct from p_message_id end)
    then
        raise exception 'the request id was used before for another branch' using errcode = 'unique_violation';
    end if;
    return v_path;
end $$;
comment on function copilot_internal.replayed_branch(uuid, uuid, uuid, text, text) is
    'The path that the same request has made. Run as the owner.';

create function copilot_internal.branch_from_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_name text default null,
    p_description text default null, p_position text default 'after', p_activate boolean default false,
    p_user_id uuid default null, p_request_id text default null)
    returns table (path_id uuid, parent_path_id uuid, branch_sequence integer, inherited_count integer,
                   replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    if p_message_id is null then
        perform copilot_internal.refuse_input('p_message_id must not be NULL');
    elsif p_position is null or p_position not in ('after', 'before') then
        perform copilot_internal.refuse_input('p_position must be after or before');
    elsif p_activate is null then
        perform copilot_internal.refuse_input('p_activate must not be NULL');
    end if;
    perform copilot_internal.check_text(p_name, 'p_name', 255);
    perform copilot_internal.check_text(p_description, 'p_description', 2000);
    perform copilot_internal.check_request_id(p_request_id);
    -- A twin waits here where it matters: for the request id, or to activate.
    if p_activate or p_request_id is not null then
        perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    else
        perform from copilot_internal.conversations c
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id for share;
    end if;
    v_path := copilot_internal.replayed_branch(p_tenant_id, p_conversation_id, p_message_id, p_position, p_request_id);
    replayed := v_path.id is not null;
    if not replayed then
        insert into copilot_internal.conversation_paths as p (conversation_id, tenant_id, name, description,
            branch_point_message_id, replaces_message_id, request_id)
        values (p_conversation_id, p_tenant_id, p_name, p_description,
            case p_position when 'after' then p_message_id end, case p_position when 'before' then p_message_id end,
            p_request_id)
        returning p.* into v_path;
        if p_activate then
            update copilot_internal.conversations c set active_path_id = v_path.id, updated_at = clock_timestamp()
            where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
        end if;
    end if;
    path_id := v_path.id;
    parent_path_id := v_path.parent_path_id;
    branch_sequence := v_path.branch_sequence;
    inherited_count := v_path.inherited_count;
    return next;
end $$;
comment on function copilot_internal.branch_from_message(uuid, uuid, uuid, text, text, text, boolean, uuid, text) is
    'Makes a path that shares all up to a message, or to the one before it (p_position before: an edit). What the '
    'others write later does not show on it.';

create function copilot_internal.set_active_path(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null)
    returns table (path_id uuid)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_is_active boolean;
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    select p.is_active into v_is_active from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id for key share;
    if v_is_active is not true then
        perform copilot_internal.refuse_path(p_tenant_id, p_conversation_id, p_path_id);
    end if;
    update copilot_internal.conversations c set active_path_id = p_path_id, updated_at = clock_timestamp()
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    path_id := p_path_id;
    return next;
end $$;
comment on function copilot_internal.set_active_path(uuid, uuid, uuid, uuid) is
    'Makes a path the one that messages without a path go to.';

create function copilot_internal.ensure_primary_path(p_tenant_id uuid, p_conversation_id uuid)
    returns table (path_id uuid)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    select p.id into path_id from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id and p.is_primary;
    path_id := coalesce(path_id, copilot_internal.make_primary_path(p_tenant_id, p_conversation_id));
    return next;
end $$;
comment on function copilot_internal.ensure_primary_path(uuid, uuid) is
    'The primary path of a conversation, made if there is none.';

create function copilot_internal.update_path(
    p_tenant_id uuid, p_path_id uuid, p_name text default null, p_description text default null,
    p_is_active boolean default null, p_user_id uuid default null)
    returns table (updated_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    v_path := copilot_internal.readable_path(p_tenant_id, p_path_id, p_user_id);
    perform copilot_internal.access(p_tenant_id, v_path.conversation_id, p_user_id, 'write');
    perform copilot_internal.check_text(p_name, 'p_name', 255);
    perform copilot_internal.check_text(p_description, 'p_description', 2000);
    perform copilot_internal.lock_open_conversation(p_tenant_id, v_path.conversation_id);
    -- With its key: a sandbox that is just asked for is waited for, and ended with the others.
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id for update;
    if p_is_active and v_path.merged_at is not null then
        perform copilot_internal.refuse_path(p_tenant_id, v_path.conversation_id, p_path_id);
    elsif not p_is_active and v_path.is_primary then
        perform copilot_internal.refuse_input('the primary path stays active');
    elsif not p_is_active and v_path.is_active then
        perform copilot_internal.end_contexts(p_tenant_id, v_path.conversation_id, p_path_id, 'path inactive');
    end if;
    return query
        update copilot_internal.conversation_paths p
        set name = coalesce(p_name, p.name), description = coalesce(p_description, p.description),
            is_active = coalesce(p_is_active, p.is_active), updated_at = clock_timestamp()
        where p.id = p_path_id and p.tenant_id = p_tenant_id
        returning p.updated_at;
end $$;
comment on function copilot_internal.update_path(uuid, uuid, text, text, boolean, uuid) is
    'Renames a path, or takes it out of use or back; NULL leaves what is there. A merged path stays out of use.';
