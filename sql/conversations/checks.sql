-- What the functions of this extension ask before they do anything.

create function copilot_internal.require_server(p_what text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not copilot_internal.caller_serves_all() then
        raise exception 'only service_role may %', p_what using errcode = 'insufficient_privilege';
    end if;
end $$;
comment on function copilot_internal.require_server(text) is 'Raises 42501 for all callers but service_role.';

create function copilot_internal.access_tenant(p_tenant_id uuid, p_about uuid) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid;
    v_role text;
begin
    v_actor := copilot_internal.access(p_tenant_id, null, null, 'read');
    if copilot_internal.caller_serves_all() then
        return 'server';
    end if;
    select m.role into v_role from copilot_internal.active_memberships m
    where m.tenant_id = p_tenant_id and m.user_id = v_actor;
    if p_about <> v_actor and v_role not in ('owner', 'admin') then
        raise exception 'only an owner or admin may ask about another user' using errcode = 'insufficient_privilege';
    end if;
    return v_role;
end $$;
comment on function copilot_internal.access_tenant(uuid, uuid) is
    'The caller''s role in a tenant, server for service_role. Raises 42501 for a stranger, and for a member who asks '
    'about another user. Run as the owner.';

create function copilot_internal.require_open_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_conversation copilot_internal.conversations;
begin
    select c.* into v_conversation from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    if not found then
        raise exception 'there is no such conversation' using errcode = 'no_data_found';
    end if;
    if v_conversation.erasing_at is not null or v_conversation.archived_at is not null
       or v_conversation.expires_at <= clock_timestamp()
    then
        raise exception 'the conversation takes no changes' using errcode = 'PT409',
            detail = case when v_conversation.erasing_at is not null then 'It is being erased.'
                          when v_conversation.archived_at is not null
                              then format('It was archived at %s.', v_conversation.archived_at)
                          else format('It expired at %s.', v_conversation.expires_at) end;
    end if;
end $$;
comment on function copilot_internal.require_open_conversation(uuid, uuid) is
    'P0002 for a conversation that is not there, PT409 for one that is archived, expired or being erased. Run as the '
    'owner.';

create function copilot_internal.lock_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for no key update;
end $$;
comment on function copilot_internal.lock_conversation(uuid, uuid) is
    'Locks a conversation, open or not: a retry is answered as the first call was. Run as the owner.';

create function copilot_internal.lock_open_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
end $$;
comment on function copilot_internal.lock_open_conversation(uuid, uuid) is
    'Locks a conversation that is open: it is not branched, archived or erased meanwhile. Run as the owner.';

create function copilot_internal.check_request_id(p_request_id text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if length(p_request_id) not between 1 and 200 then
        raise exception 'p_request_id must have 1 to 200 characters' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_request_id(text) is 'Raises 22023 for a request id of no use.';

create function copilot_internal.check_limit(p_limit integer, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_limit is null or p_limit not between 1 and p_most then
        raise exception 'p_limit must be between 1 and %', p_most using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_limit(integer, integer) is 'Raises 22023 for a p_limit out of bounds.';

create function copilot_internal.check_lease(p_lease interval) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_lease is null or p_lease not between interval '10 seconds' and interval '1 hour' then
        raise exception 'p_lease must be between 10 seconds and 1 hour' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_lease(interval) is 'Raises 22023 for a lease out of bounds.';
