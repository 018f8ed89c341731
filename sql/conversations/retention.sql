-- Retention: what is archived or erased because of its age. Temporary conversations, and those of deleted tenants, end
-- apart from it.

-- The settings that name a span, by tenant and user; the tenant of a global row is NULL.
create function copilot_internal.retained(p_tenant_id uuid, p_user_id uuid, p_setting text) returns interval
    language sql stable
begin atomic
    select (copilot_internal.effective_config(p_tenant_id, p_user_id) ->> p_setting)::interval;
end;
comment on function copilot_internal.retained(uuid, uuid, text) is
    'A span of the settings in force for a user of a tenant; NULL for none. Run as the owner.';

-- Whose conversations the settings can concern: of each tenant all, or those of the users that have a row.
create function copilot_internal.aged_conversations(p_setting text, p_limit integer)
    returns setof copilot_internal.conversations
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_least interval;
begin
    select min(case p_setting when 'archive_after' then g.archive_after else g.erase_after end) into v_least
    from copilot_internal.conversation_configs g;
    if v_least is null then
        return;
    end if;
    return query
        select c.* from (
            select c.* from copilot_internal.conversations c
            where c.activity_at < clock_timestamp() - v_least and c.erasing_at is null
              and (p_setting = 'erase_after' or c.archived_at is null)
            offset 0
        ) c
        where c.activity_at < clock_timestamp() - copilot_internal.retained(c.tenant_id, c.user_id, p_setting)
        limit p_limit;
end $$;
comment on function copilot_internal.aged_conversations(text, integer) is
    'Conversations without activity for longer than archive_after or erase_after says. Run as the owner.';

-- Upkeep holds all that it has worked on to the end of its transaction, and so it waits for none.
create function copilot_internal.try_lock_conversation(p_tenant_id uuid, p_conversation_id uuid) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for update skip locked;
    if not found then
        return false;
    end if;
    -- An append that is open has its path, and a sandbox that is just asked for has the path's key.
    if (select count(*) from (
            select from copilot_internal.conversation_paths p
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id
            order by p.id for update skip locked) l)
       < (select count(*) from copilot_internal.conversation_paths p
          where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id)
    then
        raise exception 'somebody has a path' using errcode = 'TG001';
    end if;
    return true;
exception when sqlstate 'TG001' then
    -- The locks that were taken are given back.
    return false;
end $$;
comment on function copilot_internal.try_lock_conversation(uuid, uuid) is
    'Locks a conversation and its paths if it is there and no other has any of them. Run as the owner.';

create function copilot_internal.archive_inactive(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_aged record;
    v_done bigint := 0;
begin
    for v_aged in select a.id, a.tenant_id from copilot_internal.aged_conversations('archive_after', p_limit) a loop
        continue when not copilot_internal.try_lock_conversation(v_aged.tenant_id, v_aged.id);
        perform from copilot_internal.archive_locked(v_aged.tenant_id, v_aged.id, true);
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.archive_inactive(integer) is
    'Archives conversations by archive_after; returns how many. Run as the owner.';

create function copilot_internal.mark_expired(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_conversation record;
    v_done bigint := 0;
begin
    for v_conversation in
        select c.id, c.tenant_id from copilot_internal.conversations c
        where c.expires_at <= clock_timestamp() and c.erasing_at is null
        union
        select a.id, a.tenant_id from copilot_internal.aged_conversations('erase_after', p_limit) a
        union
        select c.id, c.tenant_id from copilot_internal.tenants t
        join copilot_internal.conversations c on c.tenant_id = t.id
        where t.deleted_at < clock_timestamp() - interval '30 days' and c.erasing_at is null
        limit p_limit
    loop
        continue when not copilot_internal.try_lock_conversation(v_conversation.tenant_id, v_conversation.id);
        perform copilot_internal.begin_erasure(v_conversation.tenant_id, 'conversation', v_conversation.id, null, null,
                                               null);
        perform copilot_internal.hide_conversation(v_conversation.tenant_id, v_conversation.id);
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.mark_expired(integer) is
    'Begins the erasure of temporary conversations whose time has come, of those beyond erase_after, and of those of '
    'tenants deleted 30 days ago. Returns how many. Run as the owner.';

create function copilot_internal.continue_erasures(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_conversation record;
    v_step record;
    v_done bigint := 0;
begin
    for v_conversation in
        select c.id, c.tenant_id from copilot_internal.conversations c
        where c.erasing_at is not null order by c.updated_at, c.id limit 1000
    loop
        exit when v_done >= p_limit;
        continue when not copilot_internal.try_lock_conversation(v_conversation.tenant_id, v_conversation.id);
        select s.* into v_step
        from copilot_internal.erase_step(v_conversation.tenant_id, v_conversation.id, p_limit - v_done::integer) s;
        update copilot_internal.conversation_erasures e
        set row_count = e.row_count + v_step.erased,
            completed_at = case when v_step.done then clock_timestamp() end
        where e.tenant_id = v_conversation.tenant_id and e.kind = 'conversation'
          and e.conversation_id = v_conversation.id and e.completed_at is null;
        v_done := v_done + v_step.erased;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.continue_erasures(integer) is
    'Goes on with erasures of conversations; returns how many rows went. Run as the owner.';
