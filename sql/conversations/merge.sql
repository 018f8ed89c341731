-- Merging: what the source shows and the target does not comes to the target, as a summary or as copies.

create function copilot_internal.last_common(p_tenant_id uuid, p_source_path_id uuid, p_target_path_id uuid)
    returns integer
    language sql stable
begin atomic
    -- Paths that share an ancestor share a prefix of it; its numbers are the same along both.
    select coalesce(max(least(s.upto, t.upto)), 0)
    from (
        select g.source_path_id, g.to_position as upto from copilot_internal.conversation_path_segments g
        where g.path_id = p_source_path_id and g.tenant_id = p_tenant_id
        union all select p_source_path_id, 2147483647
    ) s
    join (
        select g.source_path_id, g.to_position as upto from copilot_internal.conversation_path_segments g
        where g.path_id = p_target_path_id and g.tenant_id = p_tenant_id
        union all select p_target_path_id, 2147483647
    ) t using (source_path_id);
end;
comment on function copilot_internal.last_common(uuid, uuid, uuid) is
    'Up to which effective number two paths show the same. Run as the owner.';

-- What an earlier merge has copied from one to the other is on both. A unit of which a part is new comes whole.
create function copilot_internal.without_copied(
    p_tenant_id uuid, p_source_path_id uuid, p_target_path_id uuid, p_message_ids uuid[]) returns uuid[]
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (with shown as materialized (
        select i.id, i.place, exists (
            select from unnest(copilot_internal.copies_of(p_tenant_id, i.id)) c (id)
            join copilot_internal.conversation_messages m on m.id = c.id and m.tenant_id = p_tenant_id
            where m.deleted_at is null
              and copilot_internal.message_position(p_tenant_id, p_target_path_id, m.id) is not null) as is_known
        from unnest(p_message_ids) with ordinality i (id, place)
    )
    select coalesce(array_agg(s.id order by s.place), '{}')
    from shown s
    where not s.is_known or exists (
        select from unnest(copilot_internal.unit_on(p_tenant_id, p_source_path_id, s.id)) u (id)
        join shown o on o.id = u.id
        where not o.is_known));
end $$;
comment on function copilot_internal.without_copied(uuid, uuid, uuid, uuid[]) is
    'Of messages of a path those that another does not show, as original or copy. Run as the owner.';

-- Those that are merged, by effective number: all that are new to the target, or the named ones with their tool runs.
create function copilot_internal.messages_to_merge(
    p_tenant_id uuid, p_source_path_id uuid, p_target_path_id uuid, p_selected_message_ids uuid[])
    returns uuid[]
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_common constant integer := copilot_internal.last_common(p_tenant_id, p_source_path_id, p_target_path_id);
    v_all uuid[];
    v_picked uuid[];
begin
    select array_agg((l.message).id order by l.effective_position) into v_all
    from copilot_internal.lineage_messages(p_tenant_id, p_source_path_id, v_common + 1, 2147483647) l
    where (l.message).deleted_at is null and (l.message).finished_at is not null;
    v_all := copilot_internal.without_copied(p_tenant_id, p_source_path_id, p_target_path_id, coalesce(v_all, '{}'));
    if p_selected_message_ids is null then
        return v_all;
    elsif not p_selected_message_ids <@ v_all then
        perform copilot_internal.refuse_unknown('message to merge');
    end if;
    select array_agg(distinct u.id) into v_picked
    from unnest(p_selected_message_ids) s (id)
    cross join lateral unnest(copilot_internal.unit_of(p_tenant_id, s.id)) u (id);
    return array(select a.id from unnest(v_all) with ordinality a (id, place)
                 where a.id = any (v_picked) order by a.place);
end $$;
comment on function copilot_internal.messages_to_merge(uuid, uuid, uuid, uuid[]) is
    'The messages that a merge copies, in order. Run as the owner.';

create function copilot_internal.copy_messages(
    p_tenant_id uuid, p_conversation_id uuid, p_source_path_id uuid, p_target_path_id uuid, p_message_ids uuid[],
    out copies uuid[], out first_sequence integer)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_count constant integer := cardinality(p_message_ids);
    v_tokens bigint;
    v_at record;
begin
    copies := array(select copilot_internal.new_id() from generate_series(1, c_count));
    if c_count = 0 then
        return;
    elsif c_count > 1000 then
        raise exception 'a merge copies at most 1000 messages' using errcode = 'program_limit_exceeded',
            hint = 'Merge a summary.';
    end if;
    select sum(copilot_internal.message_tokens(m)) into v_tokens
    from copilot_internal.conversation_messages m where m.id = any (p_message_ids) and m.tenant_id = p_tenant_id;
    select * into v_at from copilot_internal.advance_path(p_tenant_id, p_conversation_id, p_target_path_id,
        copies[c_count], c_count, v_tokens);
    first_sequence := v_at.first_sequence;
    insert into copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, user_id, role, content,
        parts, metadata, token_count, sequence_in_path, message_type, is_pinned, pinned_at, pinned_by, finished_at,
        copied_from_message_id, trace_id, root_span_name, root_span_id, created_at)
    select copies[i.place], p_conversation_id, p_target_path_id, p_tenant_id, m.user_id, m.role, m.content, m.parts,
           m.metadata || jsonb_build_object('mergedFrom', p_source_path_id), m.token_count,
           v_at.first_sequence + i.place::integer - 1, m.message_type, m.is_pinned, m.pinned_at, m.pinned_by,
           v_at.moment, m.id, m.trace_id, m.root_span_name, m.root_span_id, v_at.moment
    from unnest(p_message_ids) with ordinality i (id, place)
    join copilot_internal.conversation_messages m on m.id = i.id and m.tenant_id = p_tenant_id;
    if (select count(*) from copilot_internal.pinned_of_path(p_tenant_id, p_target_path_id)) > 100 then
        perform copilot_internal.refuse_pin();
    end if;
    perform copilot_internal.note_activity(p_tenant_id, p_conversation_id, v_at.moment);
end $$;
comment on function copilot_internal.copy_messages(uuid, uuid, uuid, uuid, uuid[]) is
    'Appends copies of messages to a path, pinned where they are. Run as the owner.';

create function copilot_internal.check_merge(
    p_source_path_id uuid, p_target_path_id uuid, p_merge_mode text, p_selected_message_ids uuid[],
    p_summary_content text, p_archive_source boolean, p_request_id text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_source_path_id is null or p_target_path_id is null or p_archive_source is null then
        perform copilot_internal.refuse_input('paths and p_archive_source must not be NULL');
    elsif p_source_path_id = p_target_path_id then
        perform copilot_internal.refuse_input('a path does not merge into itself');
    elsif p_merge_mode is null or p_merge_mode not in ('summary', 'full', 'selective') then
        perform copilot_internal.refuse_input('p_merge_mode must be summary, full or selective');
    elsif (p_merge_mode = 'selective') <> (p_selected_message_ids is not null)
          or p_merge_mode = 'selective' and cardinality(p_selected_message_ids) = 0 then
        perform copilot_internal.refuse_input('p_selected_message_ids belongs to the mode selective');
    elsif cardinality(p_selected_message_ids) > 1000 then
        raise exception 'a merge copies at most 1000 messages' using errcode = 'program_limit_exceeded';
    elsif p_merge_mode = 'summary' and coalesce(p_summary_content, '') = '' then
        perform copilot_internal.refuse_input('the mode summary needs p_summary_content');
    elsif octet_length(p_summary_content) > 262144 then
        perform copilot_internal.refuse_input('p_summary_content must have at most 256 KiB');
    end if;
    perform copilot_internal.check_request_id(p_request_id);
end $$;
comment on function copilot_internal.check_merge(uuid, uuid, text, uuid[], text, boolean, text) is
    'Raises 22023 for a merge of no sense.';

-- Both rows are locked by id, so two merges of the same paths in opposite directions come one after the other.
create function copilot_internal.lock_to_merge(
    p_tenant_id uuid, p_conversation_id uuid, p_source_path_id uuid, p_target_path_id uuid)
    returns copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
    v_source copilot_internal.conversation_paths;
    v_count integer := 0;
begin
    for v_path in
        select p.* from copilot_internal.conversation_paths p
        where p.id in (p_source_path_id, p_target_path_id) and p.tenant_id = p_tenant_id
          and p.conversation_id = p_conversation_id
        order by p.id for update
    loop
        v_count := v_count + 1;
        if v_path.id = p_source_path_id then
            v_source := v_path;
        end if;
    end loop;
    if v_count < 2 then
        perform copilot_internal.refuse_unknown('path');
    end if;
    return v_source;
end $$;
comment on function copilot_internal.lock_to_merge(uuid, uuid, uuid, uuid) is
    'Locks both paths of a merge and gives the source, or P0002. Run as the owner.';

-- The source remembers: it is merged once, and a merge may bring nothing.
create function copilot_internal.replayed_merge(
    p_source copilot_internal.conversation_paths, p_target_path_id uuid, p_merge_mode text,
    p_selected_message_ids uuid[], p_summary_content text, p_request_id text,
    out merged_message_ids uuid[], out replayed boolean)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_origins uuid[];
begin
    replayed := coalesce(p_source.merge_request_id = p_request_id, false);
    if not replayed then
        if exists (select from copilot_internal.conversation_paths p
                   where p.tenant_id = p_source.tenant_id and p.merge_request_id = p_request_id) then
            raise exception 'the request id was used before for another merge' using errcode = 'unique_violation';
        end if;
        return;
    end if;
    select coalesce(array_agg(m.id order by m.sequence_in_path), '{}'), array_agg(m.copied_from_message_id)
    into merged_message_ids, v_origins
    from copilot_internal.conversation_messages m
    where m.path_id = p_source.merged_to_path_id and m.tenant_id = p_source.tenant_id
      and m.sequence_in_path between p_source.merge_first_sequence
                                 and p_source.merge_first_sequence + p_source.merge_count - 1;
    if p_source.merged_to_path_id <> p_target_path_id or p_source.merge_mode <> p_merge_mode
       or p_merge_mode = 'selective' and not p_selected_message_ids <@ v_origins
       or p_merge_mode = 'summary' and exists (
           select from copilot_internal.conversation_messages m
           where m.id = p_source.merge_summary_message_id and m.tenant_id = p_source.tenant_id
             and m.erased_at is null and m.content <> p_summary_content)
    then
        raise exception 'the request id was used before for another merge' using errcode = 'unique_violation';
    end if;
end $$;
comment on function copilot_internal.replayed_merge(
    copilot_internal.conversation_paths, uuid, text, uuid[], text, text) is
    'What the same request has merged. Run as the owner.';

create function copilot_internal.merge_path(
    p_tenant_id uuid, p_conversation_id uuid, p_source_path_id uuid, p_target_path_id uuid, p_merge_mode text,
    p_selected_message_ids uuid[] default null, p_summary_content text default null,
    p_archive_source boolean default true, p_user_id uuid default null, p_request_id text default null,
    p_removal_count integer default null)
    returns table (summary_message_id uuid, merged_message_ids uuid[], contexts_terminated integer,
                   active_path_id uuid, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_user constant uuid := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    v_source copilot_internal.conversation_paths;
    v_first integer;
begin
    perform copilot_internal.check_merge(p_source_path_id, p_target_path_id, p_merge_mode, p_selected_message_ids,
        p_summary_content, p_archive_source, p_request_id);
    if p_merge_mode = 'summary' and not copilot_internal.caller_serves_all() then
        raise exception 'only service_role writes a summary' using errcode = 'insufficient_privilege';
    end if;
    perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    v_source := copilot_internal.lock_to_merge(p_tenant_id, p_conversation_id, p_source_path_id, p_target_path_id);
    select r.merged_message_ids, r.replayed into merged_message_ids, replayed
    from copilot_internal.replayed_merge(v_source, p_target_path_id, p_merge_mode,
        p_selected_message_ids, p_summary_content, p_request_id) r;
    summary_message_id := v_source.merge_summary_message_id;
    contexts_terminated := 0;
    if not replayed then
        perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
        if v_source.is_primary then
            perform copilot_internal.refuse_input('the primary path is merged into no other');
        end if;
        perform copilot_internal.require_open_path(p_tenant_id, p_conversation_id, p_source_path_id);
        -- Also where nothing is brought: the target may become the active path.
        perform copilot_internal.require_taking_path(p_tenant_id, p_conversation_id, p_target_path_id);
        if p_merge_mode = 'summary' then
            perform copilot_internal.check_read(v_source, p_removal_count, 1, 2147483647);
            summary_message_id := copilot_internal.add_summary(p_tenant_id, p_conversation_id, p_source_path_id,
                p_target_path_id, v_user, p_summary_content);
            merged_message_ids := '{}';
        else
            select c.copies, c.first_sequence into merged_message_ids, v_first
            from copilot_internal.copy_messages(p_tenant_id, p_conversation_id, p_source_path_id, p_target_path_id,
                copilot_internal.messages_to_merge(p_tenant_id, p_source_path_id, p_target_path_id,
                    p_selected_message_ids)) c;
        end if;
        update copilot_internal.conversation_paths p
        set merge_request_id = p_request_id, merge_first_sequence = v_first,
            merge_count = cardinality(merged_message_ids)
        where p.id = p_source_path_id and p.tenant_id = p_tenant_id;
        contexts_terminated := copilot_internal.close_merged(v_source, p_target_path_id, p_merge_mode,
            summary_message_id, p_archive_source);
    end if;
    select c.active_path_id into active_path_id from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    return next;
end $$;
comment on function copilot_internal.merge_path(
    uuid, uuid, uuid, uuid, text, uuid[], text, boolean, uuid, text, integer) is
    'Brings to a path what only another shows: full, selective (whole tool runs) or, by service_role, as a summary of '
    'what was read with p_removal_count. Costs stay. The source goes out of use unless p_archive_source is false.';

create function copilot_internal.add_summary(
    p_tenant_id uuid, p_conversation_id uuid, p_source_path_id uuid, p_target_path_id uuid, p_user_id uuid,
    p_content text) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id constant uuid := copilot_internal.new_id();
    v_at record;
begin
    select * into v_at from copilot_internal.advance_path(p_tenant_id, p_conversation_id, p_target_path_id, v_id, 1,
        octet_length(p_content) / 4);
    insert into copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, user_id, role, content,
        metadata, sequence_in_path, message_type, finished_at, created_at)
    values (v_id, p_conversation_id, p_target_path_id, p_tenant_id, p_user_id, 'system', p_content,
        jsonb_build_object('mergedFrom', p_source_path_id), v_at.first_sequence, 'merge_summary', v_at.moment,
        v_at.moment);
    perform copilot_internal.note_activity(p_tenant_id, p_conversation_id, v_at.moment);
    return v_id;
end $$;
comment on function copilot_internal.add_summary(uuid, uuid, uuid, uuid, uuid, text) is
    'Appends the summary of a merged path. Run as the owner.';

create function copilot_internal.close_merged(
    p_source copilot_internal.conversation_paths, p_target_path_id uuid, p_merge_mode text, p_summary_message_id uuid,
    p_archive_source boolean) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update copilot_internal.conversation_paths p
    set merged_to_path_id = p_target_path_id, merged_at = clock_timestamp(), merge_mode = p_merge_mode,
        merge_summary_message_id = p_summary_message_id, is_active = not p_archive_source,
        updated_at = clock_timestamp()
    where p.id = p_source.id and p.tenant_id = p_source.tenant_id;
    if not p_archive_source then
        return 0;
    end if;
    update copilot_internal.conversations c set active_path_id = p_target_path_id, updated_at = clock_timestamp()
    where c.id = p_source.conversation_id and c.tenant_id = p_source.tenant_id and c.active_path_id = p_source.id;
    return copilot_internal.end_contexts(p_source.tenant_id, p_source.conversation_id, p_source.id, 'merged');
end $$;
comment on function copilot_internal.close_merged(copilot_internal.conversation_paths, uuid, text, uuid, boolean) is
    'Notes a merge on its source, takes it out of use, and ends its sandbox. Run as the owner.';
