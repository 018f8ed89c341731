-- Numbers. A path's messages are 1, 2, 3 … without gaps, in the order of their commits: the path's row is locked from
-- the number to the end of the transaction. Triggers number what comes without a number; a restored row has its own.

create function copilot_internal.current_path(p_tenant_id uuid, p_conversation_id uuid) returns uuid
    language sql stable
begin atomic
    select p.id
    from copilot_internal.conversations c
    join copilot_internal.conversation_paths p on p.conversation_id = c.id and p.tenant_id = c.tenant_id
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id
      and (p.is_primary or p.id = c.active_path_id and p.is_active)
    order by p.is_primary
    limit 1;
end;
comment on function copilot_internal.current_path(uuid, uuid) is
    'The active path of a conversation, or its primary path where that is gone. Run as the owner.';

create function copilot_internal.refuse_path(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id;
    if v_path.id is null then
        raise exception 'there is no such path' using errcode = 'no_data_found';
    end if;
    raise exception 'the path takes no messages' using errcode = 'PT409', detail = case
        when v_path.archived_at is not null then format('It was archived at %s.', v_path.archived_at)
        when v_path.merged_at is not null then format('It was merged at %s.', v_path.merged_at)
        else 'It is not active.' end;
end $$;
comment on function copilot_internal.refuse_path(uuid, uuid, uuid) is
    'Raises why a path takes no message: P0002 or PT409. Run as the owner.';

create function copilot_internal.require_taking_path(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid)
    returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id
      and p.is_active and p.archived_at is null;
    if not found then
        perform copilot_internal.refuse_path(p_tenant_id, p_conversation_id, p_path_id);
    end if;
end $$;
comment on function copilot_internal.require_taking_path(uuid, uuid, uuid) is
    'Raises P0002 or PT409 for a path that takes no messages. Run as the owner, with the path locked.';

-- The clock is read under the lock, so that created_at never falls along a path.
create function copilot_internal.advance_path(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_last_message_id uuid, p_count integer, p_tokens bigint,
    out first_sequence integer, out inherited_count integer, out moment timestamptz)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update copilot_internal.conversation_paths p
    set last_sequence = p.last_sequence + p_count, last_message_id = p_last_message_id,
        last_message_at = greatest(clock_timestamp(), p.last_message_at),
        open_message_count = p.open_message_count + p_count, open_token_count = p.open_token_count + p_tokens
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id
      and p.is_active and p.archived_at is null and p.last_sequence <= 1000000 - p_count
    returning p.last_sequence - p_count + 1, p.inherited_count, p.last_message_at
    into first_sequence, inherited_count, moment;
    if first_sequence is null then
        perform from copilot_internal.conversation_paths p
        where p.id = p_path_id and p.tenant_id = p_tenant_id and p.last_sequence > 1000000 - p_count;
        if found then
            raise exception 'a path has at most 1000000 messages' using errcode = 'program_limit_exceeded';
        end if;
        perform copilot_internal.refuse_path(p_tenant_id, p_conversation_id, p_path_id);
    end if;
end $$;
comment on function copilot_internal.advance_path(uuid, uuid, uuid, uuid, integer, bigint) is
    'Takes the next numbers of a path and the moment of its messages, and keeps the path to the end of the '
    'transaction. Run as the owner.';

-- A second old is new enough for a list. Nobody waits for it; maintain_conversations() repairs what was skipped.
create function copilot_internal.note_activity(p_tenant_id uuid, p_conversation_id uuid, p_at timestamptz) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    with free as (
        select c.id, c.tenant_id from copilot_internal.conversations c
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id
          and (c.last_message_at is null or c.last_message_at < p_at - interval '1 second')
        for no key update skip locked
    )
    update copilot_internal.conversations c set last_message_at = p_at, updated_at = p_at
    from free f where c.id = f.id and c.tenant_id = f.tenant_id;
end $$;
comment on function copilot_internal.note_activity(uuid, uuid, timestamptz) is
    'Notes a message in the conversation''s row, where it is not locked. Run as the owner.';

create function copilot_internal.number_message() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_at record;
begin
    perform copilot_internal.require_open_conversation(new.tenant_id, new.conversation_id);
    select * into v_at from copilot_internal.advance_path(new.tenant_id, new.conversation_id, new.path_id, new.id, 1,
        copilot_internal.message_tokens(new));
    new.sequence_in_path := v_at.first_sequence;
    new.created_at := v_at.moment;
    new.finished_at := case when new.finished_at is not null then v_at.moment end;
    perform copilot_internal.note_activity(new.tenant_id, new.conversation_id, v_at.moment);
    return new;
end $$;
comment on function copilot_internal.number_message() is 'Numbers a message that was inserted without a number.';
create trigger number_message before insert on copilot_internal.conversation_messages
    for each row when (new.sequence_in_path is null) execute function copilot_internal.number_message();

-- The path that owns the message is the parent. A branch `before` a message, told by replaces_message_id, is cut one
-- earlier; before the first, at the owner's own branch point. So every cut is at a message of the parent's own.
create function copilot_internal.find_cut(inout p_path copilot_internal.conversation_paths)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_message copilot_internal.conversation_messages;
    v_owner copilot_internal.conversation_paths;
begin
    select m.* into v_message from copilot_internal.conversation_messages m
    where m.id = coalesce(p_path.replaces_message_id, p_path.branch_point_message_id)
      and m.tenant_id = p_path.tenant_id and m.conversation_id = p_path.conversation_id;
    if v_message.id is null then
        perform copilot_internal.refuse_unknown('message');
    end if;
    if p_path.replaces_message_id is null or v_message.sequence_in_path > 1 then
        p_path.parent_path_id := v_message.path_id;
        p_path.branch_sequence := v_message.sequence_in_path
            - case when p_path.replaces_message_id is null then 0 else 1 end;
        select m.id into p_path.branch_point_message_id from copilot_internal.conversation_messages m
        where m.path_id = v_message.path_id and m.tenant_id = p_path.tenant_id
          and m.sequence_in_path = p_path.branch_sequence;
        return;
    end if;
    select p.* into v_owner from copilot_internal.conversation_paths p
    where p.id = v_message.path_id and p.tenant_id = p_path.tenant_id;
    p_path.parent_path_id := v_owner.parent_path_id;
    p_path.branch_sequence := v_owner.branch_sequence;
    p_path.branch_point_message_id := v_owner.branch_point_message_id;
end $$;
comment on function copilot_internal.find_cut(copilot_internal.conversation_paths) is
    'Where a new path leaves its parent. Run as the owner.';

create function copilot_internal.inherit(inout p_path copilot_internal.conversation_paths)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_parent copilot_internal.conversation_paths;
    v_after record;
begin
    -- Appends to the parent go on.
    perform from copilot_internal.conversation_paths p
    where p.id = p_path.parent_path_id and p.tenant_id = p_path.tenant_id for key share;
    select p.* into v_parent from copilot_internal.conversation_paths p
    where p.id = p_path.parent_path_id and p.tenant_id = p_path.tenant_id;
    if v_parent.depth >= 256 then
        raise exception 'a path is at most 256 branches deep' using errcode = 'program_limit_exceeded';
    end if;
    p_path.depth := v_parent.depth + 1;
    p_path.inherited_count := v_parent.inherited_count + p_path.branch_sequence;
    insert into copilot_internal.conversation_path_segments (tenant_id, path_id, to_position, source_path_id, shift)
    select s.tenant_id, p_path.id, s.to_position, s.source_path_id, s.shift
    from copilot_internal.conversation_path_segments s
    where s.path_id = v_parent.id and s.tenant_id = p_path.tenant_id
    union all
    select p_path.tenant_id, p_path.id, p_path.inherited_count, v_parent.id, v_parent.inherited_count;
    select * into v_after from copilot_internal.inherited_counts(p_path, v_parent.id);
    p_path.open_message_count := v_after.open_message_count;
    p_path.open_token_count := v_after.open_token_count;
end $$;
comment on function copilot_internal.inherit(copilot_internal.conversation_paths) is
    'Writes down what a new path has of its parent. Run as the owner.';

-- What the parent shows, less what it wrote after the cut. What is before the cut is read only where a compaction of
-- the parent reaches beyond it, and where one that came to govern the parent from elsewhere, or was reverted there,
-- left the parent's own counts as they were.
create function copilot_internal.inherited_counts(
    p_path copilot_internal.conversation_paths, p_parent_id uuid,
    out open_message_count integer, out open_token_count bigint)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    -- Most conversations have no operation: then none is looked for along the path.
    c_is_compacted constant boolean := exists (
        select from copilot_internal.compaction_operations o
        where o.conversation_id = (p_path).conversation_id and o.tenant_id = (p_path).tenant_id);
    v_through integer;
    v_through_own integer;
begin
    if c_is_compacted then
        v_through := (copilot_internal.governing_operation((p_path).tenant_id, p_parent_id)).through_position;
        v_through_own := (copilot_internal.governing_operation((p_path).tenant_id, (p_path).id)).through_position;
    end if;
    if not c_is_compacted or v_through is not distinct from v_through_own and not exists (
        select from copilot_internal.conversation_path_segments s
        join copilot_internal.compaction_operations o
            on o.path_id = s.source_path_id and o.tenant_id = s.tenant_id
            and o.conversation_id = (p_path).conversation_id
        join copilot_internal.conversation_paths p on p.id = s.path_id and p.tenant_id = s.tenant_id
        where s.path_id = p_parent_id and s.tenant_id = (p_path).tenant_id
          and greatest(o.applied_at, o.reverted_at) > p.created_at)
    then
        select p.open_message_count - count(m.id), p.open_token_count - coalesce(sum(
            copilot_internal.message_tokens(m)), 0)
        into open_message_count, open_token_count
        from copilot_internal.conversation_paths p
        left join copilot_internal.conversation_messages m
            on m.path_id = p.id and m.tenant_id = p.tenant_id and m.sequence_in_path > (p_path).branch_sequence
            and m.deleted_at is null
        where p.id = p_parent_id and p.tenant_id = (p_path).tenant_id
        group by p.open_message_count, p.open_token_count;
    else
        select coalesce((g.o).head_message_count, 0) + count(m.id),
               coalesce((g.o).head_token_count, 0) + coalesce(sum(copilot_internal.message_tokens(m)), 0)
        into open_message_count, open_token_count
        from (select copilot_internal.governing_operation((p_path).tenant_id, (p_path).id) as o offset 0) g
        left join copilot_internal.conversation_path_segments s
            on s.path_id = (p_path).id and s.tenant_id = (p_path).tenant_id
        left join copilot_internal.conversation_messages m
            on m.path_id = s.source_path_id and m.tenant_id = s.tenant_id and m.deleted_at is null
            and m.sequence_in_path between greatest(coalesce((g.o).through_position, 0) - s.shift, 0) + 1
                                       and s.to_position - s.shift
        group by g.o;
    end if;
    open_message_count := greatest(open_message_count, 0);
    open_token_count := greatest(open_token_count, 0);
end $$;
comment on function copilot_internal.inherited_counts(copilot_internal.conversation_paths, uuid) is
    'How many messages and tokens a new path shows a model. Run as the owner, when its segments are written.';

create function copilot_internal.number_path() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Compaction, deletion and erasure lock it more strongly: what is counted here stays as it is.
    perform from copilot_internal.conversations c
    where c.id = new.conversation_id and c.tenant_id = new.tenant_id for share;
    perform copilot_internal.require_open_conversation(new.tenant_id, new.conversation_id);
    if (select count(*) from copilot_internal.conversation_paths p
        where p.conversation_id = new.conversation_id and p.tenant_id = new.tenant_id) >= 1000 then
        raise exception 'a conversation has at most 1000 paths' using errcode = 'program_limit_exceeded';
    end if;
    new.depth := 0;
    if coalesce(new.replaces_message_id, new.branch_point_message_id) is not null then
        new := copilot_internal.find_cut(new);
    elsif new.parent_path_id is not null then
        raise exception 'a path with a parent needs a branch point' using errcode = 'invalid_parameter_value';
    end if;
    if new.parent_path_id is not null then
        new := copilot_internal.inherit(new);
    end if;
    return new;
end $$;
comment on function copilot_internal.number_path() is 'Gives a new path what it inherits.';
create trigger number_path before insert on copilot_internal.conversation_paths
    for each row when (new.depth is null) execute function copilot_internal.number_path();

-- Segments have no key to their path, for they are written before it.
create function copilot_internal.delete_segments() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from copilot_internal.conversation_path_segments s where s.path_id = old.id and s.tenant_id = old.tenant_id;
    update copilot_internal.compaction_operations o
    set state = 'reverted', reverted_at = clock_timestamp(), revert_reason = 'the path is gone'
    where o.path_id = old.id and o.tenant_id = old.tenant_id and o.state = 'applied';
    return null;
end $$;
comment on function copilot_internal.delete_segments() is
    'Trigger: what a path inherited goes with it, and no operation of it is in force.';
create trigger delete_segments after delete on copilot_internal.conversation_paths
    for each row execute function copilot_internal.delete_segments();

create function copilot_internal.refuse_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'this does not change' using errcode = 'object_not_in_prerequisite_state',
        detail = format('Table %s.', tg_table_name);
end $$;
comment on function copilot_internal.refuse_change() is 'Raises 55000: history does not change.';
create trigger guard_path before update of id, conversation_id, tenant_id, parent_path_id, branch_point_message_id,
    branch_sequence, replaces_message_id, inherited_count, depth, created_at
    on copilot_internal.conversation_paths for each row
    when (row(old.id, old.conversation_id, old.tenant_id, old.parent_path_id, old.branch_point_message_id,
              old.branch_sequence, old.replaces_message_id, old.inherited_count, old.depth, old.created_at)
          is distinct from
          row(new.id, new.conversation_id, new.tenant_id, new.parent_path_id, new.branch_point_message_id,
              new.branch_sequence, new.replaces_message_id, new.inherited_count, new.depth, new.created_at))
    execute function copilot_internal.refuse_change();
create trigger guard_segment before update on copilot_internal.conversation_path_segments
    for each row execute function copilot_internal.refuse_change();
create trigger guard_place before update of id, conversation_id, path_id, tenant_id, role, sequence_in_path,
    copied_from_message_id, created_at
    on copilot_internal.conversation_messages for each row
    when (row(old.id, old.conversation_id, old.path_id, old.tenant_id, old.role, old.sequence_in_path,
              old.copied_from_message_id, old.created_at)
          is distinct from
          row(new.id, new.conversation_id, new.path_id, new.tenant_id, new.role, new.sequence_in_path,
              new.copied_from_message_id, new.created_at))
    execute function copilot_internal.refuse_change();
-- A draft is written once, and what is erased is emptied.
create trigger guard_content before update of content, parts, finished_at, metadata
    on copilot_internal.conversation_messages for each row
    when (old.erased_at is not null and new.metadata <> '{}'
          or old.finished_at is not null
          and (old.content <> new.content or old.parts is distinct from new.parts
               or old.finished_at is distinct from new.finished_at)
          and (new.erased_at is null or new.content <> '' or new.parts is not null))
    execute function copilot_internal.refuse_change();

create function copilot_internal.keep_activity() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.last_message_at := old.last_message_at;
    return new;
end $$;
comment on function copilot_internal.keep_activity() is 'A late writer does not move a conversation back in the list.';
create trigger keep_activity before update of last_message_at on copilot_internal.conversations
    for each row when (new.last_message_at is null and old.last_message_at is not null
                       or new.last_message_at < old.last_message_at)
    execute function copilot_internal.keep_activity();
