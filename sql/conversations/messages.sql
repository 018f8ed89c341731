-- Messages: appended, drafted, finished, deleted.

create function copilot_internal.check_message(p copilot_internal.conversation_messages) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p.role is null or p.role not in ('system', 'user', 'assistant', 'tool', 'developer') then
        perform copilot_internal.refuse_input('p_role must be system, user, assistant, tool or developer');
    elsif p.content is null or octet_length(p.content) > 1048576 then
        perform copilot_internal.refuse_input('p_content must not be NULL and have at most 1 MiB');
    elsif octet_length(p.parts::text) > 4194304 then
        perform copilot_internal.refuse_input('p_parts must have at most 4 MiB');
    elsif p.message_type is null or p.message_type not in ('standard', 'merge_summary', 'branch_point', 'system') then
        perform copilot_internal.refuse_input(
            'p_message_type must be standard, merge_summary, branch_point or system');
    elsif p.token_count < 0 then
        perform copilot_internal.refuse_input('p_token_count must not be negative');
    end if;
    perform copilot_internal.check_object(p.metadata, 'p_metadata', 65536);
    perform copilot_internal.check_request_id(p.request_id);
    perform copilot_internal.check_trace(p.trace_id, p.root_span_name, p.root_span_id);
end $$;
comment on function copilot_internal.check_message(copilot_internal.conversation_messages) is
    'Raises 22023 for what a message cannot be.';

create function copilot_internal.replayed_message(p copilot_internal.conversation_messages)
    returns copilot_internal.conversation_messages
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v copilot_internal.conversation_messages;
begin
    if p.request_id is null then
        return null;
    end if;
    select m.* into v from copilot_internal.conversation_messages m
    where m.tenant_id = p.tenant_id and m.request_id = p.request_id;
    -- A draft was finished with other words since; of an erased message the words and the writer are gone.
    if v.id is not null and (v.conversation_id <> p.conversation_id or v.path_id <> coalesce(p.path_id, v.path_id)
        or v.role <> p.role or v.message_type <> p.message_type
        or v.erased_at is null and v.user_id is distinct from p.user_id
        or v.erased_at is null and p.finished_at is not null
           and (v.content <> p.content or v.parts is distinct from p.parts))
    then
        raise exception 'the request id was used before for another message' using errcode = 'unique_violation';
    end if;
    return v;
end $$;
comment on function copilot_internal.replayed_message(copilot_internal.conversation_messages) is
    'The message that the same request has made. Run as the owner.';

-- The duplicate waits for its twin here, and looks in a snapshot after the lock.
create function copilot_internal.lock_path(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid)
    returns copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id for no key update;
    if v_path.id is null then
        perform copilot_internal.refuse_unknown('path');
    end if;
    return v_path;
end $$;
comment on function copilot_internal.lock_path(uuid, uuid, uuid) is 'Locks a path, or P0002. Run as the owner.';

create function copilot_internal.check_last(
    p_path copilot_internal.conversation_paths, p_expected_last_message_id uuid) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    c_last constant uuid := coalesce(p_path.last_message_id, p_path.branch_point_message_id);
begin
    if p_expected_last_message_id is not null and p_expected_last_message_id is distinct from c_last then
        raise exception 'another message came first' using errcode = 'PT409',
            detail = format('The last message is %s.', coalesce(c_last::text, 'none'));
    end if;
end $$;
comment on function copilot_internal.check_last(copilot_internal.conversation_paths, uuid) is
    'Raises PT409 where the last message of a locked path is another than the caller has seen.';

-- People write as `user`; what the server writes for a person is the server's.
create function copilot_internal.authorise_author(
    p_tenant_id uuid, p_conversation_id uuid, p_role text, p_user_id uuid) returns uuid
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_role is distinct from 'user' and copilot_internal.caller_serves_all() then
        perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'write');
        return p_user_id;
    end if;
    p_user_id := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    if p_role is not null and p_role <> 'user' then
        raise exception 'only service_role writes as %', left(p_role, 40) using errcode = 'insufficient_privilege';
    end if;
    return p_user_id;
end $$;
comment on function copilot_internal.authorise_author(uuid, uuid, text, uuid) is
    'The user who writes, NULL for the server; raises where they may not.';

create function copilot_internal.append_message(
    p_tenant_id uuid, p_conversation_id uuid, p_role text, p_content text, p_user_id uuid default null,
    p_path_id uuid default null, p_parts jsonb default null, p_metadata jsonb default '{}',
    p_message_type text default 'standard', p_token_count integer default null,
    p_expected_last_message_id uuid default null, p_request_id text default null, p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null, p_draft boolean default false)
    returns table (message_id uuid, path_id uuid, sequence_in_path integer, effective_sequence integer,
                   created_at timestamptz, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v copilot_internal.conversation_messages;
    v_made copilot_internal.conversation_messages;
    v_at record;
begin
    if p_conversation_id is null then
        perform copilot_internal.refuse_input('p_conversation_id must not be NULL');
    end if;
    v.user_id := copilot_internal.authorise_author(p_tenant_id, p_conversation_id, p_role, p_user_id);
    if p_draft is null then
        perform copilot_internal.refuse_input('p_draft must not be NULL');
    elsif p_draft and not copilot_internal.caller_serves_all() then
        raise exception 'only service_role drafts' using errcode = 'insufficient_privilege';
    elsif p_message_type in ('merge_summary', 'system') and not copilot_internal.caller_serves_all() then
        raise exception 'only service_role writes a %', p_message_type using errcode = 'insufficient_privilege';
    end if;
    v.tenant_id := p_tenant_id;
    v.conversation_id := p_conversation_id;
    v.path_id := p_path_id;
    v.role := p_role;
    v.content := case when p_draft then coalesce(p_content, '') else p_content end;
    v.parts := p_parts;
    v.metadata := p_metadata;
    v.message_type := p_message_type;
    v.token_count := p_token_count;
    v.request_id := p_request_id;
    v.trace_id := p_trace_id;
    v.root_span_name := p_root_span_name;
    v.root_span_id := p_root_span_id;
    v.finished_at := case when not p_draft then clock_timestamp() end;
    perform copilot_internal.check_message(v);
    v_made := copilot_internal.replayed_message(v);
    if v_made.id is null then
        perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
        v.path_id := coalesce(p_path_id, copilot_internal.current_path(p_tenant_id, p_conversation_id));
        if p_request_id is not null or p_expected_last_message_id is not null then
            perform copilot_internal.lock_path(p_tenant_id, p_conversation_id, v.path_id);
            v_made := copilot_internal.replayed_message(v);
        end if;
    end if;
    replayed := v_made.id is not null;
    if replayed then
        select m_path.inherited_count + v_made.sequence_in_path into effective_sequence
        from copilot_internal.conversation_paths m_path
        where m_path.id = v_made.path_id and m_path.tenant_id = p_tenant_id;
    else
        if p_expected_last_message_id is not null then
            perform copilot_internal.check_last(
                copilot_internal.lock_path(p_tenant_id, p_conversation_id, v.path_id), p_expected_last_message_id);
        end if;
        v.id := copilot_internal.new_id();
        select * into v_at from copilot_internal.advance_path(p_tenant_id, p_conversation_id, v.path_id, v.id, 1,
            copilot_internal.message_tokens(v));
        v_made := copilot_internal.write_message(v, v_at.first_sequence, v_at.moment);
        effective_sequence := v_at.inherited_count + v_at.first_sequence;
        perform copilot_internal.note_activity(p_tenant_id, p_conversation_id, v_at.moment);
    end if;
    message_id := v_made.id;
    path_id := v_made.path_id;
    sequence_in_path := v_made.sequence_in_path;
    created_at := v_made.created_at;
    return next;
end $$;
comment on function copilot_internal.append_message(uuid, uuid, text, text, uuid, uuid, jsonb, jsonb, text, integer,
    uuid, text, text, text, text, boolean) is
    'Appends a message to a path, else to the active one. People write as user. A draft holds the place of an answer '
    'until finish_message.';

create function copilot_internal.append_plain_message(
    p_tenant_id uuid, p_conversation_id uuid, p_role text, p_content text, p_user_id uuid default null,
    p_path_id uuid default null, p_parts jsonb default null, p_metadata jsonb default '{}',
    p_message_type text default 'standard', p_token_count integer default null,
    p_expected_last_message_id uuid default null, p_request_id text default null, p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null, p_draft boolean default false)
    returns table (message_id uuid, path_id uuid, sequence_in_path integer, effective_sequence integer,
                   created_at timestamptz, replayed boolean)
    language c volatile rows 1 as 'MODULE_PATHNAME', 'append_plain_message_wrapper';
comment on function copilot_internal.append_plain_message(uuid, uuid, text, text, uuid, uuid, jsonb, jsonb, text,
    integer, uuid, text, text, text, text, boolean) is
    'What append_message does with a plain message, that is no retry, to an open conversation. Otherwise it gives '
    'NULLs and does nothing.';

create function public.append_message(
    p_tenant_id uuid, p_conversation_id uuid, p_role text, p_content text, p_user_id uuid default null,
    p_path_id uuid default null, p_parts jsonb default null, p_metadata jsonb default '{}',
    p_message_type text default 'standard', p_token_count integer default null,
    p_expected_last_message_id uuid default null, p_request_id text default null, p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null, p_draft boolean default false)
    returns table (message_id uuid, path_id uuid, sequence_in_path integer, effective_sequence integer,
                   created_at timestamptz, replayed boolean)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
begin
    select * into message_id, path_id, sequence_in_path, effective_sequence, created_at, replayed
    from copilot_internal.append_plain_message(p_tenant_id, p_conversation_id, p_role, p_content, p_user_id,
        p_path_id, p_parts, p_metadata, p_message_type, p_token_count, p_expected_last_message_id, p_request_id,
        p_trace_id, p_root_span_name, p_root_span_id, p_draft);
    if message_id is null then
        select * into message_id, path_id, sequence_in_path, effective_sequence, created_at, replayed
        from copilot_internal.append_message(p_tenant_id, p_conversation_id, p_role, p_content, p_user_id,
            p_path_id, p_parts, p_metadata, p_message_type, p_token_count, p_expected_last_message_id, p_request_id,
            p_trace_id, p_root_span_name, p_root_span_id, p_draft);
    end if;
    return next;
end $$;
comment on function public.append_message(uuid, uuid, text, text, uuid, uuid, jsonb, jsonb, text, integer,
    uuid, text, text, text, text, boolean) is
    'Appends a message to a path, else to the active one. People write as user. A draft holds the place of an answer '
    'until finish_message.';

create function copilot_internal.write_message(
    p copilot_internal.conversation_messages, p_sequence integer, p_at timestamptz)
    returns copilot_internal.conversation_messages
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    p.sequence_in_path := p_sequence;
    p.created_at := p_at;
    p.finished_at := case when p.finished_at is not null then p_at end;
    insert into copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, user_id, role, content,
        parts, metadata, token_count, sequence_in_path, message_type, finished_at, request_id, trace_id,
        root_span_name, root_span_id, created_at)
    values (p.id, p.conversation_id, p.path_id, p.tenant_id, p.user_id, p.role, p.content, p.parts, p.metadata,
        p.token_count, p.sequence_in_path, p.message_type, p.finished_at, p.request_id, p.trace_id, p.root_span_name,
        p.root_span_id, p.created_at);
    if not found then
        raise exception 'a trigger keeps the message from being stored'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return p;
end $$;
comment on function copilot_internal.write_message(copilot_internal.conversation_messages, integer, timestamptz) is
    'Inserts a message with its number. Run as the owner.';

create function copilot_internal.message_of_batch(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid, p_message jsonb)
    returns copilot_internal.conversation_messages
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v copilot_internal.conversation_messages;
begin
    if jsonb_typeof(p_message) is distinct from 'object' then
        perform copilot_internal.refuse_input('p_messages must hold objects');
    elsif exists (select from jsonb_object_keys(p_message) k
                  where k not in ('role', 'content', 'parts', 'metadata', 'message_type', 'token_count', 'trace_id',
                                  'root_span_name', 'root_span_id')) then
        perform copilot_internal.refuse_input('a message of p_messages has an unknown key');
    elsif jsonb_typeof(p_message -> 'content') is distinct from 'string'
          or coalesce(jsonb_typeof(p_message -> 'token_count'), 'null') not in ('null', 'number')
          or p_message ->> 'token_count' !~ '^[0-9]{1,9}$' then
        perform copilot_internal.refuse_input('a message of p_messages has a content or token_count of another type');
    end if;
    v.id := copilot_internal.new_id();
    v.tenant_id := p_tenant_id;
    v.conversation_id := p_conversation_id;
    v.path_id := p_path_id;
    v.user_id := p_user_id;
    v.role := p_message ->> 'role';
    v.content := p_message ->> 'content';
    v.parts := nullif(p_message -> 'parts', 'null');
    v.metadata := coalesce(nullif(p_message -> 'metadata', 'null'), '{}');
    v.message_type := coalesce(p_message ->> 'message_type', 'standard');
    v.token_count := p_message ->> 'token_count';
    v.trace_id := p_message ->> 'trace_id';
    v.root_span_name := p_message ->> 'root_span_name';
    v.root_span_id := p_message ->> 'root_span_id';
    v.finished_at := clock_timestamp();
    perform copilot_internal.check_message(v);
    return v;
end $$;
comment on function copilot_internal.message_of_batch(uuid, uuid, uuid, uuid, jsonb) is
    'Reads one message of a batch, or raises 22023.';

-- What the same request wrote: as many rows, from the one that has its id.
create function copilot_internal.replayed_batch(
    p_messages copilot_internal.conversation_messages[], p_request_id text) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_first copilot_internal.conversation_messages;
    v_same bigint;
begin
    select m.* into v_first from copilot_internal.conversation_messages m
    where m.tenant_id = (p_messages[1]).tenant_id and m.request_id = p_request_id;
    if v_first.id is null then
        return null;
    end if;
    select count(*) into v_same
    from generate_subscripts(p_messages, 1) b (place)
    join copilot_internal.conversation_messages m
        on m.path_id = (p_messages[b.place]).path_id and m.tenant_id = (p_messages[b.place]).tenant_id
        and m.sequence_in_path = v_first.sequence_in_path + b.place - 1
        and m.role = (p_messages[b.place]).role and m.created_at = v_first.created_at
        and (m.erased_at is not null
             or m.content = (p_messages[b.place]).content
             and m.parts is not distinct from (p_messages[b.place]).parts)
    where m.path_id = v_first.path_id;
    if v_same <> cardinality(p_messages) then
        raise exception 'the request id was used before for other messages' using errcode = 'unique_violation';
    end if;
    return v_first.sequence_in_path;
end $$;
comment on function copilot_internal.replayed_batch(copilot_internal.conversation_messages[], text) is
    'The first number of what the same request has appended. Run as the owner, with the path locked.';

create function copilot_internal.append_messages(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_messages jsonb, p_user_id uuid default null,
    p_expected_last_message_id uuid default null, p_request_id text default null)
    returns table (ordinal integer, message_id uuid, sequence_in_path integer, effective_sequence integer,
                   replayed boolean)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_user constant uuid := copilot_internal.authorise_author(p_tenant_id, p_conversation_id, null, p_user_id);
    v_messages copilot_internal.conversation_messages[];
    v_path copilot_internal.conversation_paths;
    v_first integer;
    v_at record;
begin
    if jsonb_typeof(p_messages) is distinct from 'array'
       or jsonb_array_length(p_messages) not between 1 and 100 then
        perform copilot_internal.refuse_input('p_messages must be an array of 1 to 100 messages');
    end if;
    perform copilot_internal.check_request_id(p_request_id);
    -- A retry goes where the first call went, though another path is active by now.
    v_path.id := coalesce(p_path_id, (
        select m.path_id from copilot_internal.conversation_messages m
        where m.tenant_id = p_tenant_id and m.request_id = p_request_id and m.conversation_id = p_conversation_id
    ), copilot_internal.current_path(p_tenant_id, p_conversation_id));
    v_messages := array(
        select copilot_internal.message_of_batch(p_tenant_id, p_conversation_id, v_path.id, v_user, e.value)
        from jsonb_array_elements(p_messages) with ordinality e (value, place) order by e.place);
    v_path := copilot_internal.lock_path(p_tenant_id, p_conversation_id, v_path.id);
    v_first := copilot_internal.replayed_batch(v_messages, p_request_id);
    replayed := v_first is not null;
    if not replayed then
        perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
        perform copilot_internal.check_last(v_path, p_expected_last_message_id);
        v_messages[1].request_id := p_request_id;
        select * into v_at from copilot_internal.advance_path(p_tenant_id, p_conversation_id, v_path.id,
            (v_messages[cardinality(v_messages)]).id, cardinality(v_messages),
            (select sum(copilot_internal.message_tokens(m)) from unnest(v_messages) m)::bigint);
        v_first := v_at.first_sequence;
        for v_place in 1 .. cardinality(v_messages) loop
            perform copilot_internal.write_message(v_messages[v_place], v_first + v_place - 1, v_at.moment);
        end loop;
        perform copilot_internal.note_activity(p_tenant_id, p_conversation_id, v_at.moment);
    end if;
    return query
        select m.sequence_in_path - v_first + 1, m.id, m.sequence_in_path, v_path.inherited_count + m.sequence_in_path,
               replayed
        from copilot_internal.conversation_messages m
        where m.path_id = v_path.id and m.tenant_id = p_tenant_id
          and m.sequence_in_path between v_first and v_first + cardinality(v_messages) - 1
        order by 1;
end $$;
comment on function copilot_internal.append_messages(uuid, uuid, uuid, jsonb, uuid, uuid, text) is
    'Appends up to 100 messages together: objects with role and content, and on request parts, metadata, message_type, '
    'token_count and trace columns.';

create function copilot_internal.finish_message(
    p_tenant_id uuid, p_message_id uuid, p_content text, p_parts jsonb default null, p_token_count integer default null,
    p_metadata jsonb default null, p_aborted boolean default false)
    returns table (finished_at timestamptz, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_old copilot_internal.conversation_messages;
    v_new copilot_internal.conversation_messages;
begin
    perform copilot_internal.require_server('finish a message');
    select m.* into v_old from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id;
    if v_old.id is null then
        perform copilot_internal.refuse_unknown('message');
    end if;
    perform from copilot_internal.conversations c
    where c.id = v_old.conversation_id and c.tenant_id = p_tenant_id for no key update;
    select m.* into v_old from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id for no key update;
    v_new := v_old;
    v_new.content := p_content;
    v_new.parts := p_parts;
    v_new.token_count := coalesce(p_token_count, v_old.token_count);
    v_new.metadata := coalesce(p_metadata, v_old.metadata)
        || case when p_aborted then jsonb '{"aborted": true}' else '{}' end;
    perform copilot_internal.check_message(v_new);
    replayed := v_old.finished_at is not null;
    if replayed and (v_old.content <> p_content or v_old.parts is distinct from p_parts) then
        raise exception 'the message is finished' using errcode = 'PT409',
            detail = format('It was finished at %s with other content.', v_old.finished_at);
    elsif not replayed then
        perform copilot_internal.require_open_conversation(p_tenant_id, v_old.conversation_id);
        v_old.finished_at := clock_timestamp();
        update copilot_internal.conversation_messages m
        set content = v_new.content, parts = v_new.parts, token_count = v_new.token_count,
            metadata = v_new.metadata, finished_at = v_old.finished_at
        where m.id = p_message_id and m.tenant_id = p_tenant_id;
        if v_old.deleted_at is null then
            perform copilot_internal.add_tokens(v_old,
                copilot_internal.message_tokens(v_new) - copilot_internal.message_tokens(v_old));
        end if;
    end if;
    finished_at := v_old.finished_at;
    return next;
end $$;
comment on function copilot_internal.finish_message(uuid, uuid, text, jsonb, integer, jsonb, boolean) is
    'Writes a draft''s content, once; from then on it does not change. The same again replays.';

-- No compaction goes beyond a draft, so all paths that have it show it.
create function copilot_internal.add_tokens(p copilot_internal.conversation_messages, p_tokens bigint) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path uuid;
begin
    for v_path in
        select o.id from copilot_internal.conversation_paths o
        where o.conversation_id = p.conversation_id and o.tenant_id = p.tenant_id
          and (o.id = p.path_id or exists (
              select from copilot_internal.conversation_path_segments s
              where s.path_id = o.id and s.tenant_id = o.tenant_id and s.source_path_id = p.path_id
                and s.shift + p.sequence_in_path <= s.to_position))
        order by o.id
    loop
        update copilot_internal.conversation_paths o
        set open_token_count = greatest(o.open_token_count + p_tokens, 0)
        where o.id = v_path and o.tenant_id = p.tenant_id;
    end loop;
end $$;
comment on function copilot_internal.add_tokens(copilot_internal.conversation_messages, bigint) is
    'Counts what a finished draft has more than the draft, on each path that shows it. Run as the owner, with the '
    'conversation locked.';

-- A unit is hidden whole, so that no model is shown a result without its call.
create function copilot_internal.hide_unit(p_tenant_id uuid, p_message_id uuid, p_actor uuid, p_reason text)
    returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_message copilot_internal.conversation_messages;
    v_reverted integer := 0;
begin
    for v_message in
        update copilot_internal.conversation_messages m
        set deleted_at = clock_timestamp(), deleted_by = p_actor, is_pinned = false, pinned_at = null, pinned_by = null
        where m.id = any (copilot_internal.unit_of(p_tenant_id, p_message_id)) and m.tenant_id = p_tenant_id
          and m.deleted_at is null
        returning m.*
    loop
        v_reverted := v_reverted + copilot_internal.revert_operations(p_tenant_id, v_message.path_id,
            v_message.sequence_in_path, p_reason, false);
        perform copilot_internal.note_removal(p_tenant_id, v_message.path_id, v_message.sequence_in_path, false);
    end loop;
    return v_reverted;
end $$;
comment on function copilot_internal.hide_unit(uuid, uuid, uuid, text) is
    'Deletes a message with its unit, on whatever path, and reverts what covers it; returns how many operations. Run '
    'as the owner, with the conversation locked.';

create function copilot_internal.delete_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_user_id uuid default null)
    returns table (deleted_at timestamptz, operations_reverted integer)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_user constant uuid := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'read');
    v_message copilot_internal.conversation_messages;
begin
    select m.* into v_message from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id and m.conversation_id = p_conversation_id;
    if v_message.id is null then
        perform copilot_internal.refuse_unknown('message');
    end if;
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id,
        case when v_message.user_id = v_user and v_message.role = 'user' then 'author' else 'manage' end);
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    operations_reverted := copilot_internal.hide_unit(p_tenant_id, p_message_id, v_user, 'deleted');
    select m.deleted_at into deleted_at from copilot_internal.conversation_messages m
    where m.id = p_message_id and m.tenant_id = p_tenant_id;
    return next;
end $$;
comment on function copilot_internal.delete_message(uuid, uuid, uuid, uuid) is
    'Hides a message, with the whole tool run that it is part of, from people and models; summaries that cover it are '
    'reverted. For its author, the conversation''s owner, and the tenant''s owners and admins.';
