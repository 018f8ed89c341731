-- Pins: what no compaction takes from a model.

create function copilot_internal.refuse_pin() returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'a path has at most 100 pinned messages' using errcode = 'program_limit_exceeded',
        hint = 'Unpin some.';
end $$;
comment on function copilot_internal.refuse_pin() is 'Raises 54000 where a path would show too many pinned messages.';

-- Each path that shows the message has room for it: a branch has pins of its own.
create function copilot_internal.check_pin(p_message copilot_internal.conversation_messages) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if (select count(*) from copilot_internal.conversation_paths p
        join copilot_internal.conversation_messages m
          on m.path_id = p.id and m.tenant_id = p.tenant_id and m.is_pinned
        where p.conversation_id = p_message.conversation_id and p.tenant_id = p_message.tenant_id) < 100
    then
        return;
    end if;
    if exists (
        select from copilot_internal.conversation_paths p
        where p.conversation_id = p_message.conversation_id and p.tenant_id = p_message.tenant_id
          and copilot_internal.position_on(p.tenant_id, p.id, p_message.path_id, p_message.sequence_in_path) is not null
          and (select count(*) from copilot_internal.pinned_of_path(p.tenant_id, p.id)) >= 100)
    then
        perform copilot_internal.refuse_pin();
    end if;
end $$;
comment on function copilot_internal.check_pin(copilot_internal.conversation_messages) is
    'Raises 54000 where a path that shows the message has 100 pinned ones. Run as the owner, with the conversation '
    'locked.';

create function copilot_internal.pin_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_user_id uuid) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_user constant uuid := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    v_message copilot_internal.conversation_messages;
begin
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    select m.* into v_message from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id and m.conversation_id = p_conversation_id
      and m.deleted_at is null;
    if v_message.id is null then
        return false;
    elsif not v_message.is_pinned then
        perform copilot_internal.check_pin(v_message);
        update copilot_internal.conversation_messages m
        set is_pinned = true, pinned_at = clock_timestamp(), pinned_by = v_user
        where m.id = p_message_id and m.tenant_id = p_tenant_id;
    end if;
    return true;
end $$;
comment on function copilot_internal.pin_message(uuid, uuid, uuid, uuid) is
    'Pins a message: models go on being shown it, whatever is compacted. False where the conversation has no such '
    'message.';

create function copilot_internal.unpin_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_user_id uuid default null) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    update copilot_internal.conversation_messages m
    set is_pinned = false, pinned_at = null, pinned_by = null
    where m.id = p_message_id and m.tenant_id = p_tenant_id and m.conversation_id = p_conversation_id
      and m.deleted_at is null;
    return found;
end $$;
comment on function copilot_internal.unpin_message(uuid, uuid, uuid, uuid) is
    'Unpins a message. What was pinned when a compaction was applied stays in the context all the same.';

create function copilot_internal.pinned_of_path(p_tenant_id uuid, p_path_id uuid)
    returns table (message_id uuid, effective_sequence integer)
    language sql stable
begin atomic
    select m.id, p.inherited_count + m.sequence_in_path
    from copilot_internal.conversation_paths p
    join copilot_internal.conversation_messages m on m.path_id = p.id and m.tenant_id = p.tenant_id and m.is_pinned
    where p.id = p_path_id and p.tenant_id = p_tenant_id
    union all
    select m.id, s.shift + m.sequence_in_path
    from copilot_internal.conversation_path_segments s
    join copilot_internal.conversation_messages m
        on m.path_id = s.source_path_id and m.tenant_id = s.tenant_id and m.is_pinned
        and m.sequence_in_path <= s.to_position - s.shift
    where s.path_id = p_path_id and s.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.pinned_of_path(uuid, uuid) is
    'The pinned messages that a path shows, inherited ones too. Run as the owner.';

create function copilot_internal.pinned_of(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid)
    returns table (message_id uuid, effective_sequence integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'read');
    if p_path_id is null then
        return query
            select m.id, p.inherited_count + m.sequence_in_path
            from copilot_internal.conversation_paths p
            join copilot_internal.conversation_messages m
                on m.path_id = p.id and m.tenant_id = p.tenant_id and m.is_pinned
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id;
        return;
    end if;
    perform from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id;
    if not found then
        perform copilot_internal.refuse_unknown('path');
    end if;
    return query select * from copilot_internal.pinned_of_path(p_tenant_id, p_path_id);
end $$;
comment on function copilot_internal.pinned_of(uuid, uuid, uuid) is
    'The pinned messages of a path, or of all paths, for one who may read them. Run as the owner.';

create function copilot_internal.get_pinned_messages(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid default null)
    returns table (message_id uuid, role text, content text, created_at timestamptz, pinned_at timestamptz,
                   pinned_by uuid, path_id uuid, effective_sequence integer, user_id uuid)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select m.id, m.role, m.content, m.created_at, m.pinned_at, m.pinned_by, m.path_id, o.effective_sequence,
               m.user_id
        from copilot_internal.pinned_of(p_tenant_id, p_conversation_id, p_path_id) o
        join copilot_internal.conversation_messages m on m.id = o.message_id and m.tenant_id = p_tenant_id
        order by o.effective_sequence, m.created_at, m.id;
end $$;
comment on function copilot_internal.get_pinned_messages(uuid, uuid, uuid) is
    'The pinned messages of a path, inherited ones too; of all paths where none is named.';

create function copilot_internal.get_pinned_message_count(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid default null) returns integer
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (select count(*) from copilot_internal.pinned_of(p_tenant_id, p_conversation_id, p_path_id));
end $$;
comment on function copilot_internal.get_pinned_message_count(uuid, uuid, uuid) is
    'How many messages are pinned on a path, or on all where none is named.';
