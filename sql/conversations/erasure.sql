-- Erasure: what was erased is in no table of the two extensions. A conversation is hidden by the first call and goes in
-- steps of bounded size. Sandboxes that run keep a stub of their path until they are billed. Costs stay, without words.

create table copilot_internal.conversation_erasures (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    kind text not null check (kind in ('message', 'conversation', 'user')),
    conversation_id uuid,
    message_id uuid,
    user_id uuid,
    requested_by uuid,
    requested_at timestamptz not null default pg_catalog.clock_timestamp(),
    completed_at timestamptz,
    row_count bigint not null default 0,
    cursor uuid,
    request_id_digest bytea,
    cost_record_count bigint,
    costs_settled_at timestamptz,
    check ((conversation_id is not null) = (kind in ('message', 'conversation'))),
    check ((message_id is not null) = (kind = 'message')),
    check ((user_id is not null) = (kind = 'user'))
);
create index conversation_erasures_tenant_id_idx on copilot_internal.conversation_erasures (tenant_id, requested_at);
create unique index conversation_erasures_open_idx on copilot_internal.conversation_erasures
    (tenant_id, kind, coalesce(message_id, conversation_id, user_id)) where completed_at is null;
create index conversation_erasures_unsettled_idx on copilot_internal.conversation_erasures (completed_at)
    where kind = 'conversation' and completed_at is not null and costs_settled_at is null;
create index conversation_erasures_request_id_idx
    on copilot_internal.conversation_erasures (tenant_id, request_id_digest) where request_id_digest is not null;
comment on table copilot_internal.conversation_erasures is
    'What was erased, by its ids and without a word of it: erase it again after you restore a backup.';
comment on column copilot_internal.conversation_erasures.id is 'The row.';
comment on column copilot_internal.conversation_erasures.tenant_id is 'In which tenant.';
comment on column copilot_internal.conversation_erasures.kind is 'message, conversation or user.';
comment on column copilot_internal.conversation_erasures.conversation_id is 'The conversation.';
comment on column copilot_internal.conversation_erasures.message_id is 'The message.';
comment on column copilot_internal.conversation_erasures.user_id is 'The user.';
comment on column copilot_internal.conversation_erasures.requested_by is 'Who asked; NULL is the server.';
comment on column copilot_internal.conversation_erasures.requested_at is 'When.';
comment on column copilot_internal.conversation_erasures.completed_at is 'When nothing was left.';
comment on column copilot_internal.conversation_erasures.row_count is 'Rows that were erased.';
comment on column copilot_internal.conversation_erasures.cursor is 'How far it has come, by conversation.';
comment on column copilot_internal.conversation_erasures.request_id_digest is
    'SHA-256 of the request id that the conversation was made with: its retry makes it no second time.';
comment on column copilot_internal.conversation_erasures.cost_record_count is
    'Records of what the conversation cost, when upkeep last looked for words in them.';
comment on column copilot_internal.conversation_erasures.costs_settled_at is
    'When upkeep looked for the last time.';

-- What parts say of files: the application deletes these itself.
create function copilot_internal.attachments_of(p_parts jsonb[]) returns jsonb
    language sql immutable
begin atomic
    select coalesce(pg_catalog.jsonb_agg(distinct k.key), '[]')
    from pg_catalog.unnest(p_parts) p (part)
    cross join lateral pg_catalog.jsonb_path_query(p.part,
        '$.** ? (@.type() == "object").keyvalue() ? (@.key == "storage_key" || @.key == "storageKey"
            || @.key == "storage_path" || @.key == "storagePath" || @.key == "file_id" || @.key == "fileId").value
            ? (@.type() == "string")') k (key);
end;
comment on function copilot_internal.attachments_of(jsonb[]) is
    'The storage keys in parts of messages: values of storage_key, storage_path and file_id, also in camel case.';

create function copilot_internal.begin_erasure(
    p_tenant_id uuid, p_kind text, p_conversation_id uuid, p_message_id uuid, p_user_id uuid, p_actor uuid)
    returns uuid language sql volatile
begin atomic
    insert into copilot_internal.conversation_erasures as e
        (tenant_id, kind, conversation_id, message_id, user_id, requested_by)
    values (p_tenant_id, p_kind, p_conversation_id, p_message_id, p_user_id, p_actor)
    on conflict (tenant_id, kind, coalesce(message_id, conversation_id, user_id)) where completed_at is null
    do update set row_count = e.row_count
    returning e.id;
end;
comment on function copilot_internal.begin_erasure(uuid, text, uuid, uuid, uuid, uuid) is
    'The row of an erasure in progress, made if there is none. Run as the owner.';

-- One step. The conversation goes first: from then on it is not appended to, branched or read.
create function copilot_internal.erase_step(p_tenant_id uuid, p_conversation_id uuid, p_limit integer)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_parts jsonb[];
    v_gone boolean;
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for update;
    erased := 0;
    remaining_contexts := 0;
    attachments := '[]';
    if not found then
        done := true;
        return next;
        return;
    end if;
    perform copilot_internal.hide_conversation(p_tenant_id, p_conversation_id);
    -- Those that were tried the longest time ago come first: stubs that wait for sandboxes keep nobody from their turn.
    update copilot_internal.conversations c set updated_at = clock_timestamp()
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    with gone as (
        delete from copilot_internal.conversation_messages m
        -- By their places: nobody changes them while the conversation is locked and its paths are closed.
        where m.tenant_id = p_tenant_id and m.ctid = any (array(
            select o.ctid from copilot_internal.conversation_paths p
            join copilot_internal.conversation_messages o on o.path_id = p.id and o.tenant_id = p.tenant_id
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id limit p_limit))
        returning m.parts
    )
    select count(*), array_agg(g.parts) filter (where g.parts is not null) into erased, v_parts from gone g;
    attachments := copilot_internal.attachments_of(v_parts);
    select count(*) into remaining_contexts from copilot_internal.execution_contexts x
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id
      and (x.released_at is null or copilot_internal.awaits_sandbox(x));
    done := false;
    if erased < p_limit then
        if copilot_internal.redact_conversation_costs(p_tenant_id, array[p_conversation_id]) is null then
            -- Somebody folds the tenant's costs: the next call goes on.
            return next;
            return;
        end if;
        v_gone := remaining_contexts = 0;
        erased := erased + copilot_internal.erase_shell(p_tenant_id, p_conversation_id, v_gone);
        done := v_gone;
    end if;
    return next;
end $$;
comment on function copilot_internal.erase_step(uuid, uuid, integer) is
    'Erases at most so many messages of a conversation, and what is left of it after the last. Run as the owner.';

create function copilot_internal.hide_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update copilot_internal.conversation_erasures e
    set request_id_digest = sha256(convert_to(c.request_id, 'UTF8'))
    from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id and c.request_id is not null
      and e.tenant_id = p_tenant_id and e.kind = 'conversation' and e.conversation_id = p_conversation_id
      and e.completed_at is null;
    update copilot_internal.conversations c
    set erasing_at = clock_timestamp(), title = null, persona_id = null, jurisdictions = '{}', metadata = '{}',
        authorization_spec = '{}', trace_id = null, root_span_name = null, root_span_id = null, request_id = null,
        request_digest = null
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id and c.erasing_at is null;
    if not found then
        return;
    end if;
    -- A sandbox that is just asked for has its path's key: it is waited for, and ended with the others.
    perform from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id order by p.id for update;
    update copilot_internal.conversation_paths p
    set archived_at = coalesce(p.archived_at, clock_timestamp()), name = null, description = null, request_id = null,
        merge_request_id = null
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id;
    perform copilot_internal.end_contexts(p_tenant_id, p_conversation_id, null, 'erased');
    update copilot_internal.execution_contexts x
    set error_message = null, resource_usage = null, request_id = null, trace_id = null, span_id = null
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id;
end $$;
comment on function copilot_internal.hide_conversation(uuid, uuid) is
    'The first step of an erasure: hides a conversation, closes its paths, ends its contexts and drops its words. Run '
    'as the owner, with the conversation locked and after begin_erasure().';

create function copilot_internal.erase_shell(p_tenant_id uuid, p_conversation_id uuid, p_whole boolean) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_done bigint := 0;
    v_count bigint;
begin
    delete from copilot_internal.conversation_path_segments s
    where s.tenant_id = p_tenant_id and s.path_id in (
        select p.id from copilot_internal.conversation_paths p
        where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.compaction_operations o
    where o.conversation_id = p_conversation_id and o.tenant_id = p_tenant_id;
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.conversation_contexts x
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id;
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.execution_contexts x
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id and x.released_at is not null
      and x.late_for_context_id is null and not copilot_internal.awaits_sandbox(x);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.execution_contexts x
    where x.conversation_id = p_conversation_id and x.tenant_id = p_tenant_id and x.released_at is not null
      and x.late_for_context_id is not null and not copilot_internal.explains_a_bill(x);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id
      and not exists (select from copilot_internal.execution_contexts x
                      where x.path_id = p.id and x.tenant_id = p.tenant_id);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    if p_whole then
        delete from copilot_internal.conversations c
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
        get diagnostics v_count = row_count;
        v_done := v_done + v_count;
    end if;
    return v_done;
end $$;
comment on function copilot_internal.erase_shell(uuid, uuid, boolean) is
    'Erases what a conversation without messages still has. What belongs to sandboxes that are not billed yet stays. '
    'Returns how many rows. Run as the owner.';

create function copilot_internal.note_step(p_erasure_id uuid, p_erased bigint, p_done boolean) returns void
    language sql volatile
begin atomic
    update copilot_internal.conversation_erasures e
    set row_count = e.row_count + p_erased,
        completed_at = case when p_done then pg_catalog.clock_timestamp() end
    where e.id = p_erasure_id;
end;
comment on function copilot_internal.note_step(uuid, bigint, boolean) is
    'Notes how far an erasure has come. Run as the owner.';

create function copilot_internal.erase_conversation(
    p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid default null)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
declare
    v_actor constant uuid := copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'erase');
    v_erasure uuid;
begin
    if p_conversation_id is null then
        perform copilot_internal.refuse_input('p_conversation_id must not be NULL');
    end if;
    -- The conversation first, as continue_erasures has it.
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for update;
    v_erasure := copilot_internal.begin_erasure(p_tenant_id, 'conversation', p_conversation_id, null, null, v_actor);
    select s.* into done, erased, remaining_contexts, attachments
    from copilot_internal.erase_step(p_tenant_id, p_conversation_id, 10000) s;
    perform copilot_internal.note_step(v_erasure, erased, done);
    return next;
end $$;
comment on function copilot_internal.erase_conversation(uuid, uuid, uuid) is 'What public.erase_conversation does.';

create function public.erase_conversation(p_tenant_id uuid, p_conversation_id uuid, p_user_id uuid default null)
    returns table (done boolean, erased bigint, remaining_contexts integer, attachments jsonb)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.erase_conversation(p_tenant_id, p_conversation_id, p_user_id);
end;
comment on function public.erase_conversation(uuid, uuid, uuid) is
    'Erases a conversation for good: hidden at once, about 10,000 messages a call; call it again until done. Sandboxes '
    'are billed first. attachments are storage keys for you to delete. For who owns it, and service_role.';

-- # Late costs
-- A charge takes no lock that an erasure could wait for without waiting for the whole tenant. So it may be under way
-- beside an erasure, or come after it, with words in its task and metadata. Upkeep looks again, under the fold lock,
-- which it tries:
-- 1. after the erasure is complete, and then whenever the conversation has another number of records;
-- 2. a last time when that was an hour ago, and every transaction is over that is older than the first look, which
--    wrote this row. That is asked in the snapshot of the count, and words are emptied in a later one: what is counted,
--    or seen to be over, is emptied.
-- So a charge that was written before the erasure was complete loses its words, however long its transaction is open,
-- and so does each that is committed within an hour.
create function copilot_internal.redact_late_costs_of(p_tenant_id uuid, p_erasure_ids uuid[]) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_looks uuid[];
    v_last uuid[];
    v_conversations uuid[];
    v_counts bigint[];
    v_done bigint;
begin
    with found as (
        select e.id, e.conversation_id, coalesce(l.records, 0) as records,
               e.cost_record_count is distinct from coalesce(l.records, 0) as is_changed,
               e.cost_record_count is not null and e.completed_at < clock_timestamp() - interval '1 hour'
                   and age(e.xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid) as is_last
        from copilot_internal.conversation_erasures e
        left join (
            select l.conversation_id, sum(l.record_count)::bigint as records
            from copilot_internal.conversation_lines l
            where l.tenant_id = p_tenant_id and l.conversation_id in (
                select o.conversation_id from copilot_internal.conversation_erasures o where o.id = any (p_erasure_ids))
            group by l.conversation_id
        ) l on l.conversation_id = e.conversation_id
        where e.id = any (p_erasure_ids)
    )
    select array_agg(f.id), array_agg(f.id) filter (where f.is_last), array_agg(f.conversation_id),
           array_agg(f.records)
    into v_looks, v_last, v_conversations, v_counts
    from found f where f.is_changed or f.is_last;
    if v_looks is null then
        return 0;
    end if;
    v_done := copilot_internal.redact_conversation_costs(p_tenant_id, v_conversations);
    if v_done is null then
        -- Somebody folds the tenant's costs: the next call looks again.
        return 0;
    end if;
    update copilot_internal.conversation_erasures e
    set cost_record_count = f.records,
        costs_settled_at = case when e.id = any (v_last) then clock_timestamp() end
    from unnest(v_looks, v_counts) as f (id, records)
    where e.id = f.id;
    return v_done;
end $$;
comment on function copilot_internal.redact_late_costs_of(uuid, uuid[]) is
    'Looks again for words in costs of erased conversations of a tenant; returns how many records had some. Run as the '
    'owner.';

create function copilot_internal.redact_late_costs(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant record;
    v_done bigint := 0;
begin
    for v_tenant in
        select w.tenant_id, array_agg(w.id) as erasure_ids
        from (
            select e.id, e.tenant_id from copilot_internal.conversation_erasures e
            where e.kind = 'conversation' and e.completed_at is not null and e.costs_settled_at is null
            order by e.completed_at limit p_limit for no key update skip locked
        ) w
        group by w.tenant_id order by w.tenant_id
    loop
        v_done := v_done + copilot_internal.redact_late_costs_of(v_tenant.tenant_id, v_tenant.erasure_ids);
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.redact_late_costs(integer) is
    'Looks again for words in costs of conversations that were erased in the last hour; returns how many records had '
    'some. Run as the owner.';
