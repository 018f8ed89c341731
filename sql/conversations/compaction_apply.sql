-- Applying a compaction, and taking it back.

-- What may be cut off: raises for a boundary or a kept message that would show a model half of something.
create function copilot_internal.check_boundary(
    p_tenant_id uuid, p_path_id uuid, p_position integer, p_kept uuid[], p_base_position integer) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_half uuid;
begin
    if p_position < p_base_position then
        raise exception 'p_through_message_id comes before the end of the operation that governs the path'
            using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from copilot_internal.lineage_messages(p_tenant_id, p_path_id, p_position + 1, p_position + 1) l
               where (l.message).role = 'tool')
    then
        raise exception 'p_through_message_id would part a call from its results'
            using errcode = 'invalid_parameter_value', hint = 'Name the last of the tool messages that follow it.';
    end if;
    if exists (select from copilot_internal.lineage_messages(p_tenant_id, p_path_id, 1, p_position) l
               where (l.message).finished_at is null and (l.message).deleted_at is null)
    then
        raise exception 'a draft among the messages is not finished' using errcode = 'PT409',
            detail = 'finish_message, or maintain_conversations after an hour, finishes it.';
    end if;
    if exists (
        select from unnest(p_kept) k (id)
        where coalesce(copilot_internal.message_position(p_tenant_id, p_path_id, k.id), p_position + 1) > p_position)
    then
        raise exception 'p_kept_message_ids names a message that the operation does not cover'
            using errcode = 'invalid_parameter_value';
    end if;
    select k.id into v_half
    from unnest(p_kept) k (id)
    where not p_kept @> copilot_internal.unit_on(p_tenant_id, p_path_id, k.id)
    limit 1;
    if v_half is not null then
        raise exception 'p_kept_message_ids names % without the rest of its call and results', v_half
            using errcode = 'invalid_parameter_value', hint = 'Keep the call and all of its results, or none.';
    end if;
end $$;
comment on function copilot_internal.check_boundary(uuid, uuid, integer, uuid[], integer) is
    'Raises 22023 or PT409 where an operation may not end, or may not keep these messages. Run as the owner.';

-- Ids that are kept: the caller's, and what is pinned at this moment with the rest of its unit.
create function copilot_internal.kept_and_pinned(
    p_tenant_id uuid, p_path_id uuid, p_position integer, p_kept uuid[],
    out kept uuid[], out pinned integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_pinned constant uuid[] := array(
        select (l.message).id
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, 1, p_position) l
        where (l.message).is_pinned and (l.message).deleted_at is null);
begin
    pinned := cardinality(v_pinned);
    kept := array(
        select distinct k.id from (
            select unnest(p_kept) as id
            union all
            select u.id from unnest(v_pinned) v (id)
            cross join lateral unnest(copilot_internal.unit_on(p_tenant_id, p_path_id, v.id)) u (id)
        ) k);
end $$;
comment on function copilot_internal.kept_and_pinned(uuid, uuid, integer, uuid[]) is
    'What an operation keeps of what it covers: the caller''s choice and what is pinned now. Run as the owner.';

create function copilot_internal.same_operation(
    p_operation copilot_internal.compaction_operations, p_path_id uuid, p_position integer, p_strategy text,
    p_summary text, p_summary_parts jsonb, p_kept uuid[]) returns boolean
    language sql immutable
begin atomic
    -- An erasure empties the summary: what it said is no longer known.
    select ((p_operation).path_id, (p_operation).through_position, (p_operation).strategy)
           is not distinct from (p_path_id, p_position, p_strategy)
       and ((p_operation).emptied_at is not null
            or ((p_operation).summary, (p_operation).summary_parts) is not distinct from (p_summary, p_summary_parts))
       and (p_operation).kept_message_ids @> p_kept;
end;
comment on function copilot_internal.same_operation(
    copilot_internal.compaction_operations, uuid, integer, text, text, jsonb, uuid[]) is
    'Whether a request to compact asks for what this operation is.';

-- A summary is of what its writer has read. A message that was deleted or erased since would come back in it.
create function copilot_internal.check_read(
    p_path copilot_internal.conversation_paths, p_removal_count integer, p_first integer, p_last integer) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_removal_count is not null and p_removal_count <> (p_path).removal_count
       or p_removal_count is null and exists (
           select from copilot_internal.lineage_messages((p_path).tenant_id, (p_path).id, p_first, p_last) l
           -- Nobody writes at a summary for longer than the longest lease.
           where greatest((l.message).deleted_at, (l.message).erased_at) > clock_timestamp() - interval '1 hour')
    then
        raise exception 'a message was deleted or erased that the summary may tell of' using errcode = 'PT409',
            detail = format('The removal_count of the path is %s.', (p_path).removal_count),
            hint = 'Read the context again, sum that up, and hand over its removal_count.';
    end if;
end $$;
comment on function copilot_internal.check_read(copilot_internal.conversation_paths, integer, integer, integer) is
    'Raises PT409 where messages of a range were deleted or erased since the caller read that removal_count; without '
    'one, within the last hour. Run as the owner, with the conversation locked.';

create function copilot_internal.check_compaction_arguments(
    p_strategy text, p_triggered_by text, p_summary text, p_summary_parts jsonb, p_kept uuid[], p_metadata jsonb)
    returns void language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_strategy is null or p_strategy not in ('none', 'sliding_window', 'semantic', 'hybrid', 'minimal', 'moderate',
                                                'aggressive')
    then
        raise exception 'unknown p_strategy "%"', left(p_strategy, 100) using errcode = 'invalid_parameter_value',
            hint = 'One of none, sliding_window, semantic, hybrid, minimal, moderate, aggressive.';
    end if;
    if p_triggered_by is null or p_triggered_by not in ('manual', 'auto') then
        raise exception 'p_triggered_by must be manual or auto' using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(p_summary) > 262144 or octet_length(p_summary_parts::text) > 4194304 then
        raise exception 'a summary has at most 256 KiB, its parts 4 MiB' using errcode = 'invalid_parameter_value';
    end if;
    if p_kept is null or cardinality(p_kept) > 1000 or array_position(p_kept, null) is not null then
        raise exception 'p_kept_message_ids must be at most 1,000 ids' using errcode = 'invalid_parameter_value';
    end if;
    if p_metadata is null or jsonb_typeof(p_metadata) <> 'object' or octet_length(p_metadata::text) > 65536 then
        raise exception 'p_metadata must be an object of at most 64 KiB' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_compaction_arguments(text, text, text, jsonb, uuid[], jsonb) is
    'Raises 22023 for what no compaction may be told.';

create function copilot_internal.apply_compaction(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_through_message_id uuid, p_strategy text,
    p_summary text default null, p_summary_parts jsonb default null, p_kept_message_ids uuid[] default '{}',
    p_base_operation_id uuid default null, p_tokens_before integer default null, p_tokens_after integer default null,
    p_cost_record_id uuid default null, p_triggered_by text default 'manual', p_duration_ms integer default null,
    p_user_id uuid default null, p_request_id text default null, p_metadata jsonb default '{}',
    p_removal_count integer default null)
    returns table (operation_id uuid, through_position integer, messages_covered integer, pinned_preserved integer,
        replayed boolean, state text)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
    v_base copilot_internal.compaction_operations;
    v_known copilot_internal.compaction_operations;
    v_new copilot_internal.compaction_operations;
    v_position integer;
    v_tail record;
    v_kept_tokens bigint;
    v_cost numeric;
begin
    perform copilot_internal.require_server('apply a compaction');
    if p_path_id is null or p_through_message_id is null then
        raise exception 'p_path_id and p_through_message_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if p_tokens_before < 0 or p_tokens_after < 0 or p_duration_ms < 0 then
        raise exception 'counts must not be negative' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.check_compaction_arguments(p_strategy, p_triggered_by, p_summary, p_summary_parts,
        p_kept_message_ids, p_metadata);
    perform copilot_internal.check_request_id(p_request_id);
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    v_path := copilot_internal.lock_path(p_tenant_id, p_conversation_id, p_path_id);
    v_position := copilot_internal.message_position(p_tenant_id, p_path_id, p_through_message_id);
    if v_position is null then
        raise exception 'the path shows no such message' using errcode = 'no_data_found';
    end if;
    select o.* into v_known from copilot_internal.compaction_operations o
    where o.tenant_id = p_tenant_id and o.request_id = p_request_id;
    if found then
        if not copilot_internal.same_operation(v_known, p_path_id, v_position, p_strategy, p_summary, p_summary_parts,
                                               p_kept_message_ids)
        then
            raise exception 'this request id was used before with other arguments' using errcode = 'unique_violation';
        end if;
        return query select v_known.id, v_known.through_position, v_known.messages_summarized,
            v_known.pinned_preserved, true, v_known.state;
        return;
    end if;
    perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
    perform copilot_internal.require_open_path(p_tenant_id, p_conversation_id, p_path_id);
    v_base := copilot_internal.governing_operation(p_tenant_id, p_path_id);
    if v_base.id is distinct from p_base_operation_id then
        raise exception 'another operation governs the path' using errcode = 'PT409',
            detail = coalesce(v_base.id::text, 'none'), hint = 'Read the context again and compact that.';
    end if;
    perform copilot_internal.check_boundary(p_tenant_id, p_path_id, v_position, p_kept_message_ids,
        coalesce(v_base.through_position, 1));
    if coalesce(p_summary, p_summary_parts::text) is not null or p_metadata <> '{}' then
        perform copilot_internal.check_read(v_path, p_removal_count, 1, v_position);
    end if;
    if p_cost_record_id is not null then
        select r.cost_usd into v_cost from copilot_internal.llm_cost_records r
        where r.id = p_cost_record_id and r.tenant_id = p_tenant_id;
        if not found then
            raise exception 'there is no such cost record' using errcode = 'no_data_found';
        end if;
    end if;

    select k.kept, k.pinned into v_new.kept_message_ids, v_new.pinned_preserved
    from copilot_internal.kept_and_pinned(p_tenant_id, p_path_id, v_position, p_kept_message_ids) k;
    select count(*) filter (where not l.is_tail and not l.is_kept) as covered,
           count(*) filter (where not l.is_tail and l.is_kept) as kept,
           count(*) filter (where l.is_tail) as later,
           coalesce(sum(l.tokens) filter (where l.is_tail), 0) as later_tokens,
           coalesce(sum(l.tokens) filter (where not l.is_tail and l.is_kept), 0) as kept_tokens
    into v_tail
    from (
        select l.effective_position > v_position as is_tail,
               (l.message).id = any (v_new.kept_message_ids) as is_kept,
               copilot_internal.message_tokens(l.message) as tokens
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, 1, 2147483647) l
        where (l.message).deleted_at is null
    ) l;
    v_kept_tokens := v_tail.kept_tokens + (coalesce(octet_length(p_summary), 0)
        + coalesce(octet_length(p_summary_parts::text), 0)) / 4;
    v_new.head_message_count := v_tail.kept
        + (p_summary is not null or p_summary_parts is not null)::integer;
    v_new.messages_before := v_path.open_message_count;
    v_new.messages_after := v_new.head_message_count + v_tail.later;
    v_new.tokens_before := coalesce(p_tokens_before, least(v_path.open_token_count, 2147483647));
    v_new.tokens_after := coalesce(p_tokens_after, least(v_kept_tokens + v_tail.later_tokens, 2147483647));
    v_new.head_token_count := v_new.tokens_after - v_tail.later_tokens;
    v_new.state := case when v_new.tokens_after < v_new.tokens_before then 'applied' else 'failed' end;
    insert into copilot_internal.compaction_operations as o
        (conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, tokens_before, tokens_after,
         messages_before, messages_after, messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd,
         success, error, metadata, state, through_position, summary, summary_parts, kept_message_ids,
         base_operation_id, head_message_count, head_token_count, cost_record_id, applied_at, request_id)
    values (p_conversation_id, p_path_id, p_tenant_id, p_user_id, p_strategy, p_triggered_by, v_new.tokens_before,
            v_new.tokens_after, v_new.messages_before, v_new.messages_after, v_tail.covered, v_new.pinned_preserved,
            p_duration_ms, p_cost_record_id is not null, v_cost, v_new.state = 'applied',
            case v_new.state when 'failed' then 'it would have made nothing smaller' end, p_metadata, v_new.state,
            v_position, p_summary, p_summary_parts, v_new.kept_message_ids, v_base.id, v_new.head_message_count,
            v_new.head_token_count, p_cost_record_id,
            case v_new.state when 'applied' then clock_timestamp() end, p_request_id)
    returning o.id into v_new.id;
    update copilot_internal.conversation_paths p
    set open_message_count = case v_new.state when 'applied' then v_new.messages_after else p.open_message_count end,
        open_token_count = case v_new.state when 'applied' then v_new.tokens_after else p.open_token_count end,
        compaction_checked_at = clock_timestamp(), compaction_claimed_until = null,
        last_compaction_at = case v_new.state when 'applied' then clock_timestamp() else p.last_compaction_at end
    where p.id = p_path_id and p.tenant_id = p_tenant_id;
    return query select v_new.id, v_position, v_tail.covered::integer, v_new.pinned_preserved, false, v_new.state;
end $$;
comment on function copilot_internal.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, integer,
    integer, uuid, text, integer, uuid, text, jsonb, integer) is
    'What public.apply_compaction does.';

create function public.apply_compaction(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_through_message_id uuid, p_strategy text,
    p_summary text default null, p_summary_parts jsonb default null, p_kept_message_ids uuid[] default '{}',
    p_base_operation_id uuid default null, p_tokens_before integer default null, p_tokens_after integer default null,
    p_cost_record_id uuid default null, p_triggered_by text default 'manual', p_duration_ms integer default null,
    p_user_id uuid default null, p_request_id text default null, p_metadata jsonb default '{}',
    p_removal_count integer default null)
    returns table (operation_id uuid, through_position integer, messages_covered integer, pinned_preserved integer,
        replayed boolean, state text)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.apply_compaction(p_tenant_id, p_conversation_id, p_path_id, p_through_message_id,
        p_strategy, p_summary, p_summary_parts, p_kept_message_ids, p_base_operation_id, p_tokens_before,
        p_tokens_after, p_cost_record_id, p_triggered_by, p_duration_ms, p_user_id, p_request_id, p_metadata,
        p_removal_count);
end;
comment on function public.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, integer, integer,
    uuid, text, integer, uuid, text, jsonb, integer) is
    'Shows models a summary for messages up to one, if its base governs. PT409 where one was deleted or erased since '
    'p_removal_count was read, else in the last hour. Kept and pinned ones stay. Failed if it makes nothing smaller. '
    'For service_role.';

create function copilot_internal.revert_compaction(p_tenant_id uuid, p_operation_id uuid, p_user_id uuid default null)
    returns table (state text, effective_operation_id uuid, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_operation copilot_internal.compaction_operations;
    v_actor uuid;
begin
    if p_tenant_id is null or p_operation_id is null then
        raise exception 'p_tenant_id and p_operation_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    select o.* into v_operation from copilot_internal.compaction_operations o
    where o.id = p_operation_id and o.tenant_id = p_tenant_id;
    -- An id that names nothing is asked about all the same, so that a stranger hears the same of both.
    v_actor := copilot_internal.access(p_tenant_id, coalesce(v_operation.conversation_id, p_operation_id), p_user_id,
                                       'manage');
    if v_operation.path_id is null then
        raise exception 'there is no such operation' using errcode = 'no_data_found';
    end if;
    perform copilot_internal.lock_open_conversation(p_tenant_id, v_operation.conversation_id);
    perform from copilot_internal.conversation_paths p
    where p.id = v_operation.path_id and p.tenant_id = p_tenant_id for no key update;
    select o.* into v_operation from copilot_internal.compaction_operations o
    where o.id = p_operation_id and o.tenant_id = p_tenant_id;
    if v_operation.state not in ('applied', 'reverted') then
        raise exception 'the operation was never applied' using errcode = 'PT409', detail = v_operation.state;
    end if;
    if v_operation.state = 'applied' then
        update copilot_internal.compaction_operations o
        set state = 'reverted', reverted_at = clock_timestamp(), reverted_by = v_actor, revert_reason = 'asked'
        where o.id = p_operation_id and o.tenant_id = p_tenant_id;
        perform copilot_internal.recount_path(p_tenant_id, v_operation.path_id);
    end if;
    return query select 'reverted'::text,
        (copilot_internal.governing_operation(p_tenant_id, v_operation.path_id)).id, v_operation.state = 'reverted';
end $$;
comment on function copilot_internal.revert_compaction(uuid, uuid, uuid) is 'What public.revert_compaction does.';

create function public.revert_compaction(p_tenant_id uuid, p_operation_id uuid, p_user_id uuid default null)
    returns table (state text, effective_operation_id uuid, replayed boolean)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.revert_compaction(p_tenant_id, p_operation_id, p_user_id);
end;
comment on function public.revert_compaction(uuid, uuid, uuid) is
    'Takes a compaction back: the operation before it governs again, or none. For service_role and the conversation''s '
    'owner.';
