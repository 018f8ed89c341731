-- Who may. Each function that people or the server call asks this first. Native: by the role outside of all SECURITY
-- DEFINER functions, the verified claims, and what the session keeps of memberships.

create function copilot_internal.access(
    p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid, p_right text) returns uuid
    language c stable parallel restricted as 'MODULE_PATHNAME', 'access_wrapper';
comment on function copilot_internal.access(uuid, uuid, uuid, text) is
    'The user who acts, NULL for the server. Raises where they lack the right: read, author, write, manage, archive or '
    'erase. Of a NULL conversation it asks whether they may in the tenant.';

create function copilot_internal.can_access(
    p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid, p_right text) returns boolean
    language c stable parallel restricted as 'MODULE_PATHNAME', 'can_access_wrapper';
comment on function copilot_internal.can_access(uuid, uuid, uuid, text) is
    'Whether access() would give the right.';

create function copilot_internal.caller_serves_all() returns boolean
    language c stable parallel restricted as 'MODULE_PATHNAME', 'caller_serves_all_wrapper';
comment on function copilot_internal.caller_serves_all() is
    'Whether service_role calls, seen from inside of a SECURITY DEFINER function.';

create function copilot_internal.try_path_lock(p_tenant_id uuid, p_path_id uuid) returns boolean
    language c volatile parallel unsafe strict as 'MODULE_PATHNAME', 'try_path_lock_wrapper';
comment on function copilot_internal.try_path_lock(uuid, uuid) is
    'Takes the lock under which a sandbox is made for a path, to the end of the transaction, if no other has it.';

create function copilot_internal.refuse_unknown(p_what text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'there is no such %', p_what using errcode = 'no_data_found';
end $$;
comment on function copilot_internal.refuse_unknown(text) is 'Raises P0002.';

create function copilot_internal.refuse_input(p_message text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    raise exception '%', p_message using errcode = 'invalid_parameter_value';
end $$;
comment on function copilot_internal.refuse_input(text) is 'Raises 22023.';

create function copilot_internal.can_read_conversation(p_tenant_id uuid, p_conversation_id uuid) returns boolean
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select copilot_internal.can_access(p_tenant_id, p_conversation_id, null, 'read');
$$;
comment on function copilot_internal.can_read_conversation(uuid, uuid) is
    'Whether the caller may read the conversation. Never raises: for policies on the application''s own tables.';
