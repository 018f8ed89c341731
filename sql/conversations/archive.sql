-- Archiving: read-only, out of the lists, reversible. Nothing moves, and no cost changes.

create function copilot_internal.lock_paths(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id order by p.id for update;
end $$;
comment on function copilot_internal.lock_paths(uuid, uuid) is
    'Locks the paths of a conversation in their order, with their keys. Run as the owner.';

-- Also where the application archives by an update of its own. An append has its path's row to the end of its
-- transaction: it comes before, or finds the path closed.
create function copilot_internal.archive_paths() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.lock_paths(new.tenant_id, new.id);
    update copilot_internal.conversation_paths p
    set archived_at = new.archived_at, compaction_claimed_until = null
    where p.conversation_id = new.id and p.tenant_id = new.tenant_id;
    if new.archived_at is not null then
        perform copilot_internal.end_contexts(new.tenant_id, new.id, null, 'archived');
    end if;
    return null;
end $$;
comment on function copilot_internal.archive_paths() is
    'Archives the paths of a conversation with it, and ends their contexts, or takes them out of the archive.';

create trigger archive_paths after update of archived_at on copilot_internal.conversations
    for each row when (old.archived_at is distinct from new.archived_at)
    execute function copilot_internal.archive_paths();

create function copilot_internal.archive_locked(p_tenant_id uuid, p_conversation_id uuid, p_archived boolean)
    returns table (archived_at timestamptz, contexts_terminated integer)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_at timestamptz;
begin
    select c.archived_at into v_at from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id and c.erasing_at is null for no key update;
    if not found then
        raise exception 'there is no such conversation' using errcode = 'no_data_found';
    end if;
    contexts_terminated := 0;
    if p_archived then
        perform copilot_internal.lock_paths(p_tenant_id, p_conversation_id);
        contexts_terminated := copilot_internal.end_contexts(p_tenant_id, p_conversation_id, null, 'archived');
    end if;
    if (v_at is not null) <> p_archived then
        v_at := case when p_archived then clock_timestamp() end;
        update copilot_internal.conversations c set archived_at = v_at, updated_at = clock_timestamp()
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    end if;
    archived_at := v_at;
    return next;
end $$;
comment on function copilot_internal.archive_locked(uuid, uuid, boolean) is
    'Archives a conversation with its paths and ends their contexts, or takes it out of the archive. Run as the owner.';

create function copilot_internal.archive_conversation(
    p_tenant_id uuid, p_conversation_id uuid, p_archived boolean default true, p_user_id uuid default null)
    returns table (archived_at timestamptz, contexts_terminated integer)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'archive');
    if p_archived is null then
        raise exception 'p_archived must be given' using errcode = 'invalid_parameter_value';
    end if;
    return query select * from copilot_internal.archive_locked(p_tenant_id, p_conversation_id, p_archived);
end $$;
comment on function copilot_internal.archive_conversation(uuid, uuid, boolean, uuid) is
    'What public.archive_conversation does.';

create function public.archive_conversation(
    p_tenant_id uuid, p_conversation_id uuid, p_archived boolean default true, p_user_id uuid default null)
    returns table (archived_at timestamptz, contexts_terminated integer)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.archive_conversation(p_tenant_id, p_conversation_id, p_archived, p_user_id);
end;
comment on function public.archive_conversation(uuid, uuid, boolean, uuid) is
    'Makes a conversation read-only and takes it out of the lists, or brings it back. Its sandboxes end. For its '
    'owner, the tenant''s owners and admins, and service_role.';
