-- Erasing one message, and all that a user wrote.

-- A message and its copies, wherever a merge has put them.
create function copilot_internal.copies_of(p_tenant_id uuid, p_message_id uuid) returns uuid[]
    language sql stable
begin atomic
    with recursive origin as (
        select m.id, m.copied_from_message_id from copilot_internal.conversation_messages m
        where m.id = p_message_id and m.tenant_id = p_tenant_id
        union
        select m.id, m.copied_from_message_id from origin o
        join copilot_internal.conversation_messages m on m.id = o.copied_from_message_id and m.tenant_id = p_tenant_id
    ), copies as (
        select o.id from origin o
        union
        select m.id from copies c
        join copilot_internal.conversation_messages m
          on m.copied_from_message_id = c.id and m.tenant_id = p_tenant_id
    )
    select pg_catalog.array_agg(c.id) from copies c;
end;
comment on function copilot_internal.copies_of(uuid, uuid) is
    'A message, what it was copied from, and all copies. Run as the owner.';

-- Who wrote the summary of a merge has read all that its source showed then, also what its target shows.
create function copilot_internal.summaries_of(p_tenant_id uuid, p_message_id uuid) returns setof uuid
    language sql stable
begin atomic
    select s.id
    from copilot_internal.conversation_messages m
    join copilot_internal.conversation_paths p
      on p.conversation_id = m.conversation_id and p.tenant_id = m.tenant_id and p.merge_mode = 'summary'
    join copilot_internal.conversation_messages s
      on s.id = p.merge_summary_message_id and s.tenant_id = p.tenant_id
     and s.conversation_id = p.conversation_id and s.message_type = 'merge_summary'
    where m.id = p_message_id and m.tenant_id = p_tenant_id and m.created_at <= p.merged_at
      and copilot_internal.message_position(p_tenant_id, p.id, m.id) is not null;
end;
comment on function copilot_internal.summaries_of(uuid, uuid) is
    'The summaries of merges that may tell of a message. Run as the owner.';

create function copilot_internal.traces_of(p_tenant_id uuid, p_message_id uuid) returns uuid[]
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_all uuid[] := array[p_message_id];
    v_new uuid[] := v_all;
begin
    while cardinality(v_new) > 0 loop
        v_new := array(
            select distinct t.id
            from unnest(v_new) n (id)
            cross join lateral (
                select c.id from unnest(copilot_internal.copies_of(p_tenant_id, n.id)) c (id)
                union all
                select s.id from copilot_internal.summaries_of(p_tenant_id, n.id) s (id)
            ) t
            where t.id <> all (v_all));
        v_all := v_all || v_new;
    end loop;
    return v_all;
end $$;
comment on function copilot_internal.traces_of(uuid, uuid) is
    'A message and all messages that hold its words: copies, and summaries of merges. Run as the owner.';

-- The row stays, empty: numbers have no gaps. Its request id stays, so that a retry writes nothing. What summed the
-- message up goes with it.
create function copilot_internal.empty_message(p_tenant_id uuid, p_message_id uuid, p_actor uuid) returns jsonb
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_old copilot_internal.conversation_messages;
begin
    select m.* into v_old from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id;
    perform copilot_internal.hide_unit(p_tenant_id, p_message_id, p_actor, 'erased');
    perform from copilot_internal.conversation_paths p
    where p.id = v_old.path_id and p.tenant_id = p_tenant_id for no key update;
    update copilot_internal.conversation_messages m
    set content = '', parts = null, metadata = '{}', token_count = 0, is_pinned = false, pinned_at = null,
        pinned_by = null, finished_at = coalesce(m.finished_at, clock_timestamp()),
        deleted_at = coalesce(m.deleted_at, clock_timestamp()), deleted_by = coalesce(m.deleted_by, p_actor),
        erased_at = clock_timestamp(), trace_id = null, root_span_name = null, root_span_id = null
    where m.id = p_message_id and m.tenant_id = p_tenant_id;
    perform copilot_internal.revert_operations(p_tenant_id, v_old.path_id, v_old.sequence_in_path, 'erased', true);
    perform copilot_internal.note_removal(p_tenant_id, v_old.path_id, v_old.sequence_in_path, true);
    update copilot_internal.conversation_contexts x set summary = null
    where x.conversation_id = v_old.conversation_id and x.tenant_id = p_tenant_id and x.summary is not null;
    return coalesce(copilot_internal.attachments_of(array[v_old.parts]), '[]');
end $$;
comment on function copilot_internal.empty_message(uuid, uuid, uuid) is
    'Empties one message and what sums it up; returns the storage keys in it. Run as the owner, with the conversation '
    'locked.';

-- Who writes a summary meanwhile is told that what they have read has changed.
create function copilot_internal.note_removal(
    p_tenant_id uuid, p_path_id uuid, p_sequence integer, p_is_erased boolean) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path uuid;
begin
    for v_path in
        select l.id from (
            select p_path_id as id
            union
            select s.path_id from copilot_internal.conversation_paths o
            join copilot_internal.conversation_paths p
              on p.conversation_id = o.conversation_id and p.tenant_id = o.tenant_id
            join copilot_internal.conversation_path_segments s
              on s.path_id = p.id and s.tenant_id = p.tenant_id and s.source_path_id = p_path_id
             and s.shift + p_sequence <= s.to_position
            where o.id = p_path_id and o.tenant_id = p_tenant_id
        ) l order by l.id
    loop
        perform from copilot_internal.conversation_paths p
        where p.id = v_path and p.tenant_id = p_tenant_id for no key update;
        perform copilot_internal.recount_path(p_tenant_id, v_path);
        update copilot_internal.conversation_paths p
        set removal_count = p.removal_count + 1,
            last_erasure_at = case when p_is_erased then clock_timestamp() else p.last_erasure_at end
        where p.id = v_path and p.tenant_id = p_tenant_id;
    end loop;
end $$;
comment on function copilot_internal.note_removal(uuid, uuid, integer, boolean) is
    'Counts again the paths that show a message which was deleted or erased, in the order of their ids, and notes it '
    'there. Run as the owner, with the conversation locked.';

create function copilot_internal.erase_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_user_id uuid default null)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'read');
    v_author uuid;
    v_id uuid;
begin
    select m.user_id into v_author from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id and m.conversation_id = p_conversation_id;
    if not found then
        raise exception 'there is no such message' using errcode = 'no_data_found';
    end if;
    -- Who wrote it may erase it, unless they may only read by now; anybody else must be able to erase the conversation.
    v_actor := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id,
        case when v_author = v_actor then 'author' else 'erase' end);
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for no key update;
    erased := 0;
    attachments := '[]';
    foreach v_id in array copilot_internal.traces_of(p_tenant_id, p_message_id) loop
        attachments := attachments || copilot_internal.empty_message(p_tenant_id, v_id, v_actor);
        erased := erased + 1;
    end loop;
    perform copilot_internal.note_step(copilot_internal.begin_erasure(p_tenant_id, 'message', p_conversation_id,
        p_message_id, null, v_actor), erased, true);
    done := true;
    remaining_contexts := 0;
    return next;
end $$;
comment on function copilot_internal.erase_message(uuid, uuid, uuid, uuid) is 'What public.erase_message does.';

create function public.erase_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_user_id uuid default null)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.erase_message(p_tenant_id, p_conversation_id, p_message_id, p_user_id);
end;
comment on function public.erase_message(uuid, uuid, uuid, uuid) is
    'Empties a message for good, with its copies and the compactions that sum it up; its number stays. For who wrote '
    'it, who may erase the conversation, and service_role.';

create function copilot_internal.erase_messages_of_user(
    p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid, out erased bigint, out attachments jsonb)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_message uuid;
begin
    erased := 0;
    attachments := '[]';
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for no key update;
    -- What the user is just writing is waited for, and seen by the next statement.
    perform copilot_internal.lock_paths(p_tenant_id, p_conversation_id);
    for v_message in
        select t.id from (
            select distinct u.id from copilot_internal.conversation_paths p
            join copilot_internal.conversation_messages m on m.path_id = p.id and m.tenant_id = p.tenant_id
            cross join lateral unnest(copilot_internal.traces_of(p_tenant_id, m.id)) u (id)
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id and m.user_id = p_user_id
        ) t
        join copilot_internal.conversation_messages m on m.id = t.id and m.tenant_id = p_tenant_id
        where m.erased_at is null
    loop
        attachments := attachments || copilot_internal.empty_message(p_tenant_id, v_message, null);
        erased := erased + 1;
    end loop;
end $$;
comment on function copilot_internal.erase_messages_of_user(uuid, uuid, uuid) is
    'Empties what a user wrote in a conversation, and what tells of it. Run as the owner.';

-- A sandbox that runs is billed to nobody in particular from then on.
create function copilot_internal.forget_user(p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update copilot_internal.conversation_messages m
    set user_id = nullif(m.user_id, p_user_id), pinned_by = nullif(m.pinned_by, p_user_id),
        deleted_by = nullif(m.deleted_by, p_user_id)
    from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id and m.path_id = p.id
      and m.tenant_id = p.tenant_id and p_user_id in (m.user_id, m.pinned_by, m.deleted_by);
    update copilot_internal.compaction_operations o
    set user_id = nullif(o.user_id, p_user_id), reverted_by = nullif(o.reverted_by, p_user_id)
    where o.conversation_id = p_conversation_id and o.tenant_id = p_tenant_id
      and p_user_id in (o.user_id, o.reverted_by);
    update copilot_internal.execution_contexts x set user_id = null
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id and x.user_id = p_user_id;
end $$;
comment on function copilot_internal.forget_user(uuid, uuid, uuid) is
    'Takes a user''s id out of a conversation: who wrote, pinned, deleted, compacted, or used a sandbox. Run as the '
    'owner, with the conversation locked.';

create function copilot_internal.erase_conversation_of_user(
    p_tenant_id uuid, p_conversation_id uuid, p_actor uuid, p_limit integer,
    out erased bigint, out remaining_contexts integer, out attachments jsonb)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_erasure uuid;
    v_done boolean;
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for update;
    if not found then
        erased := 0;
        remaining_contexts := 0;
        attachments := '[]';
        return;
    end if;
    v_erasure := copilot_internal.begin_erasure(p_tenant_id, 'conversation', p_conversation_id, null, null, p_actor);
    select s.done, s.erased, s.remaining_contexts, s.attachments
    into v_done, erased, remaining_contexts, attachments
    from copilot_internal.erase_step(p_tenant_id, p_conversation_id, p_limit) s;
    perform copilot_internal.note_step(v_erasure, erased, v_done);
end $$;
comment on function copilot_internal.erase_conversation_of_user(uuid, uuid, uuid, integer) is
    'One step of the erasure of a conversation whose user goes. Run as the owner.';

-- Own conversations whole, and own messages elsewhere, in the order in which conversations are locked: so two users who
-- go at once, each with words in the other's conversations, wait for each other in turn.
create function copilot_internal.erase_user_conversations(p_tenant_id uuid, p_user_id uuid)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    c_step constant integer := 10000;
    v_role constant text := copilot_internal.access_tenant(p_tenant_id, p_user_id);
    v_erasure uuid;
    v_actor uuid;
    v_cursor uuid;
    v_conversation record;
    v_step record;
begin
    if p_user_id is null then
        raise exception 'p_user_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if v_role <> 'server' and p_user_id <> copilot_internal.caller_user() then
        raise exception 'you may erase your own conversations only' using errcode = 'insufficient_privilege';
    elsif v_role = 'viewer' then
        raise exception 'a viewer may only read' using errcode = 'insufficient_privilege';
    end if;
    v_actor := case when v_role <> 'server' then p_user_id end;
    v_erasure := copilot_internal.begin_erasure(p_tenant_id, 'user', null, null, p_user_id, v_actor);
    erased := 0;
    remaining_contexts := 0;
    attachments := '[]';
    select e.cursor into v_cursor from copilot_internal.conversation_erasures e where e.id = v_erasure;
    for v_conversation in
        select t.id, t.is_own from (
            (select c.id, true as is_own from copilot_internal.conversations c
             where c.tenant_id = p_tenant_id and c.user_id = p_user_id
             order by c.erasing_at is not null, c.updated_at, c.id limit 1000)
            union all
            (select c.id, false from copilot_internal.conversations c
             where c.tenant_id = p_tenant_id and c.user_id is distinct from p_user_id and c.erasing_at is null
               and (v_cursor is null or c.id > v_cursor)
             order by c.id limit 1000)
        ) t order by t.id
    loop
        exit when erased >= c_step;
        if v_conversation.is_own then
            select s.* into v_step from copilot_internal.erase_conversation_of_user(
                p_tenant_id, v_conversation.id, v_actor, c_step - erased::integer) s;
            remaining_contexts := remaining_contexts + v_step.remaining_contexts;
        else
            select s.* into v_step
            from copilot_internal.erase_messages_of_user(p_tenant_id, v_conversation.id, p_user_id) s;
            v_cursor := v_conversation.id;
        end if;
        perform copilot_internal.forget_user(p_tenant_id, v_conversation.id, p_user_id);
        erased := erased + v_step.erased;
        attachments := attachments || v_step.attachments;
    end loop;
    done := not exists (select from copilot_internal.conversations c
                        where c.tenant_id = p_tenant_id
                          and (c.user_id = p_user_id
                               or c.user_id is distinct from p_user_id and c.erasing_at is null
                                  and (v_cursor is null or c.id > v_cursor)));
    if done then
        delete from copilot_internal.conversation_configs g
        where g.tenant_id = p_tenant_id and g.user_id = p_user_id;
        update copilot_internal.conversation_configs g set updated_by = null
        where g.tenant_id = p_tenant_id and g.updated_by = p_user_id;
    end if;
    update copilot_internal.conversation_erasures e set cursor = v_cursor where e.id = v_erasure;
    perform copilot_internal.note_step(v_erasure, erased, done);
    return next;
end $$;
comment on function copilot_internal.erase_user_conversations(uuid, uuid) is
    'What public.erase_user_conversations does.';

create function public.erase_user_conversations(p_tenant_id uuid, p_user_id uuid)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.erase_user_conversations(p_tenant_id, p_user_id);
end;
comment on function public.erase_user_conversations(uuid, uuid) is
    'Erases a user''s conversations in a tenant, and what they wrote in others. Call it again until done. For '
    'service_role, and each user for themselves.';
