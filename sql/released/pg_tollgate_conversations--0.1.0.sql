\echo Use "create extension pg_tollgate_conversations" to load this file. \quit

-- start.sql
-- The second extension: conversations and what belongs to them. It uses the first and is used by nothing of it.

-- Operators are resolved while this script runs.
set local search_path = pg_catalog, pg_temp;

-- Library, first extension and script may be of different versions. An upgrade script begins with the same statement.
select copilot_internal.begin_script(extversion)
from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations';

-- tables.sql
-- Conversations, their paths, and the messages on them. Keys carry the tenant and point one way: conversations, paths,
-- messages. There is no circle and no key to itself, so that a dump restores table by table.
--
-- Locks, in this order: quota, conversation, paths by id, contexts by id. What appends locks its path alone. What
-- changes what several paths show (branch, delete, finish, pin, compaction) locks the conversation first: a branch
-- shared, all others `for no key update`. So a path that is being born counts what is there.
-- Who locks several conversations does it in the order of their ids. Upkeep passes over one that is locked. What is
-- noted of an erasure is locked after its conversation.

create function copilot_internal.new_id() returns uuid
    language c volatile parallel restricted as 'MODULE_PATHNAME', 'give_new_id_wrapper';
comment on function copilot_internal.new_id() is 'A new UUID of version 8: one of sixteen time-ordered sequences.';

create table copilot_internal.conversations (
    id uuid not null default copilot_internal.new_id(),
    tenant_id uuid not null references copilot_internal.tenants (id),
    user_id uuid,
    share_audience text not null default 'private' check (share_audience in ('private', 'tenant', 'public')),
    tenant_access text not null default 'view' check (tenant_access in ('view', 'edit')),
    authorization_model text not null default 'supabase_rbac'
        check (authorization_model in ('supabase_rbac', 'openfga')),
    authorization_spec jsonb not null default '{}'
        check (jsonb_typeof(authorization_spec) = 'object' and octet_length(authorization_spec::text) <= 8192),
    effective_audience text not null generated always as (case
        when authorization_model = 'supabase_rbac' then share_audience
        when authorization_spec ->> 'fallbackShareAudience' in ('tenant', 'public')
            then authorization_spec ->> 'fallbackShareAudience'
        else 'private' end) stored,
    title text check (length(title) <= 500),
    persona_id text check (length(persona_id) <= 200),
    jurisdictions text[] not null default '{}'
        check (cardinality(jurisdictions) <= 64 and array_position(jurisdictions, null) is null
               and octet_length(jurisdictions::text) <= 16384),
    active_path_id uuid,
    archived_at timestamptz,
    expires_at timestamptz,
    erasing_at timestamptz,
    trace_id text check (length(trace_id) <= 200),
    root_span_name text check (length(root_span_name) <= 200),
    root_span_id text check (length(root_span_id) <= 200),
    metadata jsonb not null default '{}'
        check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 65536),
    request_id text check (length(request_id) between 1 and 200),
    request_digest bytea,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    last_message_at timestamptz,
    activity_at timestamptz not null generated always as (greatest(created_at, last_message_at)) stored,
    primary key (id, tenant_id),
    check ((request_digest is null) = (request_id is null))
);
create index conversations_user_idx on copilot_internal.conversations (tenant_id, user_id, activity_at desc, id desc);
create index conversations_shared_idx on copilot_internal.conversations (tenant_id, activity_at desc, id desc)
    where effective_audience <> 'private';
create index conversations_archived_at_idx on copilot_internal.conversations (tenant_id, archived_at)
    where archived_at is not null;
create index conversations_expires_at_idx on copilot_internal.conversations (expires_at) where expires_at is not null;
create index conversations_erasing_at_idx on copilot_internal.conversations (erasing_at) where erasing_at is not null;
create unique index conversations_request_id_idx on copilot_internal.conversations (tenant_id, request_id)
    where request_id is not null;

create table copilot_internal.conversation_paths (
    id uuid not null default copilot_internal.new_id(),
    conversation_id uuid not null,
    tenant_id uuid not null,
    parent_path_id uuid,
    branch_point_message_id uuid,
    branch_sequence integer check (branch_sequence >= 1),
    replaces_message_id uuid,
    inherited_count integer not null default 0 check (inherited_count >= 0),
    -- Given by a restore; otherwise the trigger finds it.
    depth smallint not null check (depth between 0 and 256),
    name text check (length(name) <= 255),
    description text check (length(description) <= 2000),
    is_primary boolean not null default false,
    is_active boolean not null default true,
    archived_at timestamptz,
    merged_to_path_id uuid,
    merged_at timestamptz,
    merge_summary_message_id uuid,
    merge_mode text check (merge_mode in ('summary', 'full', 'selective')),
    merge_request_id text check (length(merge_request_id) between 1 and 200),
    -- Where on the other path the copies are.
    merge_first_sequence integer check (merge_first_sequence >= 1),
    merge_count integer check (merge_count >= 0),
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    last_sequence integer not null default 0 check (last_sequence between 0 and 1000000),
    last_message_id uuid,
    last_message_at timestamptz,
    open_message_count integer not null default 0 check (open_message_count >= 0),
    open_token_count bigint not null default 0 check (open_token_count >= 0),
    -- The place of the highest bit.
    size_class smallint not null generated always as (case when open_message_count < 1 then 0
        else 32 - position(B'1' in open_message_count::bit(32)) end) stored,
    activity_day date not null
        generated always as ((greatest(created_at, last_message_at) at time zone 'UTC')::date) stored,
    compaction_checked_at timestamptz not null default '-infinity',
    compaction_claimed_until timestamptz,
    last_compaction_at timestamptz,
    removal_count integer not null default 0 check (removal_count >= 0),
    last_erasure_at timestamptz,
    request_id text check (length(request_id) between 1 and 200),
    primary key (id, tenant_id),
    unique (id, conversation_id, tenant_id),
    foreign key (conversation_id, tenant_id) references copilot_internal.conversations (id, tenant_id),
    check ((parent_path_id is null) = (branch_sequence is null))
) with (fillfactor = 70);
create unique index conversation_paths_primary_idx on copilot_internal.conversation_paths (conversation_id, tenant_id)
    where is_primary;
create index conversation_paths_conversation_idx
    on copilot_internal.conversation_paths (conversation_id, tenant_id, created_at);
-- Where a path branches off: its parent's message of that number is branch_point_message_id. A page shows its branches
-- in this order.
create index conversation_paths_parent_idx
    on copilot_internal.conversation_paths (parent_path_id, tenant_id, branch_sequence, created_at, id)
    where parent_path_id is not null;
create index conversation_paths_candidates_idx
    on copilot_internal.conversation_paths (activity_day, compaction_checked_at, size_class desc, id)
    where size_class >= 5 and is_active and archived_at is null;
create unique index conversation_paths_request_id_idx on copilot_internal.conversation_paths (tenant_id, request_id)
    where request_id is not null;

create unique index conversation_paths_merge_request_id_idx
    on copilot_internal.conversation_paths (tenant_id, merge_request_id) where merge_request_id is not null;

-- What a path inherits, in reading order. Written once, with the path, by its trigger, and hence without a key to it.
create table copilot_internal.conversation_path_segments (
    tenant_id uuid not null,
    path_id uuid not null,
    to_position integer not null check (to_position >= 1),
    source_path_id uuid not null,
    shift integer not null check (shift >= 0 and shift < to_position),
    primary key (path_id, to_position, tenant_id) include (source_path_id, shift)
);

create table copilot_internal.conversation_messages (
    id uuid not null default copilot_internal.new_id(),
    conversation_id uuid not null,
    path_id uuid not null,
    tenant_id uuid not null,
    user_id uuid,
    role text not null check (role in ('system', 'user', 'assistant', 'tool', 'developer')),
    content text not null check (octet_length(content) <= 1048576),
    parts jsonb check (octet_length(parts::text) <= 4194304),
    metadata jsonb not null default '{}'
        check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 65536),
    token_count integer check (token_count >= 0),
    -- Given by a restore and by functions; otherwise the trigger finds it.
    sequence_in_path integer not null check (sequence_in_path >= 1),
    message_type text not null default 'standard'
        check (message_type in ('standard', 'merge_summary', 'branch_point', 'system')),
    is_pinned boolean not null default false,
    pinned_at timestamptz,
    pinned_by uuid,
    finished_at timestamptz default clock_timestamp(),
    deleted_at timestamptz,
    deleted_by uuid,
    erased_at timestamptz,
    copied_from_message_id uuid,
    request_id text check (length(request_id) between 1 and 200),
    trace_id text check (length(trace_id) <= 200),
    root_span_name text check (length(root_span_name) <= 200),
    root_span_id text check (length(root_span_id) <= 200),
    created_at timestamptz not null default clock_timestamp(),
    primary key (id, tenant_id),
    foreign key (path_id, conversation_id, tenant_id)
        references copilot_internal.conversation_paths (id, conversation_id, tenant_id),
    check (is_pinned = (pinned_at is not null)),
    check (not (is_pinned and deleted_at is not null))
);
create unique index conversation_messages_sequence_idx
    on copilot_internal.conversation_messages (path_id, tenant_id, sequence_in_path);
create unique index conversation_messages_request_id_idx
    on copilot_internal.conversation_messages (tenant_id, request_id) where request_id is not null;
create index conversation_messages_pinned_idx
    on copilot_internal.conversation_messages (path_id, tenant_id, sequence_in_path) where is_pinned;
create index conversation_messages_copied_from_idx
    on copilot_internal.conversation_messages (copied_from_message_id, tenant_id)
    where copied_from_message_id is not null;
create index conversation_messages_draft_idx on copilot_internal.conversation_messages (created_at)
    where finished_at is null;

-- access.sql
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

-- checks.sql
-- What the functions of this extension ask before they do anything.

create function copilot_internal.require_server(p_what text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not copilot_internal.caller_serves_all() then
        raise exception 'only service_role may %', p_what using errcode = 'insufficient_privilege';
    end if;
end $$;
comment on function copilot_internal.require_server(text) is 'Raises 42501 for all callers but service_role.';

create function copilot_internal.access_tenant(p_tenant_id uuid, p_about uuid) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid;
    v_role text;
begin
    v_actor := copilot_internal.access(p_tenant_id, null, null, 'read');
    if copilot_internal.caller_serves_all() then
        return 'server';
    end if;
    select m.role into v_role from copilot_internal.active_memberships m
    where m.tenant_id = p_tenant_id and m.user_id = v_actor;
    if p_about <> v_actor and v_role not in ('owner', 'admin') then
        raise exception 'only an owner or admin may ask about another user' using errcode = 'insufficient_privilege';
    end if;
    return v_role;
end $$;
comment on function copilot_internal.access_tenant(uuid, uuid) is
    'The caller''s role in a tenant, server for service_role. Raises 42501 for a stranger, and for a member who asks '
    'about another user. Run as the owner.';

create function copilot_internal.require_open_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_conversation copilot_internal.conversations;
begin
    select c.* into v_conversation from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    if not found then
        raise exception 'there is no such conversation' using errcode = 'no_data_found';
    end if;
    if v_conversation.erasing_at is not null or v_conversation.archived_at is not null
       or v_conversation.expires_at <= clock_timestamp()
    then
        raise exception 'the conversation takes no changes' using errcode = 'PT409',
            detail = case when v_conversation.erasing_at is not null then 'It is being erased.'
                          when v_conversation.archived_at is not null
                              then format('It was archived at %s.', v_conversation.archived_at)
                          else format('It expired at %s.', v_conversation.expires_at) end;
    end if;
end $$;
comment on function copilot_internal.require_open_conversation(uuid, uuid) is
    'P0002 for a conversation that is not there, PT409 for one that is archived, expired or being erased. Run as the '
    'owner.';

create function copilot_internal.lock_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversations c
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id for no key update;
end $$;
comment on function copilot_internal.lock_conversation(uuid, uuid) is
    'Locks a conversation, open or not: a retry is answered as the first call was. Run as the owner.';

create function copilot_internal.lock_open_conversation(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
end $$;
comment on function copilot_internal.lock_open_conversation(uuid, uuid) is
    'Locks a conversation that is open: it is not branched, archived or erased meanwhile. Run as the owner.';

create function copilot_internal.check_request_id(p_request_id text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if length(p_request_id) not between 1 and 200 then
        raise exception 'p_request_id must have 1 to 200 characters' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_request_id(text) is 'Raises 22023 for a request id of no use.';

create function copilot_internal.check_limit(p_limit integer, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_limit is null or p_limit not between 1 and p_most then
        raise exception 'p_limit must be between 1 and %', p_most using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_limit(integer, integer) is 'Raises 22023 for a p_limit out of bounds.';

create function copilot_internal.check_lease(p_lease interval) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_lease is null or p_lease not between interval '10 seconds' and interval '1 hour' then
        raise exception 'p_lease must be between 10 seconds and 1 hour' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_lease(interval) is 'Raises 22023 for a lease out of bounds.';

-- numbering.sql
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

-- configs.sql
-- Settings of conversations: shipped ← global ← tenant ← user. NULL inherits.

create table copilot_internal.conversation_configs (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid references copilot_internal.tenants (id),
    user_id uuid,
    config_level text not null check (config_level in ('global', 'tenant', 'user')),
    merge_compression_strategy text
        check (merge_compression_strategy in ('none', 'minimal', 'moderate', 'aggressive')),
    merge_max_messages integer check (merge_max_messages between 1 and 1000),
    merge_preserve_pinned boolean,
    path_compression_strategy text
        check (path_compression_strategy in ('none', 'sliding_window', 'semantic', 'hybrid')),
    path_max_messages integer check (path_max_messages between 1 and 1000000),
    path_sliding_window_size integer check (path_sliding_window_size between 1 and 1000000),
    path_compression_threshold numeric check (path_compression_threshold > 0 and path_compression_threshold <= 1),
    auto_compact_enabled boolean,
    compaction_interval_minutes integer check (compaction_interval_minutes between 1 and 525600),
    path_token_threshold bigint check (path_token_threshold between 1 and 1000000000),
    pinned_max_messages integer check (pinned_max_messages between 0 and 100),
    archive_after interval check (archive_after between '1 day' and '100 years'),
    erase_after interval check (erase_after between '1 day' and '100 years'),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_by uuid,
    unique nulls not distinct (config_level, tenant_id, user_id),
    check ((tenant_id is not null) = (config_level <> 'global')),
    check ((user_id is not null) = (config_level = 'user'))
);
create index conversation_configs_tenant_id_idx on copilot_internal.conversation_configs (tenant_id, user_id);
comment on table copilot_internal.conversation_configs is
    'Settings of conversations: what a user''s row leaves NULL the tenant''s says, then the global row, then what '
    'ships.';
comment on column copilot_internal.conversation_configs.id is 'The row.';
comment on column copilot_internal.conversation_configs.tenant_id is 'The tenant; NULL for global.';
comment on column copilot_internal.conversation_configs.user_id is 'The user; NULL for tenant and global.';
comment on column copilot_internal.conversation_configs.config_level is 'global, tenant or user.';
comment on column copilot_internal.conversation_configs.merge_compression_strategy is
    'none, minimal, moderate or aggressive.';
comment on column copilot_internal.conversation_configs.merge_max_messages is 'Messages that a merge may take over.';
comment on column copilot_internal.conversation_configs.merge_preserve_pinned is 'Whether a merge keeps pinned ones.';
comment on column copilot_internal.conversation_configs.path_compression_strategy is
    'none, sliding_window, semantic or hybrid.';
comment on column copilot_internal.conversation_configs.path_max_messages is 'Messages from which a path is compacted.';
comment on column copilot_internal.conversation_configs.path_sliding_window_size is
    'Messages that a sliding window leaves.';
comment on column copilot_internal.conversation_configs.path_compression_threshold is
    'Share of the model''s window from which a path is compacted.';
comment on column copilot_internal.conversation_configs.auto_compact_enabled is
    'Whether claim_paths_for_compaction gives paths out.';
comment on column copilot_internal.conversation_configs.compaction_interval_minutes is 'Minutes between two runs.';
comment on column copilot_internal.conversation_configs.path_token_threshold is
    'Tokens from which a path is compacted.';
comment on column copilot_internal.conversation_configs.pinned_max_messages is 'Pinned messages a path.';
comment on column copilot_internal.conversation_configs.archive_after is
    'Since the last activity: maintain_conversations archives then. NULL everywhere is never.';
comment on column copilot_internal.conversation_configs.erase_after is
    'Since the last activity: maintain_conversations erases then. NULL everywhere is never.';
comment on column copilot_internal.conversation_configs.updated_at is 'When it was last changed.';
comment on column copilot_internal.conversation_configs.updated_by is 'The user who changed it.';

create function copilot_internal.stamp_config() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end $$;
comment on function copilot_internal.stamp_config() is 'Trigger: notes when a row was changed.';
create trigger stamp_config before update on copilot_internal.conversation_configs
    for each row execute function copilot_internal.stamp_config();

create function copilot_internal.shipped_config() returns jsonb
    language sql immutable
begin atomic
    select '{"merge_compression_strategy": "moderate", "merge_max_messages": 100, "merge_preserve_pinned": true,
        "path_compression_strategy": "sliding_window", "path_max_messages": 200, "path_sliding_window_size": 50,
        "path_compression_threshold": 0.85, "auto_compact_enabled": true, "compaction_interval_minutes": 60,
        "path_token_threshold": 100000, "pinned_max_messages": 100, "archive_after": null, "erase_after": null}'::jsonb;
end;
comment on function copilot_internal.shipped_config() is 'The settings that ship.';

-- Spans are printed in one style, whatever the session's is.
create function copilot_internal.effective_config(p_tenant_id uuid, p_user_id uuid) returns jsonb
    language sql stable set intervalstyle = 'postgres'
begin atomic
    select copilot_internal.shipped_config() || coalesce(
        (select pg_catalog.jsonb_object_agg(s.key, s.value order by c.config_level = 'user', c.config_level = 'tenant')
         from copilot_internal.conversation_configs c
         cross join lateral pg_catalog.jsonb_each(pg_catalog.to_jsonb(c)) s
         where (c.config_level = 'global'
                or c.config_level = 'tenant' and c.tenant_id = p_tenant_id
                or c.config_level = 'user' and c.tenant_id = p_tenant_id and c.user_id = p_user_id)
           and s.value <> 'null' and copilot_internal.shipped_config() ? s.key), '{}');
end;
comment on function copilot_internal.effective_config(uuid, uuid) is
    'The settings in force for a user of a tenant. Run as the owner.';

create function copilot_internal.get_effective_conversation_config(p_tenant_id uuid, p_user_id uuid default null)
    returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.access_tenant(p_tenant_id, p_user_id);
    return copilot_internal.effective_config(p_tenant_id, p_user_id);
end $$;
comment on function copilot_internal.get_effective_conversation_config(uuid, uuid) is
    'What public.get_effective_conversation_config does.';

create function public.get_effective_conversation_config(p_tenant_id uuid, p_user_id uuid default null)
    returns jsonb language sql stable
begin atomic
    select copilot_internal.get_effective_conversation_config(p_tenant_id, p_user_id);
end;
comment on function public.get_effective_conversation_config(uuid, uuid) is
    'The settings of conversations in force: shipped, then global, the tenant''s and the user''s. A member asks about '
    'themselves, an owner or admin about any member.';

-- Only keys that are settings, each read as its column is: what does not fit raises what the column raises.
create function copilot_internal.write_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_row copilot_internal.conversation_configs;
begin
    insert into copilot_internal.conversation_configs (config_level, tenant_id, user_id)
    values (p_config_level, p_tenant_id, p_user_id)
    on conflict (config_level, tenant_id, user_id) do nothing;
    select c.* into v_row from copilot_internal.conversation_configs c
    where c.config_level = p_config_level and c.tenant_id is not distinct from p_tenant_id
      and c.user_id is not distinct from p_user_id for update;
    v_row := jsonb_populate_record(v_row, p_config);
    update copilot_internal.conversation_configs c
    set merge_compression_strategy = v_row.merge_compression_strategy,
        merge_max_messages = v_row.merge_max_messages, merge_preserve_pinned = v_row.merge_preserve_pinned,
        path_compression_strategy = v_row.path_compression_strategy, path_max_messages = v_row.path_max_messages,
        path_sliding_window_size = v_row.path_sliding_window_size,
        path_compression_threshold = v_row.path_compression_threshold,
        auto_compact_enabled = v_row.auto_compact_enabled,
        compaction_interval_minutes = v_row.compaction_interval_minutes,
        path_token_threshold = v_row.path_token_threshold, pinned_max_messages = v_row.pinned_max_messages,
        archive_after = v_row.archive_after, erase_after = v_row.erase_after, updated_by = p_updated_by
    where c.id = v_row.id;
exception
    when check_violation or invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format
        or datetime_field_overflow or interval_field_overflow then
        raise exception 'a setting is of the wrong type or out of bounds' using errcode = 'invalid_parameter_value',
            detail = sqlerrm;
end $$;
comment on function copilot_internal.write_config(text, uuid, uuid, jsonb, uuid) is
    'Changes the settings named in p_config, and leaves the others; null inherits. Run as the owner.';

create function copilot_internal.set_conversation_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid default null)
    returns table (config jsonb)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
declare
    v_role text;
    v_unknown text;
begin
    if p_config_level is null or p_config_level not in ('global', 'tenant', 'user')
       or (p_tenant_id is not null) <> (p_config_level <> 'global')
       or (p_user_id is not null) <> (p_config_level = 'user')
    then
        raise exception 'p_config_level must be global, tenant (with p_tenant_id) or user (with p_user_id, too)'
            using errcode = 'invalid_parameter_value';
    end if;
    if p_config is null or jsonb_typeof(p_config) <> 'object' then
        raise exception 'p_config must be an object' using errcode = 'invalid_parameter_value';
    end if;
    select k.key into v_unknown from jsonb_object_keys(p_config) k (key)
    where not copilot_internal.shipped_config() ? k.key limit 1;
    if found then
        raise exception 'unknown setting "%"', left(v_unknown, 100) using errcode = 'invalid_parameter_value';
    end if;
    if p_config_level = 'global' then
        perform copilot_internal.require_server('set what holds for all tenants');
    else
        v_role := copilot_internal.access_tenant(p_tenant_id, p_user_id);
        if v_role not in ('server', 'owner', 'admin') and (
            p_config_level = 'tenant' or p_user_id <> copilot_internal.caller_user())
        then
            raise exception 'only an owner or admin may set what holds for others'
                using errcode = 'insufficient_privilege';
        end if;
        if v_role = 'server' and not exists (select from copilot_internal.tenants t where t.id = p_tenant_id) then
            raise exception 'there is no such tenant' using errcode = 'no_data_found';
        end if;
    end if;
    perform copilot_internal.write_config(p_config_level, p_tenant_id, p_user_id, p_config,
        case when v_role is null or v_role = 'server' then p_updated_by else copilot_internal.caller_user() end);
    return query select copilot_internal.effective_config(p_tenant_id, p_user_id);
end $$;
comment on function copilot_internal.set_conversation_config(text, uuid, uuid, jsonb, uuid) is
    'What public.set_conversation_config does.';

create function public.set_conversation_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid default null)
    returns table (config jsonb)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.set_conversation_config(p_config_level, p_tenant_id, p_user_id, p_config,
        p_updated_by);
end;
comment on function public.set_conversation_config(text, uuid, uuid, jsonb, uuid) is
    'Changes the settings that p_config names (null inherits again) and returns what is in force. For all '
    '(service_role), a tenant (its owners and admins) or a user (themselves).';

-- contexts.sql
-- Which nodes of the application's graph a conversation is about.

create table copilot_internal.conversation_contexts (
    conversation_id uuid not null,
    tenant_id uuid not null,
    active_node_ids text[] not null default '{}' check (pg_catalog.cardinality(active_node_ids) <= 1000),
    summary text check (pg_catalog.octet_length(summary) <= 262144),
    trace_id text check (pg_catalog.length(trace_id) <= 200),
    root_span_name text check (pg_catalog.length(root_span_name) <= 200),
    root_span_id text check (pg_catalog.length(root_span_id) <= 200),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (conversation_id, tenant_id),
    foreign key (conversation_id, tenant_id) references copilot_internal.conversations (id, tenant_id)
);
comment on table copilot_internal.conversation_contexts is
    'What a conversation is about: nodes of the application''s graph, and a summary.';
comment on column copilot_internal.conversation_contexts.conversation_id is 'The conversation.';
comment on column copilot_internal.conversation_contexts.tenant_id is 'The tenant.';
comment on column copilot_internal.conversation_contexts.active_node_ids is 'At most 1,000, the newest last.';
comment on column copilot_internal.conversation_contexts.summary is 'The application''s summary.';
comment on column copilot_internal.conversation_contexts.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.conversation_contexts.root_span_name is 'Name of its first span.';
comment on column copilot_internal.conversation_contexts.root_span_id is 'Its first span.';
comment on column copilot_internal.conversation_contexts.updated_at is 'When it was last changed.';
create trigger stamp_config before update on copilot_internal.conversation_contexts
    for each row execute function copilot_internal.stamp_config();

create view public.conversation_contexts_view with (security_invoker) as
    select x.conversation_id, x.tenant_id, x.active_node_ids, x.trace_id, x.root_span_name, x.root_span_id, x.summary,
           c.archived_at, x.updated_at
    from copilot_internal.conversation_contexts x
    join copilot_internal.conversations c on c.id = x.conversation_id and c.tenant_id = x.tenant_id;
comment on view public.conversation_contexts_view is 'What conversations are about, of those that the reader may read.';
comment on column public.conversation_contexts_view.archived_at is 'When the conversation was archived.';

-- The old ids and the new ones, each once, at its last place; the newest 1,000.
create function copilot_internal.merged_node_ids(p_old text[], p_new text[]) returns text[]
    language sql immutable
begin atomic
    select coalesce(pg_catalog.array_agg(k.id order by k.place), '{}')
    from (
        select n.id, max(n.place) as place
        from pg_catalog.unnest(p_old || p_new) with ordinality as n (id, place)
        group by n.id
        order by 2 desc
        limit 1000
    ) k;
end;
comment on function copilot_internal.merged_node_ids(text[], text[]) is
    'Both lists as one without repetition, the newest last, at most 1,000.';

create function copilot_internal.merge_conversation_context(
    p_tenant_id uuid, p_conversation_id uuid, p_node_ids text[], p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null)
    returns table (active_node_ids text[])
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('merge a context');
    if p_node_ids is null or cardinality(p_node_ids) > 1000
       or exists (select from unnest(p_node_ids) n (id) where n.id is null or length(n.id) not between 1 and 256)
    then
        raise exception 'p_node_ids must be at most 1,000 ids of 1 to 256 characters'
            using errcode = 'invalid_parameter_value';
    end if;
    if greatest(length(p_trace_id), length(p_root_span_name), length(p_root_span_id)) > 200 then
        raise exception 'trace columns have at most 200 characters' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    return query
        insert into copilot_internal.conversation_contexts as x
            (conversation_id, tenant_id, active_node_ids, trace_id, root_span_name, root_span_id)
        values (p_conversation_id, p_tenant_id, copilot_internal.merged_node_ids('{}', p_node_ids), p_trace_id,
                p_root_span_name, p_root_span_id)
        on conflict (conversation_id, tenant_id) do update
        set active_node_ids = copilot_internal.merged_node_ids(x.active_node_ids, p_node_ids),
            trace_id = coalesce(excluded.trace_id, x.trace_id),
            root_span_name = coalesce(excluded.root_span_name, x.root_span_name),
            root_span_id = coalesce(excluded.root_span_id, x.root_span_id)
        returning x.active_node_ids;
end $$;
comment on function copilot_internal.merge_conversation_context(uuid, uuid, text[], text, text, text) is
    'What public.merge_conversation_context does.';

create function public.merge_conversation_context(
    p_tenant_id uuid, p_conversation_id uuid, p_node_ids text[], p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null)
    returns table (active_node_ids text[])
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.merge_conversation_context(p_tenant_id, p_conversation_id, p_node_ids, p_trace_id,
        p_root_span_name, p_root_span_id);
end;
comment on function public.merge_conversation_context(uuid, uuid, text[], text, text, text) is
    'Adds nodes to what a conversation is about, in one step, so that none is lost: each once, the newest last, '
    'at most 1,000. For service_role.';

-- compaction.sql
-- Compaction: how a prefix of a path is shown to a model. An operation is one row beside messages that stay as they
-- are, so it is all or nothing, and reverting it gives back what was there.
--
-- An operation of a path governs that path, and each that inherits all of what the operation covers. Of several the one
-- that reaches farthest does. Paths are locked by the order of their ids before an operation is written.

create table copilot_internal.compaction_operations (
    id uuid not null default pg_catalog.gen_random_uuid(),
    timestamp timestamptz not null default pg_catalog.clock_timestamp(),
    conversation_id uuid,
    path_id uuid,
    tenant_id uuid not null,
    user_id uuid,
    strategy text not null check (strategy in ('none', 'sliding_window', 'semantic', 'hybrid', 'minimal', 'moderate',
                                               'aggressive')),
    triggered_by text not null default 'manual' check (triggered_by in ('manual', 'auto')),
    tokens_before integer not null check (tokens_before >= 0),
    tokens_after integer not null check (tokens_after >= 0),
    tokens_saved integer generated always as (tokens_before - tokens_after) stored,
    messages_before integer not null check (messages_before >= 0),
    messages_after integer not null check (messages_after >= 0),
    messages_removed integer generated always as (messages_before - messages_after) stored,
    messages_summarized integer not null default 0 check (messages_summarized >= 0),
    pinned_preserved integer not null default 0 check (pinned_preserved >= 0),
    duration_ms integer check (duration_ms >= 0),
    used_llm boolean not null default false,
    cost_usd numeric default 0 check (cost_usd >= 0 and cost_usd < 'Infinity'),
    compression_ratio numeric generated always as (
        case when tokens_before > 0 then pg_catalog.round(tokens_after::numeric / tokens_before, 4) else 1 end) stored,
    success boolean not null default true,
    error text check (pg_catalog.octet_length(error) <= 65536),
    metadata jsonb not null default '{}'
        check (pg_catalog.jsonb_typeof(metadata) = 'object' and pg_catalog.octet_length(metadata::text) <= 65536),
    state text not null default 'recorded' check (state in ('recorded', 'applied', 'reverted', 'failed')),
    through_position integer check (through_position >= 1),
    summary text check (pg_catalog.octet_length(summary) <= 262144),
    summary_parts jsonb check (pg_catalog.octet_length(summary_parts::text) <= 4194304),
    summary_role text not null default 'user' check (summary_role in ('user', 'system', 'developer', 'assistant')),
    kept_message_ids uuid[] not null default '{}' check (pg_catalog.cardinality(kept_message_ids) <= 2000),
    base_operation_id uuid,
    head_message_count integer not null default 0,
    head_token_count bigint not null default 0,
    cost_record_id uuid,
    applied_at timestamptz,
    reverted_at timestamptz,
    reverted_by uuid,
    revert_reason text check (pg_catalog.octet_length(revert_reason) <= 2000),
    emptied_at timestamptz,
    request_id text check (pg_catalog.octet_length(request_id) <= 800),
    trace_id text check (pg_catalog.octet_length(trace_id) <= 800),
    span_id text check (pg_catalog.octet_length(span_id) <= 800),
    primary key (id, tenant_id),
    check (state not in ('applied', 'reverted') or through_position is not null and path_id is not null
           and conversation_id is not null and applied_at is not null)
);
create index compaction_operations_governing_idx
    on copilot_internal.compaction_operations (path_id, tenant_id, through_position desc) where state = 'applied';
create index compaction_operations_timestamp_idx
    on copilot_internal.compaction_operations (tenant_id, timestamp desc);
create index compaction_operations_conversation_id_idx
    on copilot_internal.compaction_operations (conversation_id, tenant_id);
create unique index compaction_operations_request_id_idx
    on copilot_internal.compaction_operations (tenant_id, request_id) where request_id is not null;
comment on table copilot_internal.compaction_operations is
    'Compactions: what a model is shown instead of a path''s first messages, and what was only recorded. Messages stay '
    'as they are.';
comment on column copilot_internal.compaction_operations.id is 'The operation.';
comment on column copilot_internal.compaction_operations.timestamp is 'When it was recorded.';
comment on column copilot_internal.compaction_operations.conversation_id is 'The conversation, if named.';
comment on column copilot_internal.compaction_operations.path_id is 'The path, if named.';
comment on column copilot_internal.compaction_operations.tenant_id is 'The tenant.';
comment on column copilot_internal.compaction_operations.user_id is 'On whose behalf.';
comment on column copilot_internal.compaction_operations.strategy is
    'none, sliding_window, semantic, hybrid, minimal, moderate or aggressive. none: looked at, nothing to do.';
comment on column copilot_internal.compaction_operations.triggered_by is 'manual or auto.';
comment on column copilot_internal.compaction_operations.tokens_before is 'Tokens that a model was shown before.';
comment on column copilot_internal.compaction_operations.tokens_after is 'Tokens that a model is shown after.';
comment on column copilot_internal.compaction_operations.tokens_saved is 'The difference.';
comment on column copilot_internal.compaction_operations.messages_before is 'Messages that a model was shown before.';
comment on column copilot_internal.compaction_operations.messages_after is 'Messages that a model is shown after.';
comment on column copilot_internal.compaction_operations.messages_removed is 'The difference.';
comment on column copilot_internal.compaction_operations.messages_summarized is 'Messages that the summary stands for.';
comment on column copilot_internal.compaction_operations.pinned_preserved is 'Pinned messages that were kept.';
comment on column copilot_internal.compaction_operations.duration_ms is 'How long it took, in milliseconds.';
comment on column copilot_internal.compaction_operations.used_llm is 'Whether a model wrote the summary.';
comment on column copilot_internal.compaction_operations.cost_usd is
    'USD: of the cost record, where one is named; else as the caller said.';
comment on column copilot_internal.compaction_operations.compression_ratio is 'tokens_after / tokens_before.';
comment on column copilot_internal.compaction_operations.success is 'Whether it succeeded.';
comment on column copilot_internal.compaction_operations.error is 'What went wrong.';
comment on column copilot_internal.compaction_operations.metadata is 'The caller''s own notes; emptied by an erasure.';
comment on column copilot_internal.compaction_operations.state is
    'applied (changes what models are shown), reverted, failed (would have made nothing smaller), or recorded only.';
comment on column copilot_internal.compaction_operations.through_position is
    'Up to which message of the path it goes, by effective number.';
comment on column copilot_internal.compaction_operations.summary is
    'What stands for the messages; emptied when one of them is erased.';
comment on column copilot_internal.compaction_operations.summary_parts is 'The same in parts, as a provider made it.';
comment on column copilot_internal.compaction_operations.summary_role is 'In whose role it is shown; user by default.';
comment on column copilot_internal.compaction_operations.kept_message_ids is
    'Messages among them that are shown all the same: the caller''s choice, and what was pinned when it was applied.';
comment on column copilot_internal.compaction_operations.base_operation_id is 'The operation that governed before it.';
comment on column copilot_internal.compaction_operations.head_message_count is
    'Messages that summary and kept ones count as.';
comment on column copilot_internal.compaction_operations.head_token_count is 'Tokens that they count as.';
comment on column copilot_internal.compaction_operations.cost_record_id is 'The record of the model''s call.';
comment on column copilot_internal.compaction_operations.applied_at is 'When it was applied.';
comment on column copilot_internal.compaction_operations.reverted_at is 'When it was reverted.';
comment on column copilot_internal.compaction_operations.reverted_by is 'The user who took it back.';
comment on column copilot_internal.compaction_operations.revert_reason is
    'Why: deleted or erased for a message that it covered.';
comment on column copilot_internal.compaction_operations.emptied_at is
    'When a message that it covers was erased, and its words with it.';
comment on column copilot_internal.compaction_operations.request_id is
    'The caller''s key, unique per tenant, that makes a retry harmless.';
comment on column copilot_internal.compaction_operations.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.compaction_operations.span_id is 'OpenTelemetry span.';

create function copilot_internal.governing_operation(p_tenant_id uuid, p_path_id uuid)
    returns copilot_internal.compaction_operations
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_operation copilot_internal.compaction_operations;
begin
    select o.* into v_operation
    from (
        select p_path_id as path_id, 2147483647 as last_position
        union all
        select s.source_path_id, s.to_position from copilot_internal.conversation_path_segments s
        where s.path_id = p_path_id and s.tenant_id = p_tenant_id
    ) l
    cross join lateral (
        select c.* from copilot_internal.compaction_operations c
        where c.path_id = l.path_id and c.tenant_id = p_tenant_id and c.state = 'applied'
          and c.through_position <= l.last_position
        order by c.through_position desc, c.applied_at desc
        limit 1
    ) o
    order by o.through_position desc, o.applied_at desc
    limit 1;
    return v_operation;
end $$;
comment on function copilot_internal.governing_operation(uuid, uuid) is
    'The operation by which a path is shown to a model: the one that reaches farthest. It is applied to the path, or '
    'to one of which the path inherits all that it covers. Run as the owner.';

-- `offset 0`: the range is a condition of the index whatever the statistics say, and not one of the join.
create function copilot_internal.lineage_messages(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_last integer)
    returns table (effective_position integer, message copilot_internal.conversation_messages)
    language sql stable
begin atomic
    select p.inherited_count + o.sequence_in_path, o.message
    from copilot_internal.conversation_paths p
    cross join lateral (
        select m.sequence_in_path, m as message
        from copilot_internal.conversation_messages m
        where m.path_id = p.id and m.tenant_id = p.tenant_id
          and m.sequence_in_path between p_first - p.inherited_count and p_last - p.inherited_count
        offset 0
    ) o
    where p.id = p_path_id and p.tenant_id = p_tenant_id
    union all
    select s.shift + o.sequence_in_path, o.message
    from copilot_internal.conversation_path_segments s
    cross join lateral (
        select m.sequence_in_path, m as message
        from copilot_internal.conversation_messages m
        where m.path_id = s.source_path_id and m.tenant_id = s.tenant_id
          and m.sequence_in_path between greatest(p_first - s.shift, 1) and least(p_last, s.to_position) - s.shift
        offset 0
    ) o
    where s.path_id = p_path_id and s.tenant_id = p_tenant_id and s.to_position >= p_first and s.shift < p_last;
end;
comment on function copilot_internal.lineage_messages(uuid, uuid, integer, integer) is
    'The messages of a path from one effective number to another, inherited ones too, in no order. Run as the owner.';

create function copilot_internal.message_position(p_tenant_id uuid, p_path_id uuid, p_message_id uuid) returns integer
    language sql stable
begin atomic
    select case when m.path_id = p.id then p.inherited_count + m.sequence_in_path
                else (select s.shift + m.sequence_in_path from copilot_internal.conversation_path_segments s
                      where s.path_id = p.id and s.tenant_id = p.tenant_id and s.source_path_id = m.path_id
                        and s.shift + m.sequence_in_path <= s.to_position
                      limit 1)
           end
    from copilot_internal.conversation_messages m, copilot_internal.conversation_paths p
    where m.id = p_message_id and m.tenant_id = p_tenant_id and p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.message_position(uuid, uuid, uuid) is
    'The effective number of a message along a path; NULL when the path does not show it. Run as the owner.';

create function copilot_internal.tokens_of(p_token_count integer, p_content text, p_parts jsonb) returns bigint
    language sql immutable
begin atomic
    select coalesce(p_token_count,
        (coalesce(pg_catalog.octet_length(p_content), 0) + coalesce(pg_catalog.octet_length(p_parts::text), 0))
            / 4)::bigint;
end;
comment on function copilot_internal.tokens_of(integer, text, jsonb) is
    'Tokens that a message with this count, content and parts counts as.';

create function copilot_internal.message_tokens(p_message copilot_internal.conversation_messages) returns bigint
    language sql immutable
begin atomic
    select copilot_internal.tokens_of((p_message).token_count, (p_message).content, (p_message).parts);
end;
comment on function copilot_internal.message_tokens(copilot_internal.conversation_messages) is
    'Tokens that a message counts as: the caller''s count, else a quarter of its octets.';

create function copilot_internal.open_counts(p_tenant_id uuid, p_path_id uuid)
    returns table (open_message_count integer, open_token_count bigint)
    language sql stable rows 1
begin atomic
    select greatest(coalesce((g.o).head_message_count, 0) + count(t.message), 0)::integer,
           greatest(coalesce((g.o).head_token_count, 0)
               + coalesce(sum(copilot_internal.message_tokens(t.message)), 0), 0)::bigint
    from (select copilot_internal.governing_operation(p_tenant_id, p_path_id) as o offset 0) g
    left join lateral (
        select l.message
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, coalesce((g.o).through_position, 0) + 1,
                                               2147483647) l
        where (l.message).deleted_at is null
    ) t on true
    group by g.o;
end;
comment on function copilot_internal.open_counts(uuid, uuid) is
    'How many messages and tokens a model is shown of a path now, counted from the rows. Run as the owner.';

-- The whole unit of a message: an assistant's row and the run of tool rows after it. A branch that begins within a run
-- goes on with it.
create function copilot_internal.unit_of(p_tenant_id uuid, p_message_id uuid) returns uuid[]
    language sql stable
begin atomic
    with recursive back as (
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role, 0 as away
        from copilot_internal.conversation_messages o where o.id = p_message_id and o.tenant_id = p_tenant_id
        union all
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role, b.away + 1
        from back b
        join copilot_internal.conversation_paths p on p.id = b.path_id and p.tenant_id = b.tenant_id
        join copilot_internal.conversation_messages o
          on o.path_id = case when b.sequence_in_path > 1 then b.path_id else p.parent_path_id end
         and o.tenant_id = b.tenant_id
         and o.sequence_in_path = case when b.sequence_in_path > 1 then b.sequence_in_path - 1
                                       else p.branch_sequence end
        where b.role = 'tool' and o.role in ('tool', 'assistant')
    ), forth as (
        (select b.id, b.path_id, b.tenant_id, b.sequence_in_path, b.role from back b order by b.away desc limit 1)
        union all
        select o.id, o.path_id, o.tenant_id, o.sequence_in_path, o.role
        from forth f
        cross join lateral (
            select n.id, n.path_id, n.tenant_id, n.sequence_in_path, n.role
            from copilot_internal.conversation_messages n
            where n.path_id = f.path_id and n.tenant_id = f.tenant_id and n.sequence_in_path = f.sequence_in_path + 1
            union all
            select n.id, n.path_id, n.tenant_id, n.sequence_in_path, n.role
            from copilot_internal.conversation_paths c
            join copilot_internal.conversation_messages n
              on n.path_id = c.id and n.tenant_id = c.tenant_id and n.sequence_in_path = 1
            where c.parent_path_id = f.path_id and c.tenant_id = f.tenant_id
              and c.branch_sequence = f.sequence_in_path
        ) o
        where f.role in ('assistant', 'tool') and o.role = 'tool'
    )
    select coalesce(pg_catalog.array_agg(f.id), '{}') from forth f;
end;
comment on function copilot_internal.unit_of(uuid, uuid) is
    'The messages that are deleted with this one, itself among them, on whatever path. Run as the owner.';

create function copilot_internal.unit_on(p_tenant_id uuid, p_path_id uuid, p_message_id uuid) returns uuid[]
    language sql stable
begin atomic
    select coalesce(pg_catalog.array_agg(u.id), '{}')
    from pg_catalog.unnest(copilot_internal.unit_of(p_tenant_id, p_message_id)) u (id)
    where copilot_internal.message_position(p_tenant_id, p_path_id, u.id) is not null;
end;
comment on function copilot_internal.unit_on(uuid, uuid, uuid) is
    'The messages that a path keeps, pins or cuts with this one, itself among them. Run as the owner.';

create function copilot_internal.goes_on_at(p_tenant_id uuid, p_path_id uuid, p_position integer) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_roles text[];
begin
    v_roles := array(
        select (l.message).role
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, p_position - 1, p_position) l
        order by l.effective_position);
    return cardinality(v_roles) = 2 and v_roles[2] = 'tool' and v_roles[1] in ('assistant', 'tool');
end $$;
comment on function copilot_internal.goes_on_at(uuid, uuid, integer) is
    'Whether a message along a path belongs to the unit of the one before it. Run as the owner.';

create function copilot_internal.unit_range(
    p_tenant_id uuid, p_path_id uuid, p_position integer, out first_position integer, out last_position integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    first_position := p_position;
    last_position := p_position;
    while copilot_internal.goes_on_at(p_tenant_id, p_path_id, first_position) loop
        first_position := first_position - 1;
    end loop;
    while copilot_internal.goes_on_at(p_tenant_id, p_path_id, last_position + 1) loop
        last_position := last_position + 1;
    end loop;
end $$;
comment on function copilot_internal.unit_range(uuid, uuid, integer) is
    'From where to where the unit of a message reaches along a path. Run as the owner.';

create function copilot_internal.recount_path(p_tenant_id uuid, p_path_id uuid) returns void
    language sql volatile
begin atomic
    update copilot_internal.conversation_paths p
    set open_message_count = c.open_message_count, open_token_count = c.open_token_count
    from copilot_internal.open_counts(p_tenant_id, p_path_id) c
    where p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.recount_path(uuid, uuid) is
    'Counts again what a model is shown of a path. Its row is locked. Run as the owner.';

-- Of a message that is deleted or erased no model may be told by a summary. The paths are locked in their order.
create function copilot_internal.revert_operations(
    p_tenant_id uuid, p_path_id uuid, p_sequence integer, p_reason text, p_empty boolean) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_paths uuid[];
    v_path uuid;
    v_reverted integer;
begin
    -- What names no path is of the whole conversation.
    if p_empty then
        update copilot_internal.compaction_operations o
        set emptied_at = clock_timestamp(), metadata = '{}', error = null
        from copilot_internal.conversation_paths p
        where p.id = p_path_id and p.tenant_id = p_tenant_id and o.conversation_id = p.conversation_id
          and o.tenant_id = p_tenant_id and o.path_id is null;
    end if;
    v_paths := array(
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
        ) l order by l.id);
    perform from copilot_internal.conversation_paths p
    where p.id = any (v_paths) and p.tenant_id = p_tenant_id
      and (p_empty or p.id = p_path_id or exists (
          select from copilot_internal.compaction_operations o
          where o.path_id = p.id and o.tenant_id = p_tenant_id and o.state = 'applied'))
    order by p.id for no key update;
    with changed as (
        update copilot_internal.compaction_operations o
        set state = case o.state when 'applied' then 'reverted' else o.state end,
            reverted_at = case o.state when 'applied' then clock_timestamp() else o.reverted_at end,
            revert_reason = case o.state when 'applied' then p_reason else o.revert_reason end,
            emptied_at = case when p_empty then clock_timestamp() else o.emptied_at end,
            summary = case when not p_empty then o.summary end,
            summary_parts = case when not p_empty then o.summary_parts end,
            metadata = case when p_empty then '{}' else o.metadata end,
            error = case when not p_empty then o.error end
        where o.path_id = any (v_paths) and o.tenant_id = p_tenant_id
          and (o.state = 'applied' or p_empty)
          and (o.through_position >= copilot_internal.position_on(p_tenant_id, o.path_id, p_path_id, p_sequence)
               or o.through_position is null and p_empty)
        returning o.path_id, o.revert_reason = p_reason and o.reverted_at >= statement_timestamp() as now_reverted
    )
    select count(*) filter (where c.now_reverted) into v_reverted from changed c;
    if v_reverted > 0 then
        foreach v_path in array v_paths loop
            perform copilot_internal.recount_path(p_tenant_id, v_path);
        end loop;
    end if;
    return v_reverted;
end $$;
comment on function copilot_internal.revert_operations(uuid, uuid, integer, text, boolean) is
    'Reverts the operations that cover a message, given by the path that wrote it and its number there; on request '
    'empties them too. Returns how many it reverted. Run as the owner.';

create function copilot_internal.position_on(
    p_tenant_id uuid, p_path_id uuid, p_source_path_id uuid, p_sequence integer) returns integer
    language sql stable
begin atomic
    select case when p_path_id = p_source_path_id then p.inherited_count + p_sequence
                else (select s.shift + p_sequence from copilot_internal.conversation_path_segments s
                      where s.path_id = p_path_id and s.tenant_id = p_tenant_id
                        and s.source_path_id = p_source_path_id and s.shift + p_sequence <= s.to_position
                      limit 1)
           end
    from copilot_internal.conversation_paths p where p.id = p_path_id and p.tenant_id = p_tenant_id;
end;
comment on function copilot_internal.position_on(uuid, uuid, uuid, integer) is
    'The effective number that a message of another path has along this one; NULL when it is not shown. Run as the '
    'owner.';

-- compaction_apply.sql
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

-- compaction_claims.sql
-- Which paths need a compaction, who compacts them, and what has been done.

-- The index gives one day after the other. A window of more days is looked through day by day, so that each costs no
-- more than the rows asked for.
create function copilot_internal.compaction_candidates(
    p_limit integer, p_message_count_gt integer, p_token_count_gt bigint, p_active_after timestamptz,
    p_compacted_before timestamptz, p_claim boolean)
    returns setof copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    -- Below 32 messages no path is in the index, and all are read.
    v_query constant text := '
        select p.* from copilot_internal.conversation_paths p
        where p.activity_day %1$s and p.is_active and p.archived_at is null %2$s
          and p.open_message_count > $2 and ($3 is null or p.open_token_count > $3)
          and p.last_message_at > $4
          and (p.last_compaction_at is null or p.last_compaction_at < $5)
          and (p.compaction_claimed_until is null or p.compaction_claimed_until <= $6)
          and exists (select from copilot_internal.conversations c
                      where c.id = p.conversation_id and c.tenant_id = p.tenant_id and c.archived_at is null
                        and c.erasing_at is null and (c.expires_at is null or c.expires_at > $6))
        order by p.compaction_checked_at, p.size_class desc, p.id
        limit $7 %3$s';
    v_indexed constant text := case when p_message_count_gt >= 31 then 'and p.size_class >= 5' else '' end;
    v_lock constant text := case when p_claim then 'for no key update skip locked' else '' end;
    v_now constant timestamptz := clock_timestamp();
    v_day date := (greatest(p_active_after, '4713-01-02 00:00+00 BC') at time zone 'UTC')::date;
    v_found copilot_internal.conversation_paths[] := '{}';
    v_next copilot_internal.conversation_paths[];
    v_last date;
begin
    if v_now - p_active_after <= interval '31 days' then
        return query execute format(v_query, '>= $1', v_indexed, v_lock)
            using v_day, p_message_count_gt, p_token_count_gt, p_active_after, p_compacted_before, v_now, p_limit;
        return;
    end if;
    select max(p.activity_day) into v_last from copilot_internal.conversation_paths p
    where p.is_active and p.archived_at is null and (v_indexed = '' or p.size_class >= 5);
    while v_last >= v_day loop
        execute 'select array_agg(f) from (' || format(v_query, '= $1', v_indexed, '') || ') f' into v_next
            using v_last, p_message_count_gt, p_token_count_gt, p_active_after, p_compacted_before, v_now, p_limit;
        v_found := array(
            select f from unnest(v_found || v_next) f
            order by f.compaction_checked_at, f.size_class desc, f.id limit p_limit);
        select max(p.activity_day) into v_last from copilot_internal.conversation_paths p
        where p.is_active and p.archived_at is null and (v_indexed = '' or p.size_class >= 5)
          and p.activity_day < v_last;
    end loop;
    if p_claim then
        return query select p.* from copilot_internal.conversation_paths p
            where (p.id, p.tenant_id) in (select f.id, f.tenant_id from unnest(v_found) f)
              and (p.compaction_claimed_until is null or p.compaction_claimed_until <= v_now)
            order by p.id for no key update skip locked;
    else
        return query select f.* from unnest(v_found) f;
    end if;
end $$;
comment on function copilot_internal.compaction_candidates(
    integer, integer, bigint, timestamptz, timestamptz, boolean) is
    'Paths that show a model more messages, and more tokens, than this: never looked at first, then longest ago, then '
    'biggest. On request locked, without waiting. Run as the owner.';

create function copilot_internal.get_conversations_needing_compaction(
    p_message_count_gt integer default 50, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null, p_limit integer default 100,
    p_token_count_gt integer default null)
    returns table (conversation_id uuid, tenant_id uuid, active_path_id uuid, message_count bigint,
        last_message_at timestamptz, last_compaction_at timestamptz, path_id uuid, token_count bigint)
    language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('look for conversations to compact');
    perform copilot_internal.check_limit(p_limit, 1000);
    return query
        select p.conversation_id, p.tenant_id, coalesce(c.active_path_id, p.id), p.open_message_count::bigint,
               p.last_message_at, p.last_compaction_at, p.id, p.open_token_count
        from copilot_internal.compaction_candidates(p_limit, coalesce(p_message_count_gt, 50), p_token_count_gt,
                 coalesce(p_last_activity_after, clock_timestamp() - interval '7 days'),
                 coalesce(p_last_compaction_before, clock_timestamp() - interval '1 day'), false)
             with ordinality as p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        order by p.ordinality;
end $$;
comment on function copilot_internal.get_conversations_needing_compaction(
    integer, timestamptz, timestamptz, integer, integer) is 'What the function of this name in public does.';

create function public.get_conversations_needing_compaction(
    p_message_count_gt integer default 50, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null, p_limit integer default 100,
    p_token_count_gt integer default null)
    returns table (conversation_id uuid, tenant_id uuid, active_path_id uuid, message_count bigint,
        last_message_at timestamptz, last_compaction_at timestamptz, path_id uuid, token_count bigint)
    language sql stable rows 100
begin atomic
    select * from copilot_internal.get_conversations_needing_compaction(p_message_count_gt, p_last_activity_after,
        p_last_compaction_before, p_limit, p_token_count_gt);
end;
comment on function public.get_conversations_needing_compaction(integer, timestamptz, timestamptz, integer, integer) is
    'Paths that show a model more messages than this (and more tokens). Active in 7 days and not compacted in 1 day '
    'unless you say otherwise. Below 31 messages it reads all paths. Looks only: workers claim. For service_role.';

create function copilot_internal.claim_paths_for_compaction(
    p_limit integer default 20, p_lease interval default '10 minutes', p_message_count_gt integer default 50,
    p_token_count_gt bigint default null, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null)
    returns table (tenant_id uuid, conversation_id uuid, path_id uuid, message_count bigint, token_count bigint,
        base_operation_id uuid, config jsonb, removal_count integer)
    language plpgsql volatile security definer rows 20 set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    perform copilot_internal.require_server('claim paths');
    perform copilot_internal.check_limit(p_limit, 1000);
    perform copilot_internal.check_lease(p_lease);
    for v_path in
        select * from copilot_internal.compaction_candidates(p_limit, coalesce(p_message_count_gt, 50),
            p_token_count_gt, coalesce(p_last_activity_after, clock_timestamp() - interval '7 days'),
            coalesce(p_last_compaction_before, clock_timestamp() - interval '1 day'), true)
    loop
        config := copilot_internal.effective_config(v_path.tenant_id, (
            select c.user_id from copilot_internal.conversations c
            where c.id = v_path.conversation_id and c.tenant_id = v_path.tenant_id));
        update copilot_internal.conversation_paths p
        set compaction_claimed_until = case when (config ->> 'auto_compact_enabled')::boolean
                then clock_timestamp() + p_lease end,
            compaction_checked_at = case when (config ->> 'auto_compact_enabled')::boolean
                then p.compaction_checked_at else clock_timestamp() end
        where p.id = v_path.id and p.tenant_id = v_path.tenant_id;
        continue when not (config ->> 'auto_compact_enabled')::boolean;
        tenant_id := v_path.tenant_id;
        conversation_id := v_path.conversation_id;
        path_id := v_path.id;
        message_count := v_path.open_message_count;
        token_count := v_path.open_token_count;
        removal_count := v_path.removal_count;
        base_operation_id := (copilot_internal.governing_operation(v_path.tenant_id, v_path.id)).id;
        return next;
    end loop;
end $$;
comment on function copilot_internal.claim_paths_for_compaction(
    integer, interval, integer, bigint, timestamptz, timestamptz) is 'What public.claim_paths_for_compaction does.';

create function public.claim_paths_for_compaction(
    p_limit integer default 20, p_lease interval default '10 minutes', p_message_count_gt integer default 50,
    p_token_count_gt bigint default null, p_last_activity_after timestamptz default null,
    p_last_compaction_before timestamptz default null)
    returns table (tenant_id uuid, conversation_id uuid, path_id uuid, message_count bigint, token_count bigint,
        base_operation_id uuid, config jsonb, removal_count integer)
    language sql volatile rows 20
begin atomic
    select * from copilot_internal.claim_paths_for_compaction(p_limit, p_lease, p_message_count_gt, p_token_count_gt,
        p_last_activity_after, p_last_compaction_before);
end;
comment on function public.claim_paths_for_compaction(integer, interval, integer, bigint, timestamptz, timestamptz) is
    'Gives each of several workers other paths to compact, for the lease (10 seconds to 1 hour). Who finds nothing to '
    'do records strategy none. Paths whose config has auto_compact_enabled off are passed over. For service_role.';

create function copilot_internal.record_compaction_operation(
    p_conversation_id uuid default null, p_path_id uuid default null, p_tenant_id uuid default null,
    p_user_id uuid default null, p_strategy text default 'none', p_triggered_by text default 'manual',
    p_tokens_before integer default 0, p_tokens_after integer default 0, p_messages_before integer default 0,
    p_messages_after integer default 0, p_messages_summarized integer default 0, p_pinned_preserved integer default 0,
    p_duration_ms integer default null, p_used_llm boolean default false, p_cost_usd numeric default 0,
    p_success boolean default true, p_error text default null, p_metadata jsonb default '{}')
    returns uuid language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant_id uuid := p_tenant_id;
    v_words_may_be_erased boolean;
    v_id uuid;
begin
    perform copilot_internal.require_server('record a compaction');
    if p_conversation_id is null and p_tenant_id is null then
        raise exception 'p_tenant_id or p_conversation_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if least(p_tokens_before, p_tokens_after, p_messages_before, p_messages_after, p_messages_summarized,
             p_pinned_preserved, p_duration_ms) < 0
       or p_tokens_before is null or p_tokens_after is null or p_messages_before is null or p_messages_after is null
       or p_messages_summarized is null or p_pinned_preserved is null or p_used_llm is null or p_success is null
       or p_cost_usd < 0 or p_cost_usd >= 'Infinity' or octet_length(p_error) > 65536
    then
        raise exception 'counts and costs must be given, not negative and finite; p_error has at most 64 KiB'
            using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.check_compaction_arguments(p_strategy, p_triggered_by, null, null, '{}', p_metadata);
    if p_conversation_id is not null then
        select c.tenant_id into v_tenant_id from copilot_internal.conversations c
        where c.id = p_conversation_id and (p_tenant_id is null or c.tenant_id = p_tenant_id)
          and c.erasing_at is null
        -- No foreign key does it: what is noted stays no longer than the conversation, and no longer than a message
        -- of it that is erased.
        for share;
    else
        select t.id into v_tenant_id from copilot_internal.tenants t where t.id = p_tenant_id;
    end if;
    if not found or p_path_id is not null and not exists (
        select from copilot_internal.conversation_paths p
        where p.id = p_path_id and p.tenant_id = v_tenant_id and p.conversation_id = p_conversation_id)
    then
        raise exception 'there is no such tenant, conversation or path' using errcode = 'no_data_found';
    end if;
    -- The path first, in the order in which all lock it.
    update copilot_internal.conversation_paths p
    set compaction_checked_at = clock_timestamp(), compaction_claimed_until = null,
        last_compaction_at = case when p_success and p_strategy <> 'none' then clock_timestamp()
                                  else p.last_compaction_at end
    where p.id = p_path_id and p.tenant_id = v_tenant_id;
    -- As check_read() has it. What was measured stays, without a word.
    v_words_may_be_erased := exists (
        select from copilot_internal.conversation_paths p
        where p.conversation_id = p_conversation_id and p.tenant_id = v_tenant_id
          and (p_path_id is null or p.id = p_path_id)
          and p.last_erasure_at > clock_timestamp() - interval '1 hour');
    insert into copilot_internal.compaction_operations
        (conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, tokens_before, tokens_after,
         messages_before, messages_after, messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd,
         success, error, metadata, state)
    values (p_conversation_id, p_path_id, v_tenant_id, p_user_id, p_strategy, p_triggered_by, p_tokens_before,
            p_tokens_after, p_messages_before, p_messages_after, p_messages_summarized, p_pinned_preserved,
            p_duration_ms, p_used_llm, p_cost_usd, p_success,
            case when not v_words_may_be_erased then p_error end,
            case when v_words_may_be_erased then '{}' else p_metadata end,
            case when p_success then 'recorded' else 'failed' end)
    returning id into v_id;
    return v_id;
end $$;
comment on function copilot_internal.record_compaction_operation(uuid, uuid, uuid, uuid, text, text, integer, integer,
    integer, integer, integer, integer, integer, boolean, numeric, boolean, text, jsonb) is
    'What public.record_compaction_operation does.';

create function public.record_compaction_operation(
    p_conversation_id uuid default null, p_path_id uuid default null, p_tenant_id uuid default null,
    p_user_id uuid default null, p_strategy text default 'none', p_triggered_by text default 'manual',
    p_tokens_before integer default 0, p_tokens_after integer default 0, p_messages_before integer default 0,
    p_messages_after integer default 0, p_messages_summarized integer default 0, p_pinned_preserved integer default 0,
    p_duration_ms integer default null, p_used_llm boolean default false, p_cost_usd numeric default 0,
    p_success boolean default true, p_error text default null, p_metadata jsonb default '{}')
    returns uuid language sql volatile
begin atomic
    select copilot_internal.record_compaction_operation(p_conversation_id, p_path_id, p_tenant_id, p_user_id,
        p_strategy, p_triggered_by, p_tokens_before, p_tokens_after, p_messages_before, p_messages_after,
        p_messages_summarized, p_pinned_preserved, p_duration_ms, p_used_llm, p_cost_usd, p_success, p_error,
        p_metadata);
end;
comment on function public.record_compaction_operation(uuid, uuid, uuid, uuid, text, text, integer, integer, integer,
    integer, integer, integer, integer, boolean, numeric, boolean, text, jsonb) is
    'Notes a compaction done elsewhere, or that there was nothing to do (strategy none), and gives the path back. A '
    'model is shown the same. Within an hour of an erasure there it keeps no p_error or p_metadata. For service_role.';

-- Of a tenant its members are told, of all tenants the server alone.
create function copilot_internal.visible_operations(p_start timestamptz, p_end timestamptz, p_tenant_id uuid)
    returns setof copilot_internal.compaction_operations
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_tenant_id is null then
        perform copilot_internal.require_server('ask about all tenants');
        return query select o.* from copilot_internal.compaction_operations o
            where (p_start is null or o.timestamp >= p_start) and (p_end is null or o.timestamp <= p_end);
    else
        perform copilot_internal.access_tenant(p_tenant_id, null);
        return query select o.* from copilot_internal.compaction_operations o
            where o.tenant_id = p_tenant_id and o.timestamp >= coalesce(p_start, '-infinity')
              and o.timestamp <= coalesce(p_end, 'infinity');
    end if;
end $$;
comment on function copilot_internal.visible_operations(timestamptz, timestamptz, uuid) is
    'The operations of a span that the caller may be told sums of. Run as the owner.';

create function copilot_internal.get_compaction_metrics(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (total_operations bigint, successful_operations bigint, failed_operations bigint,
        total_tokens_saved bigint, total_messages_removed bigint, total_messages_summarized bigint,
        avg_compression_ratio numeric, avg_duration_ms numeric, total_cost_usd numeric, operations_using_llm bigint)
    language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp
begin atomic
    select count(*), count(*) filter (where o.success), count(*) filter (where not o.success),
           coalesce(sum(o.tokens_saved), 0)::bigint, coalesce(sum(o.messages_removed), 0)::bigint,
           coalesce(sum(o.messages_summarized), 0)::bigint, coalesce(avg(o.compression_ratio), 1),
           coalesce(avg(o.duration_ms), 0), pg_catalog.trim_scale(coalesce(sum(o.cost_usd), 0)),
           count(*) filter (where o.used_llm)
    from copilot_internal.visible_operations(p_start_time, p_end_time, p_tenant_id) o;
end;
comment on function copilot_internal.get_compaction_metrics(timestamptz, timestamptz, uuid) is
    'What public.get_compaction_metrics does.';

create function public.get_compaction_metrics(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (total_operations bigint, successful_operations bigint, failed_operations bigint,
        total_tokens_saved bigint, total_messages_removed bigint, total_messages_summarized bigint,
        avg_compression_ratio numeric, avg_duration_ms numeric, total_cost_usd numeric, operations_using_llm bigint)
    language sql stable rows 1
begin atomic
    select * from copilot_internal.get_compaction_metrics(p_start_time, p_end_time, p_tenant_id);
end;
comment on function public.get_compaction_metrics(timestamptz, timestamptz, uuid) is
    'Compactions in a span, summed. Without a tenant: of all tenants, for service_role.';

create function copilot_internal.get_compaction_strategy_breakdown(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (strategy text, operations bigint, tokens_saved bigint, avg_compression_ratio numeric,
        avg_duration_ms numeric)
    language sql stable security definer rows 7 set search_path = pg_catalog, pg_temp
begin atomic
    select o.strategy, count(*), coalesce(sum(o.tokens_saved), 0)::bigint, coalesce(avg(o.compression_ratio), 1),
           coalesce(avg(o.duration_ms), 0)
    from copilot_internal.visible_operations(p_start_time, p_end_time, p_tenant_id) o
    where o.success
    group by o.strategy
    order by 2 desc, 1;
end;
comment on function copilot_internal.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid) is
    'What public.get_compaction_strategy_breakdown does.';

create function public.get_compaction_strategy_breakdown(
    p_start_time timestamptz default null, p_end_time timestamptz default null, p_tenant_id uuid default null)
    returns table (strategy text, operations bigint, tokens_saved bigint, avg_compression_ratio numeric,
        avg_duration_ms numeric)
    language sql stable rows 7
begin atomic
    select * from copilot_internal.get_compaction_strategy_breakdown(p_start_time, p_end_time, p_tenant_id);
end;
comment on function public.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid) is
    'Successful compactions in a span by strategy, the most used first. Without a tenant: of all, for service_role.';

-- Ids of private conversations are for those who may read them, and for who manages the tenant.
create function copilot_internal.get_recent_compaction_operations(
    p_limit integer default 10, p_tenant_id uuid default null)
    returns table (id uuid, conversation_id uuid, operation_timestamp timestamptz, strategy text, tokens_saved integer,
        compression_ratio numeric, duration_ms integer, success boolean)
    language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    v_sees_all boolean;
begin
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_tenant_id is null then
        perform copilot_internal.require_server('ask about all tenants');
        v_sees_all := true;
    else
        v_sees_all := copilot_internal.access_tenant(p_tenant_id, null) in ('server', 'owner', 'admin');
    end if;
    return query
        select o.id, o.conversation_id, o.timestamp, o.strategy, o.tokens_saved, o.compression_ratio, o.duration_ms,
               o.success
        from copilot_internal.compaction_operations o
        where (p_tenant_id is null or o.tenant_id = p_tenant_id)
          and (v_sees_all or exists (
              select from copilot_internal.conversations c
              where c.id = o.conversation_id and c.tenant_id = o.tenant_id and c.erasing_at is null
                and (c.user_id = copilot_internal.caller_user() or c.effective_audience <> 'private')))
        order by o.timestamp desc
        limit p_limit;
end $$;
comment on function copilot_internal.get_recent_compaction_operations(integer, uuid) is
    'What public.get_recent_compaction_operations does.';

create function public.get_recent_compaction_operations(p_limit integer default 10, p_tenant_id uuid default null)
    returns table (id uuid, conversation_id uuid, operation_timestamp timestamptz, strategy text, tokens_saved integer,
        compression_ratio numeric, duration_ms integer, success boolean)
    language sql stable rows 10
begin atomic
    select * from copilot_internal.get_recent_compaction_operations(p_limit, p_tenant_id);
end;
comment on function public.get_recent_compaction_operations(integer, uuid) is
    'The latest compactions, of conversations that the caller may read. Without a tenant: of all, for service_role.';

-- execution_contexts.sql
-- Sandboxes: one unended context a path, with money set aside before there is a sandbox, and billed exactly once.
--
-- Locks. A quota function comes before any row is locked, and none waits for a context's row after one: in locked
-- mode the quota's lock is the tenant's, and would stop all charging. Where a row cannot be locked at once then, what
-- the quota did is rolled back with a subtransaction, and the caller tries again.

create table copilot_internal.execution_contexts (
    id uuid not null default pg_catalog.gen_random_uuid(),
    tenant_id uuid not null,
    conversation_id uuid not null,
    path_id uuid not null,
    sandbox_id text check (pg_catalog.length(sandbox_id) between 1 and 200),
    sandbox_status text not null default 'creating'
        check (sandbox_status in ('creating', 'ready', 'error', 'terminated')),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    last_used_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null default pg_catalog.clock_timestamp() + interval '30 minutes',
    terminated_at timestamptz,
    error_message text check (pg_catalog.octet_length(error_message) <= 65536),
    resource_usage jsonb check (pg_catalog.octet_length(resource_usage::text) <= 65536),
    user_id uuid,
    sandbox_type text not null default 'standard' check (pg_catalog.length(sandbox_type) between 1 and 200),
    region text check (pg_catalog.length(region) between 1 and 200),
    reservation_id uuid,
    estimated_cost_usd numeric check (estimated_cost_usd >= 0 and estimated_cost_usd < 'Infinity'),
    ready_at timestamptz,
    max_expires_at timestamptz not null default pg_catalog.clock_timestamp() + interval '24 hours',
    creating_until timestamptz default pg_catalog.clock_timestamp() + interval '2 minutes',
    termination_reason text check (pg_catalog.length(termination_reason) <= 2000),
    kill_claimed_until timestamptz,
    released_at timestamptz,
    duration_seconds numeric check (duration_seconds >= 0),
    cost_record_id uuid,
    late_for_context_id uuid,
    request_id text check (pg_catalog.length(request_id) <= 200),
    trace_id text check (pg_catalog.length(trace_id) <= 200),
    span_id text check (pg_catalog.length(span_id) <= 200),
    primary key (id, tenant_id),
    foreign key (path_id, conversation_id, tenant_id)
        references copilot_internal.conversation_paths (id, conversation_id, tenant_id),
    check ((sandbox_status in ('terminated', 'error')) = (terminated_at is not null)),
    check (sandbox_status <> 'ready' or sandbox_id is not null and ready_at is not null),
    check (released_at is null or terminated_at is not null)
);
create unique index execution_contexts_unended_idx
    on copilot_internal.execution_contexts (path_id, tenant_id) where terminated_at is null;
create index execution_contexts_expires_at_idx
    on copilot_internal.execution_contexts (expires_at) where terminated_at is null;
create index execution_contexts_creating_until_idx
    on copilot_internal.execution_contexts (creating_until) where sandbox_status = 'creating';
create index execution_contexts_unreleased_idx
    on copilot_internal.execution_contexts (terminated_at) where released_at is null and terminated_at is not null;
create index execution_contexts_released_at_idx
    on copilot_internal.execution_contexts (released_at) where released_at is not null;
create index execution_contexts_sandbox_id_idx on copilot_internal.execution_contexts (sandbox_id);
-- A sandbox is billed to one context at a time.
create unique index execution_contexts_sandbox_idx on copilot_internal.execution_contexts (tenant_id, sandbox_id)
    where sandbox_id is not null and released_at is null;
create index execution_contexts_conversation_id_idx
    on copilot_internal.execution_contexts (conversation_id, tenant_id);
comment on table copilot_internal.execution_contexts is
    'Sandboxes of paths. That a context has ended and that its sandbox is gone are two facts: the bill comes with the '
    'second.';
comment on column copilot_internal.execution_contexts.id is
    'The context; the application tags its sandbox with it.';
comment on column copilot_internal.execution_contexts.tenant_id is 'Who pays.';
comment on column copilot_internal.execution_contexts.conversation_id is 'Of which conversation.';
comment on column copilot_internal.execution_contexts.path_id is 'Of which path; one unended context each.';
comment on column copilot_internal.execution_contexts.sandbox_id is 'The sandbox; NULL until it is known.';
comment on column copilot_internal.execution_contexts.sandbox_status is 'creating, ready, error or terminated.';
comment on column copilot_internal.execution_contexts.created_at is 'When somebody was told to create it.';
comment on column copilot_internal.execution_contexts.last_used_at is 'When it was last acquired or touched.';
comment on column copilot_internal.execution_contexts.expires_at is
    'When it ends unless it is renewed: the time-out that the application gives the sandbox.';
comment on column copilot_internal.execution_contexts.terminated_at is 'When it ended; final.';
comment on column copilot_internal.execution_contexts.error_message is 'What went wrong.';
comment on column copilot_internal.execution_contexts.resource_usage is 'What the application measured.';
comment on column copilot_internal.execution_contexts.user_id is 'On whose behalf.';
comment on column copilot_internal.execution_contexts.sandbox_type is 'The sandbox type, as prices know it.';
comment on column copilot_internal.execution_contexts.region is 'Where it runs.';
comment on column copilot_internal.execution_contexts.reservation_id is 'The hold on the quota.';
comment on column copilot_internal.execution_contexts.estimated_cost_usd is 'USD that it sets aside.';
comment on column copilot_internal.execution_contexts.ready_at is
    'When it was activated: the bill begins. Of an orphan, when its creator was told to create it.';
comment on column copilot_internal.execution_contexts.max_expires_at is 'It is never renewed beyond this.';
comment on column copilot_internal.execution_contexts.creating_until is 'From then on another may create.';
comment on column copilot_internal.execution_contexts.termination_reason is
    'Why it ended; orphan: a sandbox that came too late for its context.';
comment on column copilot_internal.execution_contexts.kill_claimed_until is 'Until when a worker sees to the sandbox.';
comment on column copilot_internal.execution_contexts.released_at is 'When its sandbox was gone and billed.';
comment on column copilot_internal.execution_contexts.duration_seconds is 'Seconds that were billed.';
comment on column copilot_internal.execution_contexts.cost_record_id is 'Its row of e2b_cost_records.';
comment on column copilot_internal.execution_contexts.late_for_context_id is
    'Of an orphan: the context without another sandbox that it came too late for. The two are billed once.';
comment on column copilot_internal.execution_contexts.request_id is 'The request that was told to create it.';
comment on column copilot_internal.execution_contexts.trace_id is 'OpenTelemetry trace.';
comment on column copilot_internal.execution_contexts.span_id is 'OpenTelemetry span.';

-- A killer may have found a sandbox by its tag, and billed it, before its creator came too late with its id: so what
-- came first too late for a context that has no sandbox is billed as that context is.
create function copilot_internal.bill_key(p_context copilot_internal.execution_contexts) returns text
    language sql immutable
begin atomic
    select 'execution_context:' || coalesce((p_context).late_for_context_id, (p_context).id)::text;
end;
comment on function copilot_internal.bill_key(copilot_internal.execution_contexts) is
    'The request id of a context''s bill.';

-- Bound to the core's functions when this is created: another function put beside them in public is never called.
create function copilot_internal.hold_for_context(
    p_tenant_id uuid, p_context_id uuid, p_amount_usd numeric, p_user_id uuid, p_ttl interval)
    returns table (allowed boolean, reservation_id uuid, blocked_scope text, remaining_usd numeric,
        retry_after_seconds integer, reason text)
    language sql volatile rows 1
begin atomic
    select r.allowed, r.reservation_id, r.blocked_scope, r.remaining_usd, r.retry_after_seconds, r.reason
    from public.reserve_quota(p_tenant_id, 'e2b'::text, p_amount_usd, 'execution_context:' || p_context_id::text,
                              p_user_id, p_ttl, '{}'::jsonb, false) r;
end;
comment on function copilot_internal.hold_for_context(uuid, uuid, numeric, uuid, interval) is
    'Sets money aside for a sandbox. Run as the owner.';

create function copilot_internal.extend_hold(
    p_tenant_id uuid, p_reservation_id uuid, p_ttl interval, p_additional_usd numeric) returns boolean
    language sql volatile
begin atomic
    select r.allowed
    from public.extend_reservation(p_reservation_id, p_ttl, p_additional_usd, null::text, p_tenant_id) r;
end;
comment on function copilot_internal.extend_hold(uuid, uuid, interval, numeric) is
    'Sets more aside, for longer; false when refused. Run as the owner.';

create function copilot_internal.release_hold(p_tenant_id uuid, p_reservation_id uuid, p_reason text) returns numeric
    language sql volatile
begin atomic
    select r.released_usd from public.release_reservation(p_reservation_id, p_reason, p_tenant_id) r;
end;
comment on function copilot_internal.release_hold(uuid, uuid, text) is
    'Gives back what a sandbox that never was had set aside. Run as the owner.';

create function copilot_internal.bill_context(
    p_context copilot_internal.execution_contexts, p_duration_seconds numeric, p_vcpu_seconds numeric,
    p_memory_gib_seconds numeric)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, replayed boolean)
    language sql volatile rows 1
begin atomic
    select r.cost_record_id, r.cost_usd, r.cost_status, r.replayed
    from public.record_e2b_cost((p_context).tenant_id, (p_context).sandbox_id, (p_context).sandbox_type,
        p_duration_seconds, (p_context).user_id, (p_context).conversation_id, (p_context).path_id,
        (p_context).region, p_vcpu_seconds, p_memory_gib_seconds, null::numeric,
        copilot_internal.bill_key(p_context), (p_context).reservation_id, false, null::timestamptz,
        '{}'::jsonb, false, null::text, null::numeric, null::numeric, null::numeric, null::numeric) r;
end;
comment on function copilot_internal.bill_context(
    copilot_internal.execution_contexts, numeric, numeric, numeric) is
    'Records what a sandbox cost, once whatever is said again. Run as the owner.';

create function copilot_internal.price_of_context(
    p_tenant_id uuid, p_sandbox_type text, p_region text, p_seconds numeric) returns numeric
    language sql stable
begin atomic
    select coalesce(
        (select e.estimated_cost_usd
         from public.estimate_e2b_cost(p_sandbox_type, p_seconds, p_region, null::numeric, null::numeric, p_tenant_id,
                                       null::text, null::numeric, null::numeric, null::numeric, null::numeric) e),
        public.get_e2b_cost_estimate(p_sandbox_type, coalesce(p_region, 'us-east-1'), 'standard_session'::text,
                                     'conservative'::text, p_tenant_id));
end;
comment on function copilot_internal.price_of_context(uuid, text, text, numeric) is
    'What a sandbox costs in so many seconds (USD), by its price, else by the named estimate; NULL when neither is '
    'known. Run as the owner.';

-- The price of more time, by what was set aside for the time it has.
create function copilot_internal.price_of_renewal(
    p_context copilot_internal.execution_contexts, p_expires_at timestamptz) returns numeric
    language sql immutable
begin atomic
    select pg_catalog.round((p_context).estimated_cost_usd
        * extract(epoch from greatest(p_expires_at - (p_context).expires_at, '0'))
        / greatest(extract(epoch from (p_context).expires_at
                           - coalesce((p_context).ready_at, (p_context).created_at)), 1), 12);
end;
comment on function copilot_internal.price_of_renewal(copilot_internal.execution_contexts, timestamptz) is
    'USD that a later end costs, at the rate at which the context set money aside.';

create function copilot_internal.room_for_context(p_tenant_id uuid, p_amount_usd numeric, p_user_id uuid)
    returns table (allowed boolean, blocked_scope text, remaining_usd numeric, retry_after_seconds integer, reason text)
    language sql stable rows 1
begin atomic
    select c.allowed, c.blocked_scope, c.remaining_usd, c.retry_after_seconds, c.reason
    from public.check_quota_before_operation(p_tenant_id, 'e2b'::text, p_amount_usd, p_user_id) c;
end;
comment on function copilot_internal.room_for_context(uuid, numeric, uuid) is
    'Whether the quota leaves room for a sandbox. Run as the owner.';

-- What the application's store writes itself: a row without a hold asks the quota. Those who pass are the functions of
-- this extension, which have a hold or note an orphan, and a superuser's restore.
create function copilot_internal.check_new_context() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_role constant name := case current_setting('role') when 'none' then session_user else current_setting('role') end;
    v_check record;
begin
    if new.reservation_id is not null or new.terminated_at is not null
       or (select r.rolsuper from pg_roles r where r.rolname = v_role)
    then
        return new;
    end if;
    if new.sandbox_status not in ('creating', 'ready') then
        raise exception 'a context does not begin as one that has ended' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.require_open_conversation(new.tenant_id, new.conversation_id);
    perform copilot_internal.require_open_path(new.tenant_id, new.conversation_id, new.path_id);
    new.expires_at := least(new.expires_at, new.created_at + interval '1 hour');
    if new.sandbox_status = 'ready' then
        new.ready_at := coalesce(new.ready_at, clock_timestamp());
    end if;
    select c.* into v_check
    from copilot_internal.room_for_context(new.tenant_id, coalesce(copilot_internal.price_of_context(new.tenant_id,
        new.sandbox_type, new.region, greatest(extract(epoch from new.expires_at - clock_timestamp()), 0)), 0),
        new.user_id) c;
    if not v_check.allowed then
        perform copilot_internal.raise_refusal(jsonb_build_object('reason', v_check.reason, 'scope',
            v_check.blocked_scope, 'remaining_usd', v_check.remaining_usd), v_check.retry_after_seconds);
    end if;
    return new;
end $$;
comment on function copilot_internal.check_new_context() is
    'Trigger: refuses (PT429) a context that an application inserts itself when the quota leaves no room for it.';
create trigger check_new_context before insert on copilot_internal.execution_contexts
    for each row execute function copilot_internal.check_new_context();

create function copilot_internal.guard_context() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if old.terminated_at is not null and (new.terminated_at is distinct from old.terminated_at
                                          or new.sandbox_status <> old.sandbox_status)
    then
        raise exception 'the context has ended' using errcode = 'PT409', detail = old.sandbox_status;
    end if;
    if new.terminated_at is not null and new.sandbox_status not in ('terminated', 'error') then
        new.sandbox_status := 'terminated';
    elsif new.sandbox_status in ('terminated', 'error') and new.terminated_at is null then
        new.terminated_at := clock_timestamp();
    elsif new.sandbox_status = 'ready' and new.ready_at is null then
        new.ready_at := clock_timestamp();
    end if;
    -- A clock of the application's does not move the end.
    if old.terminated_at is null and new.terminated_at is not null then
        new.terminated_at := least(new.terminated_at, clock_timestamp());
    end if;
    return new;
end $$;
comment on function copilot_internal.guard_context() is
    'Trigger: what has ended stays ended (PT409), and status and moments agree, also where an application writes them.';
create trigger guard_context before update of sandbox_status, terminated_at on copilot_internal.execution_contexts
    for each row execute function copilot_internal.guard_context();

-- Who was told to create may still come with a sandbox, which then needs the path and a row of its own.
create function copilot_internal.awaits_sandbox(p_context copilot_internal.execution_contexts) returns boolean
    language sql volatile
begin atomic
    select (p_context).sandbox_id is null and (p_context).termination_reason is distinct from 'failed'
       and (p_context).created_at > pg_catalog.clock_timestamp() - interval '1 hour';
end;
comment on function copilot_internal.awaits_sandbox(copilot_internal.execution_contexts) is
    'Whether a sandbox may still be activated for a context that has none, within an hour of its beginning.';

-- Without it another sandbox that comes too late would take the bill for its own, and never be billed.
create function copilot_internal.explains_a_bill(p_context copilot_internal.execution_contexts) returns boolean
    language sql volatile
begin atomic
    select exists (select from copilot_internal.execution_contexts c
                   where c.id = (p_context).late_for_context_id and c.tenant_id = (p_context).tenant_id);
end;
comment on function copilot_internal.explains_a_bill(copilot_internal.execution_contexts) is
    'Whether a sandbox that came too late is billed under the key of another context that is still there. Run as the '
    'owner.';

create function copilot_internal.end_contexts(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_reason text) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_ended integer;
begin
    perform from copilot_internal.execution_contexts c
    where c.conversation_id = p_conversation_id and c.tenant_id = p_tenant_id
      and (p_path_id is null or c.path_id = p_path_id) and c.terminated_at is null
    order by c.id for no key update;
    update copilot_internal.execution_contexts c
    set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
        terminated_at = clock_timestamp(), termination_reason = p_reason
    where c.conversation_id = p_conversation_id and c.tenant_id = p_tenant_id
      and (p_path_id is null or c.path_id = p_path_id) and c.terminated_at is null;
    get diagnostics v_ended = row_count;
    return v_ended;
end $$;
comment on function copilot_internal.end_contexts(uuid, uuid, uuid, text) is
    'Ends the contexts of a conversation, or of one path of it, and returns how many. Their sandboxes are left to the '
    'killers. Run as the owner, with the path locked.';

create view public.execution_contexts_view with (security_invoker) as
    select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id, c.sandbox_status, c.created_at,
           c.last_used_at, c.expires_at, c.terminated_at, c.error_message, c.resource_usage,
           c.expires_at < pg_catalog.clock_timestamp() and c.terminated_at is null as is_expired,
           extract(epoch from c.expires_at - pg_catalog.clock_timestamp())::integer as seconds_until_expiry,
           extract(epoch from pg_catalog.clock_timestamp() - c.created_at)::integer as age_seconds,
           c.user_id, c.sandbox_type, c.region, c.ready_at, c.released_at, c.duration_seconds, c.cost_record_id,
           c.termination_reason
    from copilot_internal.execution_contexts c;
comment on view public.execution_contexts_view is 'Sandboxes of paths, for service_role.';
comment on column public.execution_contexts_view.is_expired is 'Whether it should have ended and has not.';
comment on column public.execution_contexts_view.seconds_until_expiry is 'Negative when it has expired.';
comment on column public.execution_contexts_view.age_seconds is 'Since its creation.';

-- execution_contexts_acquire.sql
-- Acquiring a sandbox: looked for, else claimed before it is made.

-- What a path has at this moment. It never waits: a row that somebody is changing is asked for again in a second.
create function copilot_internal.look_for_context(
    p_tenant_id uuid, p_path_id uuid, p_request_id text, p_expires_at timestamptz,
    out outcome text, out context copilot_internal.execution_contexts)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_now constant timestamptz := clock_timestamp();
begin
    select c.* into context from copilot_internal.execution_contexts c
    where c.path_id = p_path_id and c.tenant_id = p_tenant_id and c.terminated_at is null;
    if not found then
        return;
    end if;
    if context.sandbox_status = 'creating' and context.creating_until > v_now then
        outcome := case when context.request_id = p_request_id then 'create' else 'wait' end;
    elsif context.sandbox_status = 'ready' and context.expires_at > v_now then
        outcome := copilot_internal.renew_context(context, p_expires_at);
        select c.* into context from copilot_internal.execution_contexts c
        where c.id = context.id and c.tenant_id = p_tenant_id;
    end if;
end $$;
comment on function copilot_internal.look_for_context(uuid, uuid, text, timestamptz) is
    'The unended context of a path and what to do about it: reuse, wait, create (again). NULL where it has expired or '
    'is stuck, and where there is none. Run as the owner.';

-- The hold first, then the row, if it can be locked at once. A quota that refuses more time ends nothing before its
-- time: what is ready is used until it expires. For less than ten seconds more no quota is asked, and nothing moves.
create function copilot_internal.renew_context(
    p_context copilot_internal.execution_contexts, p_expires_at timestamptz) returns text
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_expires_at timestamptz := greatest(p_context.expires_at, least(p_expires_at, p_context.max_expires_at));
    v_price numeric;
    v_outcome text := 'reuse';
begin
    if v_expires_at < p_context.expires_at + interval '10 seconds' then
        v_expires_at := p_context.expires_at;
    end if;
    v_price := copilot_internal.price_of_renewal(p_context, v_expires_at);
    -- What the application's store inserted has no hold: it asks for the added time as it asked for the first.
    if p_context.reservation_id is null and v_expires_at > p_context.expires_at and not (
        select r.allowed from copilot_internal.room_for_context(p_context.tenant_id, coalesce(
            copilot_internal.price_of_context(p_context.tenant_id, p_context.sandbox_type, p_context.region,
                extract(epoch from v_expires_at - p_context.expires_at)), 0), p_context.user_id) r)
    then
        v_expires_at := p_context.expires_at;
        v_outcome := 'kept';
    end if;
    begin
        if v_price > 0 and p_context.reservation_id is not null
           and not copilot_internal.extend_hold(p_context.tenant_id, p_context.reservation_id,
                       v_expires_at - clock_timestamp() + interval '15 minutes', v_price)
        then
            v_expires_at := p_context.expires_at;
            v_price := 0;
            v_outcome := 'kept';
        end if;
        perform from copilot_internal.execution_contexts c
        where c.id = p_context.id and c.tenant_id = p_context.tenant_id and c.terminated_at is null
          and c.sandbox_status = 'ready' and c.expires_at > clock_timestamp()
        for no key update skip locked;
        if not found then
            raise exception 'somebody has the row' using errcode = 'TG001';
        end if;
    exception when sqlstate 'TG001' or object_not_in_prerequisite_state then
        -- In the second case somebody has just billed it, and its hold is settled.
        return 'wait';
    end;
    update copilot_internal.execution_contexts c
    set last_used_at = clock_timestamp(), expires_at = greatest(c.expires_at, v_expires_at),
        estimated_cost_usd = c.estimated_cost_usd + v_price
    where c.id = p_context.id and c.tenant_id = p_context.tenant_id;
    return v_outcome;
end $$;
comment on function copilot_internal.renew_context(copilot_internal.execution_contexts, timestamptz) is
    'Gives a ready context more time, with its hold: reuse; kept, where the quota refuses; wait, where somebody else '
    'is changing it. Run as the owner.';

create function copilot_internal.insert_context(
    p_context copilot_internal.execution_contexts, p_reservation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    insert into copilot_internal.execution_contexts
        (id, tenant_id, conversation_id, path_id, sandbox_status, created_at, last_used_at, expires_at,
         max_expires_at, creating_until, user_id, sandbox_type, region, reservation_id, estimated_cost_usd,
         request_id, trace_id, span_id)
    values (p_context.id, p_context.tenant_id, p_context.conversation_id, p_context.path_id, 'creating',
            p_context.created_at, p_context.created_at, p_context.expires_at, p_context.max_expires_at,
            p_context.creating_until, p_context.user_id, p_context.sandbox_type, p_context.region, p_reservation_id,
            p_context.estimated_cost_usd, p_context.request_id, p_context.trace_id, p_context.span_id);
end $$;
comment on function copilot_internal.insert_context(copilot_internal.execution_contexts, uuid) is
    'Writes the row of a sandbox to be made; 23505 where the path has one. Run as the owner.';

-- The hold, then the row. What must not stay is rolled back by the caller's subtransaction.
create function copilot_internal.claim_context(p_context copilot_internal.execution_contexts, p_ttl interval)
    returns table (allowed boolean, reservation_id uuid, blocked_scope text, remaining_usd numeric,
        retry_after_seconds integer, reason text)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_old uuid;
begin
    select h.* into allowed, reservation_id, blocked_scope, remaining_usd, retry_after_seconds, reason
    from copilot_internal.hold_for_context(p_context.tenant_id, p_context.id, p_context.estimated_cost_usd,
                                           p_context.user_id, p_ttl + interval '15 minutes') h;
    if not allowed then
        -- What took the room may be a twin that this transaction's snapshot does not show, and the unique index does.
        begin
            perform copilot_internal.insert_context(p_context, p_context.id);
            raise exception 'no twin' using errcode = 'TG002';
        exception when sqlstate 'TG002' then
            return next;
            return;
        end;
    end if;
    -- One that has expired, or got stuck, makes room if it can be locked at once. An insert beside one that somebody
    -- is just ending would wait for them.
    select c.id into v_old from copilot_internal.execution_contexts c
    where c.path_id = p_context.path_id and c.tenant_id = p_context.tenant_id and c.terminated_at is null;
    if found then
        perform from copilot_internal.execution_contexts c
        where c.id = v_old and c.tenant_id = p_context.tenant_id and c.terminated_at is null
          and case c.sandbox_status when 'creating' then c.creating_until else c.expires_at end <= clock_timestamp()
        for no key update skip locked;
        if not found then
            raise exception 'somebody has the row' using errcode = 'TG001';
        end if;
        update copilot_internal.execution_contexts c
        set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
            terminated_at = clock_timestamp(),
            termination_reason = case c.sandbox_status when 'creating' then 'stuck' else 'expired' end
        where c.id = v_old and c.tenant_id = p_context.tenant_id;
    end if;
    perform copilot_internal.insert_context(p_context, reservation_id);
    return next;
end $$;
comment on function copilot_internal.claim_context(copilot_internal.execution_contexts, interval) is
    'Sets money aside and writes the row of a sandbox to be made. TG001 or 23505 where another has the path. Run as '
    'the owner.';

create function copilot_internal.check_acquire_arguments(
    p_path_id uuid, p_sandbox_type text, p_region text, p_ttl interval, p_estimated_cost_usd numeric,
    p_texts text[]) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_path_id is null then
        raise exception 'p_path_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if p_ttl is null or p_ttl not between interval '1 minute' and interval '1 hour' then
        raise exception 'p_ttl must be between 1 and 60 minutes' using errcode = 'invalid_parameter_value';
    end if;
    if p_sandbox_type is null or length(p_sandbox_type) not between 1 and 200 or length(p_region) not between 1 and 200
    then
        raise exception 'p_sandbox_type and p_region must have 1 to 200 characters'
            using errcode = 'invalid_parameter_value';
    end if;
    if p_estimated_cost_usd < 0 or p_estimated_cost_usd >= 'Infinity' then
        raise exception 'p_estimated_cost_usd must be finite and not negative'
            using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from unnest(p_texts) t (text) where length(t.text) not between 1 and 200) then
        raise exception 'p_request_id, p_trace_id and p_span_id must have 1 to 200 characters'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_acquire_arguments(uuid, text, text, interval, numeric, text[]) is
    'Raises 22023 for what no sandbox is acquired with.';

-- A path that is written to may have a sandbox. It is looked at without a lock: an append may hold its row.
create function copilot_internal.require_open_path(p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid)
    returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id;
    if not found then
        raise exception 'there is no such path' using errcode = 'no_data_found';
    end if;
    if not v_path.is_active or v_path.archived_at is not null or v_path.merged_at is not null then
        raise exception 'the path is closed' using errcode = 'PT409',
            detail = case when v_path.archived_at is not null then 'archived'
                          when v_path.merged_at is not null then 'merged' else 'inactive' end;
    end if;
end $$;
comment on function copilot_internal.require_open_path(uuid, uuid, uuid) is
    'P0002 for a path that is not there, PT409 for one that is closed. Run as the owner.';

create function copilot_internal.acquire_execution_context(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null,
    p_sandbox_type text default 'standard', p_region text default null, p_ttl interval default '30 minutes',
    p_estimated_cost_usd numeric default null, p_request_id text default null, p_trace_id text default null,
    p_span_id text default null)
    returns table (outcome text, context_id uuid, sandbox_id text, expires_at timestamptz, reservation_id uuid,
        retry_after_seconds integer, reason text, blocked_scope text, remaining_usd numeric)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_found record;
    v_new copilot_internal.execution_contexts;
    v_claim record;
begin
    perform copilot_internal.require_server('acquire a sandbox');
    perform copilot_internal.check_acquire_arguments(p_path_id, p_sandbox_type, p_region, p_ttl, p_estimated_cost_usd,
        array[p_request_id, p_trace_id, p_span_id]);
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.require_open_conversation(p_tenant_id, p_conversation_id);
    perform copilot_internal.require_open_path(p_tenant_id, p_conversation_id, p_path_id);
    select f.outcome, (f.context).* into v_found
    from copilot_internal.look_for_context(p_tenant_id, p_path_id, p_request_id, clock_timestamp() + p_ttl) f;
    if v_found.outcome is null then
        if not copilot_internal.try_path_lock(p_tenant_id, p_path_id) then
            return query select 'wait', null::uuid, null::text, null::timestamptz, null::uuid, 1,
                'another request is acquiring it', null::text, null::numeric;
            return;
        end if;
        -- The twin may have come to its end between the look and the lock.
        select f.outcome, (f.context).* into v_found
        from copilot_internal.look_for_context(p_tenant_id, p_path_id, p_request_id, clock_timestamp() + p_ttl) f;
    end if;
    if v_found.outcome is not null then
        return query select case v_found.outcome when 'kept' then 'reuse' else v_found.outcome end, v_found.id,
            case when v_found.outcome in ('reuse', 'kept') then v_found.sandbox_id end, v_found.expires_at,
            v_found.reservation_id, case v_found.outcome when 'wait' then 1 end,
            case v_found.outcome when 'wait' then 'another request is creating or changing it'
                                 when 'kept' then 'the quota leaves no room for more time' end,
            null::text, null::numeric;
        return;
    end if;

    v_new.id := gen_random_uuid();
    v_new.tenant_id := p_tenant_id;
    v_new.conversation_id := p_conversation_id;
    v_new.path_id := p_path_id;
    v_new.created_at := clock_timestamp();
    v_new.expires_at := v_new.created_at + p_ttl;
    v_new.max_expires_at := v_new.created_at + interval '24 hours';
    v_new.creating_until := v_new.created_at + interval '2 minutes';
    v_new.user_id := p_user_id;
    v_new.sandbox_type := p_sandbox_type;
    v_new.region := p_region;
    v_new.request_id := p_request_id;
    v_new.trace_id := p_trace_id;
    v_new.span_id := p_span_id;
    v_new.estimated_cost_usd := coalesce(p_estimated_cost_usd, copilot_internal.price_of_context(
        p_tenant_id, p_sandbox_type, p_region, extract(epoch from p_ttl)));
    if v_new.estimated_cost_usd is null then
        if current_setting('pg_tollgate.unpriced', true) is distinct from 'allow' then
            return query select 'refused', null::uuid, null::text, null::timestamptz, null::uuid, null::integer,
                format('no price is known for sandboxes of type "%s"', p_sandbox_type), null::text, null::numeric;
            return;
        end if;
        v_new.estimated_cost_usd := 0;
    end if;
    begin
        select c.* into v_claim from copilot_internal.claim_context(v_new, p_ttl) c;
    exception when sqlstate 'TG001' or unique_violation then
        return query select 'wait', null::uuid, null::text, null::timestamptz, null::uuid, 1,
            'another request is creating or changing it', null::text, null::numeric;
        return;
    end;
    if not v_claim.allowed then
        return query select 'refused', null::uuid, null::text, null::timestamptz, null::uuid,
            v_claim.retry_after_seconds, v_claim.reason, v_claim.blocked_scope, v_claim.remaining_usd;
        return;
    end if;
    return query select 'create', v_new.id, null::text, v_new.expires_at, v_claim.reservation_id, null::integer,
        null::text, null::text, v_claim.remaining_usd;
end $$;
comment on function copilot_internal.acquire_execution_context(
    uuid, uuid, uuid, uuid, text, text, interval, numeric, text, text, text) is
    'What public.acquire_execution_context does.';

create function public.acquire_execution_context(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null,
    p_sandbox_type text default 'standard', p_region text default null, p_ttl interval default '30 minutes',
    p_estimated_cost_usd numeric default null, p_request_id text default null, p_trace_id text default null,
    p_span_id text default null)
    returns table (outcome text, context_id uuid, sandbox_id text, expires_at timestamptz, reservation_id uuid,
        retry_after_seconds integer, reason text, blocked_scope text, remaining_usd numeric)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.acquire_execution_context(p_tenant_id, p_conversation_id, p_path_id, p_user_id,
        p_sandbox_type, p_region, p_ttl, p_estimated_cost_usd, p_request_id, p_trace_id, p_span_id);
end;
comment on function public.acquire_execution_context(
    uuid, uuid, uuid, uuid, text, text, interval, numeric, text, text, text) is
    'A path''s sandbox: reuse it; create one, money is set aside; wait, another request is creating it; refused by a '
    'quota. Give the sandbox p_ttl (1 to 60 minutes) as time-out and context_id as tag. For service_role.';

-- execution_contexts_life.sql
-- From activation to the bill.

create function copilot_internal.context_by_id(p_context_id uuid) returns copilot_internal.execution_contexts
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_context copilot_internal.execution_contexts;
begin
    if p_context_id is null then
        raise exception 'p_context_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    select c.* into v_context from copilot_internal.execution_contexts c where c.id = p_context_id;
    if not found then
        raise exception 'there is no such context' using errcode = 'no_data_found';
    end if;
    return v_context;
end $$;
comment on function copilot_internal.context_by_id(uuid) is 'A context; P0002 for none. Run as the owner.';

-- A sandbox that came too late: a row of its own, born ended, so that a killer comes and it is billed.
create function copilot_internal.note_orphan(p_context copilot_internal.execution_contexts, p_sandbox_id text)
    returns void language sql volatile
begin atomic
    insert into copilot_internal.execution_contexts
        (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, created_at, last_used_at, expires_at,
         max_expires_at, creating_until, ready_at, terminated_at, termination_reason, late_for_context_id, user_id,
         sandbox_type, region, trace_id, span_id)
    select (p_context).tenant_id, (p_context).conversation_id, (p_context).path_id, p_sandbox_id, 'error',
           (p_context).created_at, (p_context).created_at, (p_context).expires_at, (p_context).max_expires_at, null,
           (p_context).created_at, pg_catalog.clock_timestamp(), 'orphan',
           case when (p_context).sandbox_id is null and not exists (
               select from copilot_internal.execution_contexts o
               where o.conversation_id = (p_context).conversation_id and o.tenant_id = (p_context).tenant_id
                 and o.late_for_context_id = (p_context).id) then (p_context).id end,
           (p_context).user_id, (p_context).sandbox_type, (p_context).region, (p_context).trace_id, (p_context).span_id
    where not exists (
        select from copilot_internal.execution_contexts o
        where o.sandbox_id = p_sandbox_id and o.tenant_id = (p_context).tenant_id)
    on conflict do nothing;
end;
comment on function copilot_internal.note_orphan(copilot_internal.execution_contexts, text) is
    'Puts a sandbox without a context into the queue of the killers, once. Run as the owner.';

-- Also where the other has ended: its bill goes on until it is released. An orphan of the path is what this context
-- left behind itself.
create function copilot_internal.refuse_shared_sandbox(
    p_context copilot_internal.execution_contexts, p_sandbox_id text) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from copilot_internal.execution_contexts o
               where o.sandbox_id = p_sandbox_id and o.tenant_id = p_context.tenant_id and o.id <> p_context.id
                 and o.released_at is null
                 and (o.termination_reason is distinct from 'orphan' or o.path_id <> p_context.path_id))
    then
        raise exception 'the sandbox belongs to another context' using errcode = 'PT409',
            hint = 'Release that context first, or make another sandbox.';
    end if;
end $$;
comment on function copilot_internal.refuse_shared_sandbox(copilot_internal.execution_contexts, text) is
    'Raises PT409 for a sandbox that would be billed to two contexts. Run as the owner.';

create function copilot_internal.activate_execution_context(p_context_id uuid, p_sandbox_id text)
    returns table (activated boolean, sandbox_status text, expires_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('activate a context');
    if p_sandbox_id is null or length(p_sandbox_id) not between 1 and 200 then
        raise exception 'p_sandbox_id must have 1 to 200 characters' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    select c.* into v_context from copilot_internal.execution_contexts c
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id for no key update;
    perform copilot_internal.refuse_shared_sandbox(v_context, p_sandbox_id);
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating'
       and v_context.reservation_id is not null and v_context.created_at < clock_timestamp() - interval '15 minutes'
    then
        -- The hold is for its time and fifteen minutes: a sandbox that came later would run without.
        update copilot_internal.execution_contexts c
        set sandbox_status = 'error', terminated_at = clock_timestamp(), termination_reason = 'stuck'
        where c.id = p_context_id and c.tenant_id = v_context.tenant_id
        returning c.* into v_context;
    end if;
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating'
       and coalesce(v_context.sandbox_id, p_sandbox_id) = p_sandbox_id
    then
        begin
            -- The sandbox's own time-out began when it was made, not before the row.
            update copilot_internal.execution_contexts c
            set sandbox_status = 'ready', sandbox_id = p_sandbox_id, ready_at = clock_timestamp(),
                last_used_at = clock_timestamp(), creating_until = null,
                expires_at = least(clock_timestamp() + (c.expires_at - c.created_at), c.max_expires_at)
            where c.id = p_context_id and c.tenant_id = v_context.tenant_id
            returning c.* into v_context;
        exception when unique_violation then
            -- Another context has had it since it was looked for.
            perform copilot_internal.refuse_shared_sandbox(v_context, p_sandbox_id);
            raise;
        end;
        activated := true;
    else
        activated := v_context.terminated_at is null and v_context.sandbox_id = p_sandbox_id;
        if not activated then
            perform copilot_internal.note_orphan(v_context, p_sandbox_id);
        end if;
    end if;
    return query select activated, v_context.sandbox_status, v_context.expires_at;
end $$;
comment on function copilot_internal.activate_execution_context(uuid, text) is
    'What public.activate_execution_context does.';

create function public.activate_execution_context(p_context_id uuid, p_sandbox_id text)
    returns table (activated boolean, sandbox_status text, expires_at timestamptz)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.activate_execution_context(p_context_id, p_sandbox_id);
end;
comment on function public.activate_execution_context(uuid, text) is
    'Tells which sandbox was created for a context. False when it came after 15 minutes, or the context has ended or '
    'has another. Then kill the sandbox: it is in the killers'' queue, and billed. For service_role.';

create function copilot_internal.touch_execution_context(p_context_id uuid, p_ttl_minutes integer default 30)
    returns table (renewed boolean, sandbox_status text, expires_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
    v_age interval;
    v_minutes integer;
begin
    perform copilot_internal.require_server('touch a context');
    if p_ttl_minutes is null or p_ttl_minutes not between 1 and 60 then
        raise exception 'p_ttl_minutes must be between 1 and 60' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    v_age := clock_timestamp() - v_context.created_at;
    v_minutes := least(p_ttl_minutes, case when v_age > interval '2 hours' then 15
                                           when v_age > interval '1 hour' then 20 else 60 end);
    renewed := false;
    if v_context.terminated_at is null and v_context.sandbox_status = 'ready'
       and v_context.expires_at > clock_timestamp()
    then
        renewed := copilot_internal.renew_context(v_context, clock_timestamp() + make_interval(mins => v_minutes))
            = 'reuse';
        v_context := copilot_internal.context_by_id(p_context_id);
    end if;
    return query select renewed, v_context.sandbox_status, v_context.expires_at;
end $$;
comment on function copilot_internal.touch_execution_context(uuid, integer) is
    'What public.touch_execution_context does.';

create function public.touch_execution_context(p_context_id uuid, p_ttl_minutes integer default 30)
    returns table (renewed boolean, sandbox_status text, expires_at timestamptz)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.touch_execution_context(p_context_id, p_ttl_minutes);
end;
comment on function public.touch_execution_context(uuid, integer) is
    'Gives a ready context 1 to 60 minutes from now: at most 20 after an hour, 15 after two, and 24 hours in all. '
    'False for one that has ended, expired or is being changed, and where the quota refuses. For service_role.';

create function copilot_internal.terminate_execution_context(p_context_id uuid, p_reason text default null)
    returns table (terminated boolean, sandbox_id text)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('terminate a context');
    if length(p_reason) > 2000 then
        raise exception 'p_reason has at most 2,000 characters' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    update copilot_internal.execution_contexts c
    set sandbox_status = case c.sandbox_status when 'creating' then 'error' else 'terminated' end,
        terminated_at = clock_timestamp(), termination_reason = coalesce(p_reason, 'terminated')
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id and c.terminated_at is null;
    terminated := found;
    return query select terminated, (copilot_internal.context_by_id(p_context_id)).sandbox_id;
end $$;
comment on function copilot_internal.terminate_execution_context(uuid, text) is
    'What public.terminate_execution_context does.';

create function public.terminate_execution_context(p_context_id uuid, p_reason text default null)
    returns table (terminated boolean, sandbox_id text)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.terminate_execution_context(p_context_id, p_reason);
end;
comment on function public.terminate_execution_context(uuid, text) is
    'Ends a context, once. Kill the sandbox then, and release the context: that is what bills it. For service_role.';

-- A creator that failed has no sandbox. The hold first, then the row, if no other has it.
create function copilot_internal.fail_execution_context(p_context_id uuid, p_error text)
    returns table (released_usd numeric)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
    v_released numeric := 0;
begin
    perform copilot_internal.require_server('fail a context');
    if octet_length(p_error) > 65536 then
        raise exception 'p_error has at most 64 KiB' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    if v_context.termination_reason = 'failed' then
        return query select 0::numeric;
        return;
    end if;
    if v_context.terminated_at is not null or v_context.sandbox_status <> 'creating' then
        raise exception 'the context is not being created' using errcode = 'PT409',
            detail = v_context.sandbox_status;
    end if;
    if v_context.reservation_id is not null then
        v_released := copilot_internal.release_hold(v_context.tenant_id, v_context.reservation_id, 'failed');
    end if;
    perform from copilot_internal.execution_contexts c
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id and c.terminated_at is null
      and c.sandbox_status = 'creating' for no key update skip locked;
    if not found then
        raise exception 'the context is being changed by another' using errcode = 'PT409', detail = 'changing';
    end if;
    update copilot_internal.execution_contexts c
    set sandbox_status = 'error', terminated_at = clock_timestamp(), termination_reason = 'failed',
        error_message = p_error, released_at = clock_timestamp(), duration_seconds = 0
    where c.id = p_context_id and c.tenant_id = v_context.tenant_id;
    return query select coalesce(v_released, 0);
end $$;
comment on function copilot_internal.fail_execution_context(uuid, text) is 'What public.fail_execution_context does.';

create function public.fail_execution_context(p_context_id uuid, p_error text)
    returns table (released_usd numeric)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.fail_execution_context(p_context_id, p_error);
end;
comment on function public.fail_execution_context(uuid, text) is
    'Ends a context whose sandbox could not be created, and gives back what it set aside. For service_role.';

-- Each look takes its rows' locks, and judges by what it finds under them: one that was renewed meanwhile is left.
create function copilot_internal.claim_expired_execution_contexts(
    p_limit integer default 50, p_lease interval default '2 minutes')
    returns table (context_id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text, reason text)
    language plpgsql volatile security definer rows 50 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := clock_timestamp();
    v_ids uuid[];
begin
    perform copilot_internal.require_server('claim contexts');
    perform copilot_internal.check_limit(p_limit, 1000);
    perform copilot_internal.check_lease(p_lease);
    v_ids := array(
        select c.id from copilot_internal.execution_contexts c
        where c.expires_at <= v_now and c.terminated_at is null
        order by c.expires_at limit p_limit for no key update skip locked);
    v_ids := v_ids || array(
        select c.id from copilot_internal.execution_contexts c
        where c.sandbox_status = 'creating' and c.creating_until <= v_now and c.terminated_at is null
          and c.id <> all (v_ids)
        order by c.creating_until limit p_limit - cardinality(v_ids) for no key update skip locked);
    v_ids := v_ids || array(
        select c.id from copilot_internal.execution_contexts c
        where c.released_at is null and c.terminated_at is not null
          and (c.kill_claimed_until is null or c.kill_claimed_until <= v_now)
        order by c.terminated_at limit p_limit - cardinality(v_ids) for no key update skip locked);
    return query with claimed as (
        update copilot_internal.execution_contexts c
        set kill_claimed_until = v_now + p_lease,
            sandbox_status = case when c.terminated_at is not null then c.sandbox_status
                                  when c.sandbox_status = 'creating' then 'error' else 'terminated' end,
            termination_reason = case when c.terminated_at is not null then c.termination_reason
                                      when c.sandbox_status = 'creating' then 'stuck' else 'expired' end,
            terminated_at = coalesce(c.terminated_at, v_now)
        where c.id = any (v_ids)
        returning c.*
    )
    select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id,
           case when c.termination_reason in ('stuck', 'expired', 'orphan') then c.termination_reason else 'ended' end
    from claimed c order by c.terminated_at, c.id;
end $$;
comment on function copilot_internal.claim_expired_execution_contexts(integer, interval) is
    'What public.claim_expired_execution_contexts does.';

create function public.claim_expired_execution_contexts(
    p_limit integer default 50, p_lease interval default '2 minutes')
    returns table (context_id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text, reason text)
    language sql volatile rows 50
begin atomic
    select * from copilot_internal.claim_expired_execution_contexts(p_limit, p_lease);
end;
comment on function public.claim_expired_execution_contexts(integer, interval) is
    'Ends contexts that expired or got stuck, and gives each worker other sandboxes to kill, for the lease; ended ones '
    'and orphans too. Without a sandbox_id look for the tag. Then release each. For service_role.';

create function copilot_internal.get_expired_execution_contexts(p_limit integer default 50)
    returns table (id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text,
        created_at timestamptz, last_used_at timestamptz, expires_at timestamptz)
    language plpgsql stable security definer rows 50 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('look for expired contexts');
    perform copilot_internal.check_limit(p_limit, 1000);
    return query
        select c.id, c.tenant_id, c.conversation_id, c.path_id, c.sandbox_id, c.created_at, c.last_used_at,
               c.expires_at
        from copilot_internal.execution_contexts c
        where c.terminated_at is null and c.expires_at < clock_timestamp()
        order by c.expires_at
        limit p_limit;
end $$;
comment on function copilot_internal.get_expired_execution_contexts(integer) is
    'What public.get_expired_execution_contexts does.';

create function public.get_expired_execution_contexts(p_limit integer default 50)
    returns table (id uuid, tenant_id uuid, conversation_id uuid, path_id uuid, sandbox_id text,
        created_at timestamptz, last_used_at timestamptz, expires_at timestamptz)
    language sql stable rows 50
begin atomic
    select * from copilot_internal.get_expired_execution_contexts(p_limit);
end;
comment on function public.get_expired_execution_contexts(integer) is
    'Contexts that should have ended and have not, the oldest first. Looks only: workers use '
    'claim_expired_execution_contexts. For service_role.';

create function copilot_internal.cleanup_old_terminated_contexts(
    p_days_old integer default 7, p_limit integer default 100)
    returns table (deleted_count integer, deleted_ids uuid[])
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('delete contexts');
    perform copilot_internal.check_limit(p_limit, 10000);
    if p_days_old is null or p_days_old not between 0 and 3650 then
        raise exception 'p_days_old must be between 0 and 3650' using errcode = 'invalid_parameter_value';
    end if;
    with gone as (
        delete from copilot_internal.execution_contexts c
        where (c.id, c.tenant_id) in (
            select o.id, o.tenant_id from copilot_internal.execution_contexts o
            where o.released_at <= clock_timestamp() - make_interval(days => p_days_old)
              and not copilot_internal.awaits_sandbox(o) and not copilot_internal.explains_a_bill(o)
            order by o.released_at limit p_limit for update skip locked)
        returning c.id
    )
    select count(*), coalesce(array_agg(g.id), '{}') into deleted_count, deleted_ids from gone g;
    return next;
end $$;
comment on function copilot_internal.cleanup_old_terminated_contexts(integer, integer) is
    'What public.cleanup_old_terminated_contexts does.';

create function public.cleanup_old_terminated_contexts(p_days_old integer default 7, p_limit integer default 100)
    returns table (deleted_count integer, deleted_ids uuid[])
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.cleanup_old_terminated_contexts(p_days_old, p_limit);
end;
comment on function public.cleanup_old_terminated_contexts(integer, integer) is
    'Deletes contexts that were released so many days ago. What is not billed yet stays. For service_role.';

-- execution_contexts_release.sql
-- The bill: one a context, however often it is released.

create function copilot_internal.billed_context(p_context copilot_internal.execution_contexts)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric)
    language sql stable rows 1
begin atomic
    select r.id, pg_catalog.trim_scale(r.cost_usd), r.cost_status, r.duration_seconds
    from copilot_internal.e2b_cost_records r
    where r.tenant_id = (p_context).tenant_id and r.request_id = copilot_internal.bill_key(p_context);
end;
comment on function copilot_internal.billed_context(copilot_internal.execution_contexts) is
    'What a context was billed, if it was. Run as the owner.';

-- A sandbox ends by its own time-out, however late its killer comes.
create function copilot_internal.context_seconds(p_context copilot_internal.execution_contexts) returns numeric
    language sql volatile
begin atomic
    select case when (p_context).ready_at is not null then pg_catalog.trim_scale(greatest(extract(epoch from
        least(pg_catalog.clock_timestamp(), (p_context).expires_at, (p_context).max_expires_at)
        - (p_context).ready_at), 0)) end;
end;
comment on function copilot_internal.context_seconds(copilot_internal.execution_contexts) is
    'Seconds that its sandbox can have run; NULL for one that was never activated.';

create function copilot_internal.is_billed_elsewhere(
    p_context copilot_internal.execution_contexts, p_cost_record_id uuid) returns boolean
    language sql stable
begin atomic
    select exists (
        select from copilot_internal.execution_contexts o
        where o.conversation_id = (p_context).conversation_id and o.tenant_id = (p_context).tenant_id
          and o.cost_record_id = p_cost_record_id and o.id <> (p_context).id);
end;
comment on function copilot_internal.is_billed_elsewhere(copilot_internal.execution_contexts, uuid) is
    'Whether another context has this bill: an orphan, or what it came too late for. Run as the owner.';

create function copilot_internal.release_context(
    p_context copilot_internal.execution_contexts, p_duration_seconds numeric, p_vcpu_seconds numeric,
    p_memory_gib_seconds numeric)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language plpgsql volatile rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_seconds constant numeric := coalesce(p_duration_seconds, copilot_internal.context_seconds(p_context));
    v_bill record;
begin
    if v_seconds is null then
        -- Never activated. A release that was told a duration may have billed it, and found the row taken. The bill of
        -- an orphan is not its own.
        select b.*, true as replayed into v_bill from copilot_internal.billed_context(p_context) b
        where not copilot_internal.is_billed_elsewhere(p_context, b.cost_record_id);
        if not found then
            -- No sandbox was found.
            if p_context.reservation_id is not null then
                perform copilot_internal.release_hold(p_context.tenant_id, p_context.reservation_id, 'no sandbox');
            end if;
            select null::uuid as cost_record_id, 0::numeric as cost_usd, null::text as cost_status,
                   0::numeric as duration_seconds, false as replayed into v_bill;
        end if;
    else
        begin
            select b.cost_record_id, b.cost_usd, b.cost_status, v_seconds as duration_seconds, b.replayed into v_bill
            from copilot_internal.bill_context(p_context, v_seconds, p_vcpu_seconds, p_memory_gib_seconds) b;
        exception when unique_violation then
            -- Another has just billed it, with its own clock.
            select b.*, true as replayed into v_bill from copilot_internal.billed_context(p_context) b;
            if not found then
                raise exception 'another has just billed the context' using errcode = 'serialization_failure',
                    hint = 'Try again in a new transaction.';
            end if;
        end;
    end if;
    -- The other of two that are billed once was first: this one has a hold of its own.
    if v_bill.replayed and exists (
        select from copilot_internal.quota_reservations h
        where h.id = p_context.reservation_id and h.tenant_id = p_context.tenant_id and h.state = 'held')
    then
        perform copilot_internal.release_hold(p_context.tenant_id, p_context.reservation_id, 'billed before');
    end if;
    -- Nobody is waited for with the quota's lock in hand: if somebody has the row, the next release marks it, and
    -- finds the bill.
    perform from copilot_internal.execution_contexts c
    where c.id = p_context.id and c.tenant_id = p_context.tenant_id and c.released_at is null
    for no key update skip locked;
    if found then
        update copilot_internal.execution_contexts c
        set released_at = clock_timestamp(),
            duration_seconds = case when copilot_internal.is_billed_elsewhere(c, v_bill.cost_record_id) then 0
                                    else v_bill.duration_seconds end,
            cost_record_id = v_bill.cost_record_id, kill_claimed_until = null,
            sandbox_status = case when c.terminated_at is null then 'terminated' else c.sandbox_status end,
            terminated_at = coalesce(c.terminated_at, clock_timestamp()),
            termination_reason = coalesce(c.termination_reason, 'released')
        where c.id = p_context.id and c.tenant_id = p_context.tenant_id;
    end if;
    return query select v_bill.cost_record_id, v_bill.cost_usd, v_bill.cost_status, v_bill.duration_seconds,
        v_bill.replayed;
end $$;
comment on function copilot_internal.release_context(
    copilot_internal.execution_contexts, numeric, numeric, numeric) is
    'Bills a context whose sandbox is gone, and marks it. Run as the owner.';

create function copilot_internal.release_execution_context(
    p_context_id uuid, p_duration_seconds numeric default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_context copilot_internal.execution_contexts;
begin
    perform copilot_internal.require_server('release a context');
    if least(p_duration_seconds, p_vcpu_seconds, p_memory_gib_seconds) < 0
       or greatest(p_duration_seconds, p_vcpu_seconds, p_memory_gib_seconds) >= 'Infinity'
    then
        raise exception 'quantities must be finite and not negative' using errcode = 'invalid_parameter_value';
    end if;
    v_context := copilot_internal.context_by_id(p_context_id);
    if v_context.released_at is not null then
        return query
            select v_context.cost_record_id,
                   coalesce(b.cost_usd, case when v_context.cost_record_id is null then 0 end), b.cost_status,
                   coalesce(b.duration_seconds, v_context.duration_seconds), true
            from (select) o
            left join copilot_internal.billed_context(v_context) b on b.cost_record_id = v_context.cost_record_id;
        return;
    end if;
    if v_context.terminated_at is null and v_context.sandbox_status = 'creating' then
        raise exception 'the context is being created' using errcode = 'PT409', detail = 'creating',
            hint = 'fail_execution_context ends it, or terminate_execution_context.';
    end if;
    return query select r.* from copilot_internal.release_context(v_context, p_duration_seconds, p_vcpu_seconds,
        p_memory_gib_seconds) r;
end $$;
comment on function copilot_internal.release_execution_context(uuid, numeric, numeric, numeric) is
    'What public.release_execution_context does.';

create function public.release_execution_context(
    p_context_id uuid, p_duration_seconds numeric default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null)
    returns table (cost_record_id uuid, cost_usd numeric, cost_status text, duration_seconds numeric, replayed boolean)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.release_execution_context(p_context_id, p_duration_seconds, p_vcpu_seconds,
        p_memory_gib_seconds);
end;
comment on function public.release_execution_context(uuid, numeric, numeric, numeric) is
    'Bills a context whose sandbox is gone: once, and without a duration no longer than the sandbox''s own time-out. '
    'Ends it too. One that was never activated costs nothing. For service_role.';

-- conversations.sql
-- Conversations: made, listed, shared.

create function copilot_internal.check_text(p_value text, p_name text, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if length(p_value) > p_most then
        raise exception '% must have at most % characters', p_name, p_most using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_text(text, text, integer) is 'Raises 22023 for a text that is too long.';

create function copilot_internal.check_object(p_value jsonb, p_name text, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_value is null or jsonb_typeof(p_value) <> 'object' or octet_length(p_value::text) > p_most then
        raise exception '% must be a JSON object of at most % bytes', p_name, p_most
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_object(jsonb, text, integer) is 'Raises 22023 for what is no such object.';

create function copilot_internal.check_trace(p_trace_id text, p_root_span_name text, p_root_span_id text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.check_text(p_trace_id, 'p_trace_id', 200);
    perform copilot_internal.check_text(p_root_span_name, 'p_root_span_name', 200);
    perform copilot_internal.check_text(p_root_span_id, 'p_root_span_id', 200);
end $$;
comment on function copilot_internal.check_trace(text, text, text) is
    'Raises 22023 for trace columns that are too long.';

create function copilot_internal.check_sharing(
    p_share_audience text, p_tenant_access text, p_authorization_model text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_share_audience not in ('private', 'tenant', 'public') then
        raise exception 'p_share_audience must be private, tenant or public' using errcode = 'invalid_parameter_value';
    elsif p_tenant_access not in ('view', 'edit') then
        raise exception 'p_tenant_access must be view or edit' using errcode = 'invalid_parameter_value';
    elsif p_authorization_model not in ('supabase_rbac', 'openfga') then
        raise exception 'p_authorization_model must be supabase_rbac or openfga'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_sharing(text, text, text) is 'Raises 22023 for an unknown way of sharing.';

create function copilot_internal.check_new_conversation(p copilot_internal.conversations) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p.share_audience is null or p.tenant_access is null or p.authorization_model is null then
        raise exception 'a way of sharing must not be NULL' using errcode = 'invalid_parameter_value';
    elsif p.jurisdictions is null or cardinality(p.jurisdictions) > 64
          or array_position(p.jurisdictions, null) is not null or octet_length(p.jurisdictions::text) > 16384 then
        raise exception 'p_jurisdictions must hold at most 64 short names' using errcode = 'invalid_parameter_value';
    elsif not p.expires_at > clock_timestamp() or p.expires_at = 'infinity' then
        raise exception 'p_expires_at must be in the future' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.check_sharing(p.share_audience, p.tenant_access, p.authorization_model);
    perform copilot_internal.check_text(p.title, 'p_title', 500);
    perform copilot_internal.check_text(p.persona_id, 'p_persona_id', 200);
    perform copilot_internal.check_object(p.authorization_spec, 'p_authorization_spec', 8192);
    perform copilot_internal.check_object(p.metadata, 'p_metadata', 65536);
    perform copilot_internal.check_request_id(p.request_id);
    perform copilot_internal.check_trace(p.trace_id, p.root_span_name, p.root_span_id);
end $$;
comment on function copilot_internal.check_new_conversation(copilot_internal.conversations) is
    'Raises 22023 for what a conversation cannot be.';

-- Title, sharing and all else may be changed before a retry comes, and so a digest of the request is kept.
create function copilot_internal.conversation_digest(p copilot_internal.conversations) returns bytea
    language sql stable
begin atomic
    select pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.jsonb_build_array((p).user_id, (p).title, (p).persona_id,
        (p).jurisdictions, (p).share_audience, (p).tenant_access, (p).authorization_model, (p).authorization_spec,
        (p).metadata, extract(epoch from (p).expires_at))::text, 'UTF8'));
end;
comment on function copilot_internal.conversation_digest(copilot_internal.conversations) is
    'What tells two requests for a conversation apart, whatever time zone they come from.';

create function copilot_internal.replayed_conversation(p copilot_internal.conversations) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v copilot_internal.conversations;
begin
    select c.* into v from copilot_internal.conversations c
    where c.tenant_id = p.tenant_id and c.request_id = p.request_id;
    if v.request_digest <> p.request_digest then
        raise exception 'the request id was used before for another conversation' using errcode = 'unique_violation';
    elsif v.id is null and exists (
        select from copilot_internal.conversation_erasures e
        where e.tenant_id = p.tenant_id and e.request_id_digest = sha256(convert_to(p.request_id, 'UTF8')))
    then
        raise exception 'the conversation of this request was erased' using errcode = 'PT409',
            hint = 'Use another request id for another conversation.';
    end if;
    return v.id;
end $$;
comment on function copilot_internal.replayed_conversation(copilot_internal.conversations) is
    'The conversation that the same request has made. Run as the owner.';

create function copilot_internal.create_conversation(
    p_tenant_id uuid, p_user_id uuid default null, p_title text default null, p_persona_id text default null,
    p_jurisdictions text[] default '{}', p_share_audience text default 'private', p_tenant_access text default 'view',
    p_authorization_model text default 'supabase_rbac', p_authorization_spec jsonb default '{}',
    p_metadata jsonb default '{}', p_request_id text default null, p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null, p_expires_at timestamptz default null)
    returns table (conversation_id uuid, path_id uuid, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v copilot_internal.conversations;
begin
    v.user_id := copilot_internal.access(p_tenant_id, null, p_user_id, 'write');
    v.tenant_id := p_tenant_id;
    v.title := p_title;
    v.persona_id := p_persona_id;
    v.jurisdictions := p_jurisdictions;
    v.share_audience := p_share_audience;
    v.tenant_access := p_tenant_access;
    v.authorization_model := p_authorization_model;
    v.authorization_spec := p_authorization_spec;
    v.metadata := p_metadata;
    v.request_id := p_request_id;
    v.trace_id := p_trace_id;
    v.root_span_name := p_root_span_name;
    v.root_span_id := p_root_span_id;
    v.expires_at := p_expires_at;
    perform copilot_internal.check_new_conversation(v);
    v.request_digest := case when p_request_id is not null then copilot_internal.conversation_digest(v) end;
    perform from copilot_internal.tenants t where t.id = p_tenant_id and t.deleted_at is null;
    if not found then
        perform copilot_internal.refuse_unknown('tenant');
    end if;
    conversation_id := copilot_internal.replayed_conversation(v);
    replayed := conversation_id is not null;
    if not replayed then
        begin
            insert into copilot_internal.conversations as c (tenant_id, user_id, title, persona_id, jurisdictions,
                share_audience, tenant_access, authorization_model, authorization_spec, metadata, request_id,
                request_digest, trace_id, root_span_name, root_span_id, expires_at)
            values (p_tenant_id, v.user_id, p_title, p_persona_id, p_jurisdictions, p_share_audience, p_tenant_access,
                p_authorization_model, p_authorization_spec, p_metadata, p_request_id, v.request_digest, p_trace_id,
                p_root_span_name, p_root_span_id, p_expires_at)
            returning c.id into conversation_id;
            path_id := copilot_internal.make_primary_path(p_tenant_id, conversation_id);
        exception when unique_violation then
            -- Its twin was at work.
            conversation_id := copilot_internal.replayed_conversation(v);
            if conversation_id is null then
                raise;
            end if;
            replayed := true;
        end;
    end if;
    if replayed then
        select p.id into path_id from copilot_internal.conversation_paths p
        where p.conversation_id = create_conversation.conversation_id and p.tenant_id = p_tenant_id and p.is_primary;
    end if;
    return next;
end $$;
comment on function copilot_internal.create_conversation(uuid, uuid, text, text, text[], text, text, text, jsonb, jsonb,
    text, text, text, text, timestamptz) is
    'Makes a conversation with its primary path. A viewer may not. p_expires_at makes it temporary: not listed, and '
    'erased then.';

create function copilot_internal.make_primary_path(p_tenant_id uuid, p_conversation_id uuid) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    insert into copilot_internal.conversation_paths as p (conversation_id, tenant_id, name, is_primary)
    values (p_conversation_id, p_tenant_id, 'Main', true) returning p.id into v_id;
    update copilot_internal.conversations c set active_path_id = v_id
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id and c.active_path_id is null;
    return v_id;
end $$;
comment on function copilot_internal.make_primary_path(uuid, uuid) is
    'Makes the primary path of a conversation that has none. Run as the owner.';

create function copilot_internal.set_conversation_sharing(
    p_tenant_id uuid, p_conversation_id uuid, p_share_audience text default null, p_tenant_access text default null,
    p_authorization_model text default null, p_authorization_spec jsonb default null, p_title text default null,
    p_user_id uuid default null)
    returns table (updated_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'manage');
    perform copilot_internal.check_sharing(p_share_audience, p_tenant_access, p_authorization_model);
    perform copilot_internal.check_text(p_title, 'p_title', 500);
    perform copilot_internal.check_object(coalesce(p_authorization_spec, '{}'), 'p_authorization_spec', 8192);
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    return query
        update copilot_internal.conversations c
        set share_audience = coalesce(p_share_audience, c.share_audience),
            tenant_access = coalesce(p_tenant_access, c.tenant_access),
            authorization_model = coalesce(p_authorization_model, c.authorization_model),
            authorization_spec = coalesce(p_authorization_spec, c.authorization_spec),
            title = coalesce(p_title, c.title), updated_at = clock_timestamp()
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id
        returning c.updated_at;
end $$;
comment on function copilot_internal.set_conversation_sharing(uuid, uuid, text, text, text, jsonb, text, uuid) is
    'Changes how a conversation is shared, and its title; NULL leaves what is there. For its owner, and for the '
    'tenant''s owners and admins where it is shared.';

-- A position in the list, as microseconds since 1970 and an id.
create function copilot_internal.list_cursor(p_at timestamptz, p_id uuid) returns text
    language sql immutable
begin atomic
    select (extract(epoch from p_at) * 1000000)::bigint || ':' || p_id;
end;
comment on function copilot_internal.list_cursor(timestamptz, uuid) is 'What list_conversations() goes on after.';

create function copilot_internal.read_list_cursor(p_cursor text, out at timestamptz, out id uuid)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_cursor is null then
        at := 'infinity';
        id := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    elsif p_cursor ~ '^[0-9]{1,18}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        at := timestamptz '1970-01-01 00:00:00+00' + split_part(p_cursor, ':', 1)::bigint * interval '1 microsecond';
        id := split_part(p_cursor, ':', 2)::uuid;
    else
        raise exception 'p_cursor is none that list_conversations gave' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.read_list_cursor(text) is 'The position that a cursor stands for, or 22023.';

create function copilot_internal.list_conversations(
    p_tenant_id uuid, p_user_id uuid default null, p_status text default 'active', p_limit integer default 50,
    p_cursor text default null)
    returns table (id uuid, tenant_id uuid, user_id uuid, share_audience text, tenant_access text,
        authorization_model text, authorization_spec jsonb, title text, persona_id text, jurisdictions text[],
        archived_at timestamptz, trace_id text, root_span_name text, root_span_id text, created_at timestamptz,
        updated_at timestamptz, last_message_at timestamptz, active_path_id uuid, next_cursor text)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_user constant uuid := copilot_internal.access(p_tenant_id, null, p_user_id, 'read');
    v_after record;
begin
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_status is null or p_status not in ('active', 'archived', 'all') then
        raise exception 'p_status must be active, archived or all' using errcode = 'invalid_parameter_value';
    end if;
    select * into v_after from copilot_internal.read_list_cursor(p_cursor);
    return query
        with listed as (
            select l.*, row_number() over (order by l.activity_at desc, l.id desc) as place
            from (
                (select c.* from copilot_internal.conversations c
                 where v_user is null and c.tenant_id = p_tenant_id and c.erasing_at is null and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
                union all
                (select c.* from copilot_internal.conversations c
                 where c.user_id = v_user and c.tenant_id = p_tenant_id and c.erasing_at is null
                   and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
                union all
                (select c.* from copilot_internal.conversations c
                 where v_user is not null and c.effective_audience <> 'private'
                   and c.user_id is distinct from v_user and c.tenant_id = p_tenant_id and c.erasing_at is null
                   and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
            ) l
        )
        select l.id, l.tenant_id, l.user_id, l.share_audience, l.tenant_access, l.authorization_model,
               l.authorization_spec, l.title, l.persona_id, l.jurisdictions, l.archived_at, l.trace_id,
               l.root_span_name, l.root_span_id, l.created_at, l.updated_at, l.last_message_at, l.active_path_id,
               (select copilot_internal.list_cursor(e.activity_at, e.id) from listed e
                where e.place = p_limit and exists (select from listed m where m.place = p_limit + 1))
        from listed l where l.place <= p_limit order by l.place;
end $$;
comment on function copilot_internal.list_conversations(uuid, uuid, text, integer, text) is
    'The conversations that the user may read, the latest activity first: active, archived or all. Pass next_cursor '
    'to go on; it is NULL on the last page. Without a user, service_role sees all of the tenant.';

-- paths.sql
-- Paths: branched, activated, merged.

create function copilot_internal.get_path_ancestors(p_path_id uuid)
    returns table (path_id uuid, depth integer)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    v_path := copilot_internal.readable_path(null, p_path_id, null);
    return query
        select l.id, (row_number() over (order by l.at desc) - 1)::integer as away
        from (
            select s.source_path_id as id, s.to_position as at from copilot_internal.conversation_path_segments s
            where s.path_id = v_path.id and s.tenant_id = v_path.tenant_id
            union all
            select v_path.id, 2147483647
        ) l
        order by away desc;
end $$;
comment on function copilot_internal.get_path_ancestors(uuid) is
    'A path and those that it inherits from, the root first; depth 0 is the path itself.';

-- Callers that name a path and no conversation are told the same of a path that is not there.
create function copilot_internal.readable_path(p_tenant_id uuid, p_path_id uuid, p_user_id uuid)
    returns copilot_internal.conversation_paths
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    if p_path_id is null then
        raise exception 'p_path_id must not be NULL' using errcode = 'invalid_parameter_value';
    end if;
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and (p_tenant_id is null or p.tenant_id = p_tenant_id);
    -- A path that is not there is as one of no conversation: for it, too, the caller may be refused for other reasons.
    perform copilot_internal.access(
        coalesce(v_path.tenant_id, p_tenant_id, '00000000-0000-0000-0000-000000000000'),
        coalesce(v_path.conversation_id, '00000000-0000-0000-0000-000000000000'), p_user_id, 'read');
    if v_path.id is null then
        perform copilot_internal.refuse_unknown('conversation');
    end if;
    return v_path;
end $$;
comment on function copilot_internal.readable_path(uuid, uuid, uuid) is
    'The path, for one who may read it; else P0002. Run as the owner.';

create function copilot_internal.replayed_branch(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_position text, p_request_id text)
    returns copilot_internal.conversation_paths
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_path copilot_internal.conversation_paths;
begin
    if p_request_id is null then
        return null;
    end if;
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.tenant_id = p_tenant_id and p.request_id = p_request_id;
    if v_path.id is not null and (v_path.conversation_id <> p_conversation_id
        or case p_position when 'before' then v_path.replaces_message_id is distinct from p_message_id
                           else v_path.replaces_message_id is not null
                                or v_path.branch_point_message_id is distinct from p_message_id end)
    then
        raise exception 'the request id was used before for another branch' using errcode = 'unique_violation';
    end if;
    return v_path;
end $$;
comment on function copilot_internal.replayed_branch(uuid, uuid, uuid, text, text) is
    'The path that the same request has made. Run as the owner.';

create function copilot_internal.branch_from_message(
    p_tenant_id uuid, p_conversation_id uuid, p_message_id uuid, p_name text default null,
    p_description text default null, p_position text default 'after', p_activate boolean default false,
    p_user_id uuid default null, p_request_id text default null)
    returns table (path_id uuid, parent_path_id uuid, branch_sequence integer, inherited_count integer,
                   replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    if p_message_id is null then
        perform copilot_internal.refuse_input('p_message_id must not be NULL');
    elsif p_position is null or p_position not in ('after', 'before') then
        perform copilot_internal.refuse_input('p_position must be after or before');
    elsif p_activate is null then
        perform copilot_internal.refuse_input('p_activate must not be NULL');
    end if;
    perform copilot_internal.check_text(p_name, 'p_name', 255);
    perform copilot_internal.check_text(p_description, 'p_description', 2000);
    perform copilot_internal.check_request_id(p_request_id);
    -- A twin waits here where it matters: for the request id, or to activate.
    if p_activate or p_request_id is not null then
        perform copilot_internal.lock_conversation(p_tenant_id, p_conversation_id);
    else
        perform from copilot_internal.conversations c
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id for share;
    end if;
    v_path := copilot_internal.replayed_branch(p_tenant_id, p_conversation_id, p_message_id, p_position, p_request_id);
    replayed := v_path.id is not null;
    if not replayed then
        insert into copilot_internal.conversation_paths as p (conversation_id, tenant_id, name, description,
            branch_point_message_id, replaces_message_id, request_id)
        values (p_conversation_id, p_tenant_id, p_name, p_description,
            case p_position when 'after' then p_message_id end, case p_position when 'before' then p_message_id end,
            p_request_id)
        returning p.* into v_path;
        if p_activate then
            update copilot_internal.conversations c set active_path_id = v_path.id, updated_at = clock_timestamp()
            where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
        end if;
    end if;
    path_id := v_path.id;
    parent_path_id := v_path.parent_path_id;
    branch_sequence := v_path.branch_sequence;
    inherited_count := v_path.inherited_count;
    return next;
end $$;
comment on function copilot_internal.branch_from_message(uuid, uuid, uuid, text, text, text, boolean, uuid, text) is
    'Makes a path that shares all up to a message, or to the one before it (p_position before: an edit). What the '
    'others write later does not show on it.';

create function copilot_internal.set_active_path(
    p_tenant_id uuid, p_conversation_id uuid, p_path_id uuid, p_user_id uuid default null)
    returns table (path_id uuid)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_is_active boolean;
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    select p.is_active into v_is_active from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id and p.conversation_id = p_conversation_id for key share;
    if v_is_active is not true then
        perform copilot_internal.refuse_path(p_tenant_id, p_conversation_id, p_path_id);
    end if;
    update copilot_internal.conversations c set active_path_id = p_path_id, updated_at = clock_timestamp()
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id;
    path_id := p_path_id;
    return next;
end $$;
comment on function copilot_internal.set_active_path(uuid, uuid, uuid, uuid) is
    'Makes a path the one that messages without a path go to.';

create function copilot_internal.ensure_primary_path(p_tenant_id uuid, p_conversation_id uuid)
    returns table (path_id uuid)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, null, 'write');
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    select p.id into path_id from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id and p.is_primary;
    path_id := coalesce(path_id, copilot_internal.make_primary_path(p_tenant_id, p_conversation_id));
    return next;
end $$;
comment on function copilot_internal.ensure_primary_path(uuid, uuid) is
    'The primary path of a conversation, made if there is none.';

create function copilot_internal.update_path(
    p_tenant_id uuid, p_path_id uuid, p_name text default null, p_description text default null,
    p_is_active boolean default null, p_user_id uuid default null)
    returns table (updated_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
begin
    v_path := copilot_internal.readable_path(p_tenant_id, p_path_id, p_user_id);
    perform copilot_internal.access(p_tenant_id, v_path.conversation_id, p_user_id, 'write');
    perform copilot_internal.check_text(p_name, 'p_name', 255);
    perform copilot_internal.check_text(p_description, 'p_description', 2000);
    perform copilot_internal.lock_open_conversation(p_tenant_id, v_path.conversation_id);
    select p.* into v_path from copilot_internal.conversation_paths p
    where p.id = p_path_id and p.tenant_id = p_tenant_id for no key update;
    if p_is_active and v_path.merged_at is not null then
        perform copilot_internal.refuse_path(p_tenant_id, v_path.conversation_id, p_path_id);
    elsif not p_is_active and v_path.is_primary then
        perform copilot_internal.refuse_input('the primary path stays active');
    elsif not p_is_active and v_path.is_active then
        perform copilot_internal.end_contexts(p_tenant_id, v_path.conversation_id, p_path_id, 'path inactive');
    end if;
    return query
        update copilot_internal.conversation_paths p
        set name = coalesce(p_name, p.name), description = coalesce(p_description, p.description),
            is_active = coalesce(p_is_active, p.is_active), updated_at = clock_timestamp()
        where p.id = p_path_id and p.tenant_id = p_tenant_id
        returning p.updated_at;
end $$;
comment on function copilot_internal.update_path(uuid, uuid, text, text, boolean, uuid) is
    'Renames a path, or takes it out of use or back; NULL leaves what is there. A merged path stays out of use.';

-- messages.sql
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

-- merge.sql
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
        order by p.id for no key update
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

-- pins.sql
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

-- history.sql
-- History is what people read, context what models are shown.

-- A page is read by the library, src/conversations/page.rs. Where deleted messages lie in its range, it asks how far it
-- must reach.

create function copilot_internal.page_start(p_tenant_id uuid, p_path_id uuid, p_last integer, p_limit integer)
    returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_high integer := p_last;
    v_low integer := p_last;
    v_need integer := p_limit;
begin
    while v_need > 0 and v_high > 0 loop
        v_low := greatest(v_high - v_need, 0);
        v_need := v_need - (
            select count(*) from copilot_internal.lineage_messages(p_tenant_id, p_path_id, v_low + 1, v_high) l
            where (l.message).deleted_at is null);
        v_high := v_low;
    end loop;
    return v_low;
end $$;
comment on function copilot_internal.page_start(uuid, uuid, integer, integer) is
    'The effective number before a page of so many messages that are not deleted and end at a number. Run as the '
    'owner.';

create function copilot_internal.page_end(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_last integer, p_limit integer) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_low integer := p_first - 1;
    v_high integer := p_first - 1;
    v_need integer := p_limit;
begin
    while v_need > 0 and v_low < p_last loop
        v_high := least(v_low + v_need, p_last);
        v_need := v_need - (
            select count(*) from copilot_internal.lineage_messages(p_tenant_id, p_path_id, v_low + 1, v_high) l
            where (l.message).deleted_at is null);
        v_low := v_high;
    end loop;
    return v_high;
end $$;
comment on function copilot_internal.page_end(uuid, uuid, integer, integer, integer) is
    'The effective number with which a page of so many messages that are not deleted ends, when it begins at a number. '
    'Run as the owner.';

create function copilot_internal.resolve_path_messages(
    p_path_id uuid, p_limit integer default 1000, p_before integer default null)
    returns table (id uuid, conversation_id uuid, path_id uuid, tenant_id uuid, user_id uuid, role text, content text,
        metadata jsonb, sequence_in_path integer, is_branch_point boolean, branched_to_paths uuid[], message_type text,
        created_at timestamptz, effective_sequence integer, is_pinned boolean, pinned_at timestamptz, pinned_by uuid,
        deleted_at timestamptz)
    language c stable rows 50 as 'MODULE_PATHNAME', 'resolve_path_messages_wrapper';
comment on function copilot_internal.resolve_path_messages(uuid, integer, integer) is
    'The newest p_limit messages of a path before a number, inherited ones too, in order. Deleted ones are left out.';

create function copilot_internal.get_path_messages(
    p_tenant_id uuid, p_path_id uuid, p_limit integer default 50, p_before integer default null,
    p_after integer default null, p_include_deleted boolean default false, p_user_id uuid default null)
    returns table (id uuid, conversation_id uuid, path_id uuid, tenant_id uuid, user_id uuid, role text, content text,
        metadata jsonb, sequence_in_path integer, is_branch_point boolean, branched_to_paths uuid[], message_type text,
        created_at timestamptz, effective_sequence integer, is_pinned boolean, pinned_at timestamptz, pinned_by uuid,
        deleted_at timestamptz, finished_at timestamptz, has_more boolean, parts jsonb, token_count integer)
    language c stable rows 50 as 'MODULE_PATHNAME', 'get_path_messages_wrapper';
comment on function copilot_internal.get_path_messages(uuid, uuid, integer, integer, integer, boolean, uuid) is
    'A page of what a path shows people: the newest messages, those before a number, or those after one. Deleted ones '
    'are for those who manage the conversation.';

-- A unit is a call and its results. While one of them is a draft, none is shown.
create function copilot_internal.context_candidates(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_kept uuid[])
    returns table (message copilot_internal.conversation_messages, effective_position integer, unit bigint,
                   is_fixed boolean)
    language sql stable
begin atomic
    with earlier as (
        select k.place from (
            select copilot_internal.message_position(p_tenant_id, p_path_id, k.id) as place
            from pg_catalog.unnest(p_kept) k (id)
            union
            select pg_catalog.generate_series(r.first_position, r.last_position)
            from copilot_internal.pinned_of_path(p_tenant_id, p_path_id) g
            cross join lateral copilot_internal.unit_range(p_tenant_id, p_path_id, g.effective_sequence) r
            where g.effective_sequence < p_first
        ) k where k.place < p_first
    ), given as (
        select l.message, l.effective_position
        from copilot_internal.lineage_messages(p_tenant_id, p_path_id, p_first, 2147483647) l
        union all
        select l.message, l.effective_position
        from earlier e
        cross join lateral copilot_internal.lineage_messages(p_tenant_id, p_path_id, e.place, e.place) l
    ), begun as (
        select g.*, ((g.message).role = 'tool' and pg_catalog.lag((g.message).role) over w in ('assistant', 'tool')
                     and pg_catalog.lag(g.effective_position) over w = g.effective_position - 1) is not true as begins
        from given g window w as (order by g.effective_position)
    ), numbered as (
        select b.*, count(*) filter (where b.begins) over (order by b.effective_position) as unit from begun b
    ), judged as (
        select n.message, n.effective_position, n.unit,
               pg_catalog.bool_or((n.message).deleted_at is null
                                  and ((n.message).is_pinned or (n.message).id = any (p_kept))) over u as is_fixed,
               pg_catalog.bool_and((n.message).deleted_at is not null or (n.message).finished_at is not null) over u
                   as is_whole
        from numbered n window u as (partition by n.unit)
    )
    select j.message, j.effective_position, j.unit, j.is_fixed
    from judged j where (j.message).deleted_at is null and j.is_whole;
end;
comment on function copilot_internal.context_candidates(uuid, uuid, integer, uuid[]) is
    'What a model may be shown of a path. It is all from the beginning of a unit on, and before it what is kept or '
    'pinned, by units. Run as the owner.';

-- Read backwards, so that a long path costs as much as what is shown of it.
create function copilot_internal.context_start(
    p_tenant_id uuid, p_path_id uuid, p_last integer, p_through integer, p_kept uuid[], p_max_messages integer)
    returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    -- A unit that goes on beyond what an operation covers is shown whole.
    c_open constant integer :=
        (copilot_internal.unit_range(p_tenant_id, p_path_id, p_through + 1)).first_position;
    v_first integer := p_last + 1;
    v_step integer := p_max_messages + 1;
begin
    while v_first > c_open loop
        v_first := (copilot_internal.unit_range(p_tenant_id, p_path_id, greatest(v_first - v_step, c_open)))
            .first_position;
        exit when (select count(*) from copilot_internal.context_candidates(p_tenant_id, p_path_id, v_first, p_kept) c
                   where not c.is_fixed) > p_max_messages;
        v_step := least(v_step * 2, 1000000);
    end loop;
    return v_first;
end $$;
comment on function copilot_internal.context_start(uuid, uuid, integer, integer, uuid[], integer) is
    'From where on a path must be read for so many messages that are neither kept nor pinned. Run as the owner.';

-- The newest units that fit, and all that are pinned or kept.
create function copilot_internal.context_rows(
    p_tenant_id uuid, p_path_id uuid, p_first integer, p_kept uuid[], p_max_messages integer, p_max_tokens bigint)
    returns table (message copilot_internal.conversation_messages, effective_position integer, truncated boolean)
    language sql stable
begin atomic
    with candidates as materialized (
        select c.* from copilot_internal.context_candidates(p_tenant_id, p_path_id, p_first, p_kept) c
    ), units as (
        select c.unit, pg_catalog.bool_or(c.is_fixed) as is_fixed, count(*) as messages,
               sum(copilot_internal.message_tokens(c.message)) as tokens
        from candidates c group by c.unit
    ), summed as (
        select u.unit, u.is_fixed,
               coalesce(sum(u.messages) filter (where u.is_fixed) over (), 0)
                   + sum(u.messages) filter (where not u.is_fixed) over newer as messages,
               coalesce(sum(u.tokens) filter (where u.is_fixed) over (), 0)
                   + sum(u.tokens) filter (where not u.is_fixed) over newer as tokens
        from units u window newer as (order by u.unit desc)
    ), judged as (
        select s.unit, s.is_fixed or s.messages <= p_max_messages
                       and (p_max_tokens is null or s.tokens <= p_max_tokens) as is_shown
        from summed s
    )
    select c.message, c.effective_position, t.truncated
    from (select exists (select from judged o where not o.is_shown) as truncated) t
    left join (judged j join candidates c on c.unit = j.unit) on j.is_shown
    order by c.effective_position;
end;
comment on function copilot_internal.context_rows(uuid, uuid, integer, uuid[], integer, bigint) is
    'The messages of a path that a model is shown beside the summary, and whether some were left out. A row without a '
    'message where all were. Run as the owner.';

-- Estimated rows are many more than there are: compiling the query would take longer than running it, and so would
-- planning it anew for each range.
create function copilot_internal.get_path_context(
    p_tenant_id uuid, p_path_id uuid, p_max_messages integer default 200, p_max_tokens bigint default null,
    p_user_id uuid default null)
    returns table (kind text, message_id uuid, role text, content text, parts jsonb, token_count integer,
                   effective_sequence integer, is_pinned boolean, operation_id uuid, truncated boolean,
                   removal_count integer)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_path copilot_internal.conversation_paths;
    v_governing copilot_internal.compaction_operations;
    v_kept uuid[];
    v_first integer;
begin
    if p_tenant_id is null or p_max_messages is null or p_max_messages not between 1 and 1000
       or p_max_tokens < 1 then
        perform copilot_internal.refuse_input('p_max_messages must be between 1 and 1000, p_max_tokens above 0');
    end if;
    v_path := copilot_internal.readable_path(p_tenant_id, p_path_id, p_user_id);
    v_governing := copilot_internal.governing_operation(p_tenant_id, p_path_id);
    v_kept := coalesce(v_governing.kept_message_ids, '{}');
    v_first := copilot_internal.context_start(p_tenant_id, p_path_id, v_path.inherited_count + v_path.last_sequence,
        coalesce(v_governing.through_position, 0), v_kept, p_max_messages);
    return query
        with messages as (
            select r.* from copilot_internal.context_rows(p_tenant_id, p_path_id, v_first, v_kept, p_max_messages,
                p_max_tokens - octet_length(coalesce(v_governing.summary, '')) / 4) r
        )
        select 'summary', null::uuid, v_governing.summary_role, v_governing.summary, v_governing.summary_parts,
               null::integer, v_governing.through_position, false, v_governing.id,
               coalesce((select bool_or(m.truncated) from messages m), false), v_path.removal_count
        where v_governing.summary is not null or v_governing.summary_parts is not null
        union all
        (select 'message', (m.message).id, (m.message).role, (m.message).content, (m.message).parts,
               (m.message).token_count, m.effective_position, (m.message).is_pinned,
               case when m.effective_position <= v_governing.through_position then v_governing.id end, m.truncated,
               v_path.removal_count
        from messages m where (m.message).id is not null order by m.effective_position);
end $$;
comment on function copilot_internal.get_path_context(uuid, uuid, integer, bigint, uuid) is
    'What a model is shown of a path: the summary, what was kept or is pinned, all since. A call and its results stay '
    'together; over a limit the oldest unpinned go (truncated). removal_count is for who writes a summary of it.';

-- views.sql
-- The views that the application reads: with their reader's rights, so that row level security holds. Their first
-- columns are those of the application's own migrations.

create view public.conversations_view with (security_invoker) as
    select c.id, c.tenant_id, c.user_id, c.share_audience, c.tenant_access, c.authorization_model,
           c.authorization_spec, c.title, c.persona_id, c.jurisdictions, c.archived_at, c.trace_id, c.root_span_name,
           c.root_span_id, c.created_at, c.updated_at, c.last_message_at, c.active_path_id, c.effective_audience,
           c.activity_at, c.expires_at, c.metadata
    from copilot_internal.conversations c
    where c.erasing_at is null;
comment on view public.conversations_view is 'The conversations that the reader may read.';

-- By a conversation's id it enters through the index of paths.
create view public.conversation_messages_view with (security_invoker) as
    select m.id, p.conversation_id, m.tenant_id, m.user_id, m.role, m.content, m.metadata, m.trace_id,
           m.root_span_name, m.root_span_id, m.created_at, m.path_id, m.sequence_in_path,
           b.branches <> '{}' as is_branch_point, b.branches as branched_to_paths, m.message_type, m.is_pinned,
           m.pinned_at, m.pinned_by, m.finished_at, m.parts, m.token_count
    from copilot_internal.conversation_paths p
    join copilot_internal.conversation_messages m on m.path_id = p.id and m.tenant_id = p.tenant_id
    cross join lateral (
        select array(select n.id from copilot_internal.conversation_paths n
                     where n.parent_path_id = m.path_id and n.tenant_id = m.tenant_id
                       and n.branch_sequence = m.sequence_in_path
                     order by n.created_at, n.id) as branches
    ) b
    where m.deleted_at is null;
comment on view public.conversation_messages_view is
    'The messages that the reader may read, each on the path that wrote it; deleted ones are left out.';

create view public.conversation_paths_view with (security_invoker) as
    select p.id, p.conversation_id, p.tenant_id, p.parent_path_id, p.branch_point_message_id, p.name, p.description,
           p.is_primary, p.is_active, p.merged_to_path_id, p.merged_at, p.merge_summary_message_id, p.merge_mode,
           p.created_at, p.updated_at, p.last_sequence::bigint as message_count,
           (select count(*) from copilot_internal.conversation_paths c
            where c.conversation_id = p.conversation_id and c.tenant_id = p.tenant_id and c.parent_path_id = p.id
              and c.is_active) as branch_count,
           p.branch_sequence, p.inherited_count, p.depth, p.archived_at, p.last_message_at
    from copilot_internal.conversation_paths p;
comment on view public.conversation_paths_view is
    'The paths that the reader may read. message_count is of their own messages, branch_count of active branches.';

create function public.current_tenant_id() returns uuid
    language sql stable
begin atomic
    select public.get_current_tenant_id();
end;
comment on function public.current_tenant_id() is
    'The tenant that the user works in, as get_current_tenant_id gives it; never what user_metadata says.';

create function copilot_internal.conversation_store_healthcheck()
    returns table (table_name text, rls_enabled boolean, policy_count integer)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select c.relname::text, c.relrowsecurity,
           (select count(*)::integer from pg_catalog.pg_policy p where p.polrelid = c.oid)
    from pg_catalog.pg_class c
    where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r'
      and c.relname in ('conversations', 'conversation_paths', 'conversation_messages', 'conversation_contexts',
                        'conversation_configs', 'execution_contexts', 'compaction_operations')
    order by c.relname;
$$;
comment on function copilot_internal.conversation_store_healthcheck() is
    'Whether row level security protects the tables of conversations, which the application asks when it starts.';

-- comments.sql
-- What the columns of conversations, paths and messages hold. A view's columns say what those of its table say.

comment on table copilot_internal.conversations is 'A chat of a tenant. What it says lies in its paths.';
comment on column copilot_internal.conversations.id is 'The conversation.';
comment on column copilot_internal.conversations.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversations.user_id is 'Its owner; NULL is the server''s own.';
comment on column copilot_internal.conversations.share_audience is
    'Who may read it besides its owner: private, tenant or public.';
comment on column copilot_internal.conversations.tenant_access is
    'What members of the tenant may do where it is shared with them: view or edit.';
comment on column copilot_internal.conversations.authorization_model is
    'supabase_rbac, or openfga, where the application decides and SQL allows at most the fallback.';
comment on column copilot_internal.conversations.authorization_spec is
    'What the application''s own model needs, as JSON.';
comment on column copilot_internal.conversations.effective_audience is 'The audience that row level security goes by.';
comment on column copilot_internal.conversations.title is 'Its title.';
comment on column copilot_internal.conversations.persona_id is 'The application''s persona.';
comment on column copilot_internal.conversations.jurisdictions is
    'Codes of jurisdictions, as the application has them.';
comment on column copilot_internal.conversations.active_path_id is
    'The path that the user is on. If there is none, readers take the primary one.';
comment on column copilot_internal.conversations.archived_at is 'From then on it is read-only and not listed.';
comment on column copilot_internal.conversations.expires_at is
    'A temporary conversation is not listed from then on, and erased.';
comment on column copilot_internal.conversations.erasing_at is 'Since then it is hidden, and its rows go.';
comment on column copilot_internal.conversations.trace_id is 'Trace of the request that made it.';
comment on column copilot_internal.conversations.root_span_name is 'Name of that trace''s first span.';
comment on column copilot_internal.conversations.root_span_id is 'Id of that trace''s first span.';
comment on column copilot_internal.conversations.metadata is 'What the application adds, as JSON.';
comment on column copilot_internal.conversations.request_id is 'Idempotency key of its creation.';
comment on column copilot_internal.conversations.request_digest is 'What that request asked for, as a SHA-256.';
comment on column copilot_internal.conversations.created_at is 'When it was made.';
comment on column copilot_internal.conversations.updated_at is 'When its row changed last.';
comment on column copilot_internal.conversations.last_message_at is
    'When its latest message was written, to about a second.';
comment on column copilot_internal.conversations.activity_at is
    'Its latest message, or its creation: lists are ordered by it.';

comment on table copilot_internal.conversation_paths is
    'A line of messages in a conversation: the primary one, or a branch.';
comment on column copilot_internal.conversation_paths.id is 'The path.';
comment on column copilot_internal.conversation_paths.conversation_id is 'Its conversation.';
comment on column copilot_internal.conversation_paths.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversation_paths.parent_path_id is
    'The path that wrote the message it branches from; NULL is a path that inherits nothing.';
comment on column copilot_internal.conversation_paths.branch_point_message_id is 'The last message that it inherits.';
comment on column copilot_internal.conversation_paths.branch_sequence is 'That message''s number in the parent.';
comment on column copilot_internal.conversation_paths.replaces_message_id is 'The message that the branch edits.';
comment on column copilot_internal.conversation_paths.inherited_count is 'How many messages it inherits.';
comment on column copilot_internal.conversation_paths.depth is
    'How many branches lie between it and a path without parent.';
comment on column copilot_internal.conversation_paths.name is 'Its name.';
comment on column copilot_internal.conversation_paths.description is 'What it is about.';
comment on column copilot_internal.conversation_paths.is_primary is
    'Whether it is the one that the conversation began with.';
comment on column copilot_internal.conversation_paths.is_active is 'Whether it takes messages.';
comment on column copilot_internal.conversation_paths.archived_at is 'When it was archived with its conversation.';
comment on column copilot_internal.conversation_paths.merged_to_path_id is 'The path that it was merged into.';
comment on column copilot_internal.conversation_paths.merged_at is 'When it was merged.';
comment on column copilot_internal.conversation_paths.merge_summary_message_id is 'The message that sums it up there.';
comment on column copilot_internal.conversation_paths.merge_mode is 'How it was merged: summary, full or selective.';
comment on column copilot_internal.conversation_paths.merge_request_id is 'Idempotency key of its merge.';
comment on column copilot_internal.conversation_paths.merge_first_sequence is
    'The number of its first copy on the other path.';
comment on column copilot_internal.conversation_paths.merge_count is 'How many copies it has there.';
comment on column copilot_internal.conversation_paths.created_at is 'When it was made.';
comment on column copilot_internal.conversation_paths.updated_at is
    'When its row changed last, other than by messages.';
comment on column copilot_internal.conversation_paths.last_sequence is 'The number of its latest message.';
comment on column copilot_internal.conversation_paths.last_message_id is 'Its latest message.';
comment on column copilot_internal.conversation_paths.last_message_at is 'When that was written.';
comment on column copilot_internal.conversation_paths.open_message_count is 'How many messages a model is shown now.';
comment on column copilot_internal.conversation_paths.open_token_count is
    'How many tokens these have. Where no count was given, a token is four bytes.';
comment on column copilot_internal.conversation_paths.size_class is
    'The binary logarithm of open_message_count, rounded down.';
comment on column copilot_internal.conversation_paths.activity_day is 'The day (UTC) of its latest message.';
comment on column copilot_internal.conversation_paths.compaction_checked_at is
    'When somebody last looked whether to compact it.';
comment on column copilot_internal.conversation_paths.compaction_claimed_until is
    'Until then a worker has it for compaction.';
comment on column copilot_internal.conversation_paths.last_compaction_at is 'When it was compacted last.';
comment on column copilot_internal.conversation_paths.removal_count is
    'How often a message that it shows was deleted or erased: a summary is of what its writer has read.';
comment on column copilot_internal.conversation_paths.last_erasure_at is
    'When a message that it shows was last erased.';
comment on column copilot_internal.conversation_paths.request_id is 'Idempotency key of the branch.';

comment on table copilot_internal.conversation_path_segments is
    'The parts of other paths that a path inherits, in reading order. They never change.';
comment on column copilot_internal.conversation_path_segments.tenant_id is 'The tenant that the path belongs to.';
comment on column copilot_internal.conversation_path_segments.path_id is 'The path that inherits.';
comment on column copilot_internal.conversation_path_segments.to_position is
    'Number along the path of the part''s last message.';
comment on column copilot_internal.conversation_path_segments.source_path_id is 'The path that wrote the part.';
comment on column copilot_internal.conversation_path_segments.shift is
    'What to add to a message''s own number for its number along the path.';

comment on table copilot_internal.conversation_messages is
    'A message, on the path that wrote it. Once finished its text does not change.';
comment on column copilot_internal.conversation_messages.id is 'The message.';
comment on column copilot_internal.conversation_messages.conversation_id is 'Its conversation.';
comment on column copilot_internal.conversation_messages.path_id is 'The path that wrote it.';
comment on column copilot_internal.conversation_messages.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversation_messages.user_id is
    'The user who wrote it; NULL is a model or the server.';
comment on column copilot_internal.conversation_messages.role is 'system, user, assistant, tool or developer.';
comment on column copilot_internal.conversation_messages.content is 'Its text.';
comment on column copilot_internal.conversation_messages.parts is
    'Its parts, such as calls of tools and attachments, as JSON.';
comment on column copilot_internal.conversation_messages.metadata is 'What the application adds, as JSON.';
comment on column copilot_internal.conversation_messages.token_count is 'Its tokens, as the caller counted them.';
comment on column copilot_internal.conversation_messages.sequence_in_path is
    'Its number on its path: 1, 2, 3 … without gaps.';
comment on column copilot_internal.conversation_messages.message_type is
    'standard, merge_summary, branch_point or system.';
comment on column copilot_internal.conversation_messages.is_pinned is 'Whether it stays in every context.';
comment on column copilot_internal.conversation_messages.pinned_at is 'When it was pinned.';
comment on column copilot_internal.conversation_messages.pinned_by is 'The user who pinned it.';
comment on column copilot_internal.conversation_messages.finished_at is
    'When its text was complete; NULL is a draft that holds the place of an answer.';
comment on column copilot_internal.conversation_messages.deleted_at is
    'When it was deleted: it is hidden from people and models, and its text is still there.';
comment on column copilot_internal.conversation_messages.deleted_by is 'The user who deleted it.';
comment on column copilot_internal.conversation_messages.erased_at is 'When its text was erased.';
comment on column copilot_internal.conversation_messages.copied_from_message_id is 'The message that a merge copied.';
comment on column copilot_internal.conversation_messages.request_id is 'Idempotency key.';
comment on column copilot_internal.conversation_messages.trace_id is 'Trace of the request that wrote it.';
comment on column copilot_internal.conversation_messages.root_span_name is 'Name of that trace''s first span.';
comment on column copilot_internal.conversation_messages.root_span_id is 'Id of that trace''s first span.';
comment on column copilot_internal.conversation_messages.created_at is
    'When its number was given. It never runs backwards along a path.';

comment on column public.conversation_messages_view.is_branch_point is 'Whether a path branches from it.';
comment on column public.conversation_messages_view.branched_to_paths is 'The paths that branch from it, oldest first.';
comment on column public.conversation_paths_view.message_count is 'How many messages it has written, deleted ones too.';
comment on column public.conversation_paths_view.branch_count is 'How many active paths branch from it.';

do $comments$
declare
    v_column record;
begin
    for v_column in
        select v.name as view, a.attname as name, pg_catalog.col_description(t.oid, s.attnum) as comment
        from (values ('conversations'), ('conversation_messages'), ('conversation_paths'), ('conversation_contexts'),
                     ('execution_contexts')) as v (name)
        join pg_catalog.pg_class t on t.relname = v.name and t.relnamespace = 'copilot_internal'::regnamespace
        join pg_catalog.pg_class w on w.relname = v.name || '_view' and w.relnamespace = 'public'::regnamespace
        join pg_catalog.pg_attribute a on a.attrelid = w.oid and a.attnum > 0
        join pg_catalog.pg_attribute s on s.attrelid = t.oid and s.attname = a.attname
        where pg_catalog.col_description(w.oid, a.attnum) is null
    loop
        execute pg_catalog.format('comment on column public.%I.%I is %L', v_column.view || '_view', v_column.name,
            v_column.comment);
    end loop;
end $comments$;

-- archive.sql
-- Archiving: read-only, out of the lists, reversible. Nothing moves, and no cost changes.

create function copilot_internal.lock_paths(p_tenant_id uuid, p_conversation_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from copilot_internal.conversation_paths p
    where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id order by p.id for no key update;
end $$;
comment on function copilot_internal.lock_paths(uuid, uuid) is
    'Locks the paths of a conversation in their order. Run as the owner.';

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

-- retention.sql
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
    return (select count(*) from (
                select from copilot_internal.conversation_paths p
                where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id
                order by p.id for update skip locked) l)
         = (select count(*) from copilot_internal.conversation_paths p
            where p.conversation_id = p_conversation_id and p.tenant_id = p_tenant_id);
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

-- erasure.sql
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

-- erasure_messages.sql
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

-- export.sql
-- What is kept about a user, as JSON, page by page.

-- Keys lead through both tables, so a page reads no more than the tenant's rows from its cursor on.
create function copilot_internal.export_user_conversations(
    p_tenant_id uuid, p_user_id uuid, p_cursor text default null, p_limit integer default 500)
    returns table (item jsonb, next_cursor text)
    language plpgsql stable security definer rows 500 set search_path = pg_catalog, pg_temp as $$
declare
    v_place constant text[] := regexp_match(p_cursor,
        '^(config|conversation|message):([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
    v_kind constant text := coalesce(v_place[1], 'config');
    v_after uuid := '00000000-0000-0000-0000-000000000000';
begin
    perform copilot_internal.require_server('export conversations of a user');
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_tenant_id is null or p_user_id is null then
        raise exception 'p_tenant_id and p_user_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    if p_cursor is not null then
        if v_place is null then
            raise exception 'p_cursor must be one that export_user_conversations gave'
                using errcode = 'invalid_parameter_value';
        end if;
        v_after := v_place[2]::uuid;
    end if;
    return query
    select x.item || jsonb_build_object('kind', x.kind), x.kind || ':' || x.id
    from (
        (select 1 as place, 'config' as kind, f.id, to_jsonb(f) as item
         from copilot_internal.conversation_configs f
         where v_kind = 'config' and f.tenant_id = p_tenant_id and f.user_id = p_user_id and f.id > v_after)
        union all
        (select 2, 'conversation', c.id, to_jsonb(c)
         from copilot_internal.conversations c
         where v_kind in ('config', 'conversation') and c.tenant_id = p_tenant_id and c.user_id = p_user_id
           and (v_kind <> 'conversation' or c.id > v_after)
         order by c.id limit p_limit)
        union all
        (select 3, 'message', m.id, to_jsonb(m)
         from copilot_internal.conversation_messages m
         where m.tenant_id = p_tenant_id and (v_kind <> 'message' or m.id > v_after)
           -- In a conversation of their own also what no person wrote. What colleagues wrote is theirs.
           and (m.user_id = p_user_id or m.user_id is null and exists (
                select from copilot_internal.conversations c
                where c.id = m.conversation_id and c.tenant_id = p_tenant_id and c.user_id = p_user_id))
         order by m.id limit p_limit)
    ) x
    order by x.place, x.id limit p_limit;
end $$;
comment on function copilot_internal.export_user_conversations(uuid, uuid, text, integer) is
    'Settings, conversations and messages of a user in a tenant, and what models answered in conversations of their '
    'own. JSON rows, at most p_limit (1 to 1000) after p_cursor. Fewer are the last. For service_role.';

-- metrics.sql
-- Figures of conversations. As all views of metrics they run with their owner's rights and filter inside.

create view metrics.conversations with (security_barrier) as
    select c.tenant_id, count(*) as conversation_count,
           count(*) filter (where c.archived_at is not null) as archived_count,
           count(*) filter (where c.effective_audience <> 'private') as shared_count,
           coalesce(sum(p.paths), 0)::bigint as path_count, coalesce(sum(p.messages), 0)::bigint as message_count,
           coalesce(sum(p.tokens), 0)::bigint as token_count, max(c.last_message_at) as last_message_at
    from copilot_internal.conversations c
    left join (
        select p.conversation_id, p.tenant_id, count(*) as paths, sum(p.last_sequence) as messages,
               sum(p.open_token_count) as tokens
        from copilot_internal.conversation_paths p
        where (select copilot_internal.caller_sees_all())
           or p.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
        group by p.conversation_id, p.tenant_id
    ) p on p.conversation_id = c.id and p.tenant_id = c.tenant_id
    where c.erasing_at is null
      and ((select copilot_internal.caller_sees_all())
           or c.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]))
    group by c.tenant_id;
comment on view metrics.conversations is 'Conversations by tenant.';
comment on column metrics.conversations.tenant_id is 'The tenant.';
comment on column metrics.conversations.conversation_count is 'Conversations, archived ones too.';
comment on column metrics.conversations.archived_count is 'Archived among them.';
comment on column metrics.conversations.shared_count is 'Those that others may read.';
comment on column metrics.conversations.path_count is 'Paths.';
comment on column metrics.conversations.message_count is 'Messages, each under the path that wrote it.';
comment on column metrics.conversations.token_count is 'Tokens that a model is shown of the paths now.';
comment on column metrics.conversations.last_message_at is 'When the latest was written.';

-- A plain member sees paths that they may read; owners and admins all of the tenant.
create view metrics.cost_by_path with (security_barrier) as
    select l.tenant_id, nullif(l.conversation_id, '00000000-0000-0000-0000-000000000000') as conversation_id, l.path_id,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
           pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
           pg_catalog.trim_scale(sum(l.cost_usd)) as total_cost,
           coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0)::bigint as llm_request_count,
           coalesce(max(s.sessions), 0)::bigint as e2b_session_count, sum(l.unpriced_count)::bigint as unpriced_count
    from copilot_internal.visible_conversation_lines l
    left join (
        select v.tenant_id, coalesce(v.conversation_id, '00000000-0000-0000-0000-000000000000') as conversation_id,
               v.path_id, count(distinct v.sandbox) as sessions
        from copilot_internal.visible_sandboxes v
        where v.path_id is not null
        group by 1, 2, 3
    ) s on s.tenant_id = l.tenant_id and s.conversation_id = l.conversation_id and s.path_id = l.path_id
    where l.path_id <> '00000000-0000-0000-0000-000000000000'
      and ((select copilot_internal.caller_sees_all())
           or copilot_internal.caller_sees_costs_of(l.tenant_id, l.conversation_id))
    group by l.tenant_id, l.conversation_id, l.path_id;
comment on view metrics.cost_by_path is
    'Costs by path, all time, net of corrections. A member sees paths that they may read, owners and admins all.';
comment on column metrics.cost_by_path.tenant_id is 'The tenant.';
comment on column metrics.cost_by_path.conversation_id is 'The conversation.';
comment on column metrics.cost_by_path.path_id is 'The path.';
comment on column metrics.cost_by_path.llm_cost is 'USD for LLM calls with a price.';
comment on column metrics.cost_by_path.e2b_cost is 'USD for sandbox sessions with a price.';
comment on column metrics.cost_by_path.total_cost is 'USD in all.';
comment on column metrics.cost_by_path.llm_request_count is 'LLM calls.';
comment on column metrics.cost_by_path.e2b_session_count is 'Sandbox sessions.';
comment on column metrics.cost_by_path.unpriced_count is
    'Records among them whose price is not known and that add nothing to the cost.';

create view metrics.compaction_operations with (security_barrier) as
    select o.tenant_id, (o.timestamp at time zone 'UTC')::date as day, o.strategy, o.triggered_by,
           count(*) as operations, count(*) filter (where o.success) as successful,
           count(*) filter (where not o.success) as failed, count(*) filter (where o.state = 'reverted') as reverted,
           coalesce(sum(o.tokens_saved), 0) as tokens_saved, coalesce(sum(o.messages_removed), 0) as messages_removed,
           coalesce(sum(o.messages_summarized), 0) as messages_summarized,
           avg(o.compression_ratio) as avg_compression_ratio, avg(o.duration_ms) as avg_duration_ms,
           pg_catalog.trim_scale(coalesce(sum(o.cost_usd), 0)) as cost_usd
    from copilot_internal.compaction_operations o
    where (select copilot_internal.caller_sees_all())
       or o.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    group by o.tenant_id, (o.timestamp at time zone 'UTC')::date, o.strategy, o.triggered_by;
comment on view metrics.compaction_operations is 'Compactions by tenant, UTC day and strategy.';
comment on column metrics.compaction_operations.tenant_id is 'The tenant.';
comment on column metrics.compaction_operations.day is 'The UTC day.';
comment on column metrics.compaction_operations.strategy is 'The strategy.';
comment on column metrics.compaction_operations.triggered_by is 'manual or auto.';
comment on column metrics.compaction_operations.operations is 'How many.';
comment on column metrics.compaction_operations.successful is 'Those that succeeded.';
comment on column metrics.compaction_operations.failed is 'Those that failed or would have made nothing smaller.';
comment on column metrics.compaction_operations.reverted is 'Those that were taken back.';
comment on column metrics.compaction_operations.tokens_saved is 'Tokens that models are no longer shown.';
comment on column metrics.compaction_operations.messages_removed is 'Messages that models are no longer shown.';
comment on column metrics.compaction_operations.messages_summarized is 'Messages that summaries stand for.';
comment on column metrics.compaction_operations.avg_compression_ratio is 'Tokens after by tokens before.';
comment on column metrics.compaction_operations.avg_duration_ms is 'Milliseconds that one took.';
comment on column metrics.compaction_operations.cost_usd is 'USD that the models'' calls cost.';

create view metrics.execution_contexts with (security_barrier) as
    select x.tenant_id, count(*) filter (where x.is_creating) as creating,
           count(*) filter (where x.is_open and not x.is_creating and x.expires_at > x.now) as ready,
           count(*) filter (where x.is_open and x.expires_at <= x.now) as expired_unended,
           count(*) filter (where not x.is_open and x.released_at is null) as ended_unreleased,
           count(*) filter (where x.termination_reason = 'orphan' and x.released_at is null) as orphans,
           max(extract(epoch from x.now - x.terminated_at)) filter (where not x.is_open and x.released_at is null)
               as oldest_unreleased_seconds,
           count(*) filter (where x.released_at >= x.today) as released_today,
           coalesce(sum(x.duration_seconds) filter (where x.released_at >= x.today), 0) as sandbox_seconds_today,
           pg_catalog.trim_scale(coalesce(sum(h.reserved_usd), 0)) as reserved_usd
    from (
        select c.*, c.terminated_at is null as is_open,
               c.terminated_at is null and c.sandbox_status = 'creating' as is_creating,
               pg_catalog.clock_timestamp() as now,
               pg_catalog.date_trunc('day', pg_catalog.clock_timestamp(), 'UTC') as today
        from copilot_internal.execution_contexts c
        where (select copilot_internal.caller_sees_all())
           or c.tenant_id = any ((select copilot_internal.caller_tenants())::uuid[])
    ) x
    left join copilot_internal.quota_reservations h
      on h.id = x.reservation_id and h.tenant_id = x.tenant_id and h.state = 'held' and h.expires_at > x.now
    group by x.tenant_id;
comment on view metrics.execution_contexts is 'Sandboxes by tenant, now.';
comment on column metrics.execution_contexts.tenant_id is 'The tenant.';
comment on column metrics.execution_contexts.creating is 'Being created.';
comment on column metrics.execution_contexts.ready is 'In use.';
comment on column metrics.execution_contexts.expired_unended is 'Past their time: no killer has come yet.';
comment on column metrics.execution_contexts.ended_unreleased is 'Ended, and neither killed nor billed yet.';
comment on column metrics.execution_contexts.orphans is 'Sandboxes among these that came too late for their context.';
comment on column metrics.execution_contexts.oldest_unreleased_seconds is 'Since when the oldest of them waits.';
comment on column metrics.execution_contexts.released_today is 'Billed on this UTC day.';
comment on column metrics.execution_contexts.sandbox_seconds_today is 'Seconds that were billed on it.';
comment on column metrics.execution_contexts.reserved_usd is 'USD that they set aside.';

-- verify.sql
-- The invariants of conversations, each recounted from the rows.

-- Each message with what comes up to it on its path. Functions and not queries, so that the planner knows of many rows
-- and compares them all at once.
create function copilot_internal.running_counts(p_tenant_id uuid)
    returns table (path_id uuid, tenant_id uuid, sequence_in_path integer, id uuid, created_at timestamptz, rows bigint,
                   live bigint, tokens numeric)
    language plpgsql stable rows 100000 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select m.path_id, m.tenant_id, m.sequence_in_path, m.id, m.created_at, count(*) over w,
               count(*) filter (where m.deleted_at is null) over w,
               coalesce(sum(copilot_internal.message_tokens(m)) filter (where m.deleted_at is null) over w, 0)
        from copilot_internal.conversation_messages m
        where p_tenant_id is null or m.tenant_id = p_tenant_id
        window w as (partition by m.path_id, m.tenant_id order by m.sequence_in_path);
end $$;
comment on function copilot_internal.running_counts(uuid) is
    'The messages of a tenant, or of all, with how many and how much there is up to each. Run as the owner.';

create function copilot_internal.lineage_parts(p_tenant_id uuid)
    returns table (path_id uuid, tenant_id uuid, source_path_id uuid, shift integer, from_position integer,
                   to_position integer, is_own boolean)
    language plpgsql stable rows 100000 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
        select s.path_id, s.tenant_id, s.source_path_id, s.shift,
               lag(s.to_position, 1, 0) over (partition by s.path_id, s.tenant_id order by s.to_position),
               s.to_position, false
        from copilot_internal.conversation_path_segments s
        where p_tenant_id is null or s.tenant_id = p_tenant_id
        union all
        select p.id, p.tenant_id, p.id, p.inherited_count, p.inherited_count, p.inherited_count + p.last_sequence, true
        from copilot_internal.conversation_paths p
        where p_tenant_id is null or p.tenant_id = p_tenant_id;
end $$;
comment on function copilot_internal.lineage_parts(uuid) is
    'Of what the paths of a tenant, or of all, consist: parts of others, and their own. Run as the owner.';

create function copilot_internal.path_differences(p_tenant_id uuid)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable
begin atomic
    with paths as materialized (
        select p.* from copilot_internal.conversation_paths p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        where (p_tenant_id is null or p.tenant_id = p_tenant_id) and c.erasing_at is null
    ), running as materialized (
        select r.* from copilot_internal.running_counts(p_tenant_id) r
    ), parts as materialized (
        select l.* from copilot_internal.lineage_parts(p_tenant_id) l
    ), counted as (
        select distinct on (r.path_id, r.tenant_id) r.path_id, r.tenant_id, r.rows, r.sequence_in_path as last,
               r.id as last_id
        from running r order by r.path_id, r.tenant_id, r.sequence_in_path desc
    ), inherited as (
        select l.path_id, l.tenant_id, max(l.to_position) as last, sum(coalesce(r.rows, 0)) as shown,
               pg_catalog.bool_and(l.shift = l.from_position and l.shift < l.to_position) as is_sound
        from parts l
        left join running r on r.path_id = l.source_path_id and r.tenant_id = l.tenant_id
            and r.sequence_in_path = l.to_position - l.shift
        where not l.is_own
        group by l.path_id, l.tenant_id
    ), governing as (
        select distinct on (l.path_id, l.tenant_id) l.path_id, l.tenant_id, o.through_position, o.head_message_count,
               o.head_token_count
        from parts l
        join copilot_internal.compaction_operations o
          on o.path_id = l.source_path_id and o.tenant_id = l.tenant_id and o.state = 'applied'
         and (l.is_own or o.through_position <= l.to_position)
        order by l.path_id, l.tenant_id, o.through_position desc, o.applied_at desc
    ), open as (
        select l.path_id, l.tenant_id,
               greatest(coalesce(max(g.head_message_count), 0) + sum(coalesce(h.live, 0) - coalesce(b.live, 0)), 0)
                   as messages,
               greatest(coalesce(max(g.head_token_count), 0) + sum(coalesce(h.tokens, 0) - coalesce(b.tokens, 0)), 0)
                   as tokens
        from parts l
        left join governing g on g.path_id = l.path_id and g.tenant_id = l.tenant_id
        left join running h on h.path_id = l.source_path_id and h.tenant_id = l.tenant_id
            and h.sequence_in_path = l.to_position - l.shift
        left join running b on b.path_id = l.source_path_id and b.tenant_id = l.tenant_id
            and b.sequence_in_path = case when g.through_position < l.to_position then g.through_position
                                          when g.through_position is not null then l.to_position end - l.shift
        group by l.path_id, l.tenant_id
    ), stale as (
        -- What came to govern a path from elsewhere after its birth left its counts too high.
        select distinct l.path_id, l.tenant_id
        from parts l
        join copilot_internal.compaction_operations o on o.path_id = l.source_path_id and o.tenant_id = l.tenant_id
        join paths p on p.id = l.path_id and p.tenant_id = l.tenant_id
        where not l.is_own and greatest(o.applied_at, o.reverted_at) > p.created_at
    )
    select v.check_name, p.tenant_id, p.id, v.expected, v.actual
    from paths p
    left join counted c on c.path_id = p.id and c.tenant_id = p.tenant_id
    left join inherited i on i.path_id = p.id and i.tenant_id = p.tenant_id
    left join open o on o.path_id = p.id and o.tenant_id = p.tenant_id
    left join stale s on s.path_id = p.id and s.tenant_id = p.tenant_id
    cross join lateral (values
        ('messages of a path', coalesce(c.rows, 0)::text, p.last_sequence::text),
        ('last number of a path', coalesce(c.last, 0)::text, p.last_sequence::text),
        ('last message of a path', c.last_id::text, p.last_message_id::text),
        ('inherited messages', coalesce(i.last, 0)::text, p.inherited_count::text),
        ('inherited messages shown', coalesce(i.shown, 0)::text, p.inherited_count::text),
        ('segments in order', true::text, coalesce(i.is_sound, true)::text),
        ('open messages', case when s.path_id is null then o.messages else p.open_message_count end::text,
            p.open_message_count::text),
        ('open tokens', case when s.path_id is null then o.tokens else p.open_token_count end::text,
            p.open_token_count::text)
    ) as v (check_name, expected, actual)
    where v.expected is distinct from v.actual;
end;
comment on function copilot_internal.path_differences(uuid) is
    'Where what a path notes of itself is not what its rows say. Run as the owner.';

create function copilot_internal.conversation_differences(p_tenant_id uuid)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable
begin atomic
    -- One that an application has inserted has no path until it is asked for.
    select 'primary paths of a conversation', c.tenant_id, c.id, '1', count(*) filter (where p.is_primary)::text
    from copilot_internal.conversations c
    join copilot_internal.conversation_paths p on p.conversation_id = c.id and p.tenant_id = c.tenant_id
    where (p_tenant_id is null or c.tenant_id = p_tenant_id) and c.erasing_at is null
    group by c.tenant_id, c.id
    having count(*) filter (where p.is_primary) <> 1
    union all
    select 'active path of its conversation', c.tenant_id, c.id, c.id::text, p.conversation_id::text
    from copilot_internal.conversations c
    join copilot_internal.conversation_paths p on p.id = c.active_path_id and p.tenant_id = c.tenant_id
    where (p_tenant_id is null or c.tenant_id = p_tenant_id) and p.conversation_id <> c.id
    union all
    select 'moments in the order of numbers', m.tenant_id, m.id, m.before_it::text, m.created_at::text
    from (
        select m.tenant_id, m.id, m.created_at,
               pg_catalog.lag(m.created_at) over (partition by m.path_id, m.tenant_id order by m.sequence_in_path)
                   as before_it
        from copilot_internal.conversation_messages m
        where p_tenant_id is null or m.tenant_id = p_tenant_id
    ) m
    where m.created_at < m.before_it
    union all
    select 'messages that an operation covers', o.tenant_id, o.id,
           coalesce(p.inherited_count + p.last_sequence, 0)::text, o.through_position::text
    from copilot_internal.compaction_operations o
    left join copilot_internal.conversation_paths p on p.id = o.path_id and p.tenant_id = o.tenant_id
    where (p_tenant_id is null or o.tenant_id = p_tenant_id) and o.state = 'applied'
      and o.through_position > coalesce(p.inherited_count + p.last_sequence, 0)
    union all
    select 'bill of a released context', x.tenant_id, x.id, x.cost_record_id::text, r.id::text
    from copilot_internal.execution_contexts x
    left join copilot_internal.e2b_cost_records r
      on r.tenant_id = x.tenant_id and r.request_id = copilot_internal.bill_key(x)
    where (p_tenant_id is null or x.tenant_id = p_tenant_id) and x.released_at is not null
      and x.cost_record_id is distinct from r.id
      -- One that was released without a sandbox, before that came: the orphan has the bill.
      and (x.cost_record_id is not null or not exists (
          select from copilot_internal.execution_contexts o
          where o.late_for_context_id = x.id and o.conversation_id = x.conversation_id and o.tenant_id = x.tenant_id))
    union all
    select 'hold of a released context', x.tenant_id, x.id, 'settled', h.state
    from copilot_internal.execution_contexts x
    join copilot_internal.quota_reservations h on h.id = x.reservation_id and h.tenant_id = x.tenant_id
    where (p_tenant_id is null or x.tenant_id = p_tenant_id) and x.released_at is not null
      and h.state = 'held' and h.expires_at > pg_catalog.clock_timestamp();
end;
comment on function copilot_internal.conversation_differences(uuid) is
    'Where rows of conversations, operations and contexts contradict each other. Run as the owner.';

create function copilot_internal.verify_conversations(p_tenant_id uuid default null, p_limit integer default 10000)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp set jit = off as $$
#variable_conflict use_column
begin
    perform copilot_internal.require_server('verify conversations');
    perform copilot_internal.check_limit(p_limit, 100000);
    return query
        select d.* from (
            select * from copilot_internal.path_differences(p_tenant_id)
            union all
            select * from copilot_internal.conversation_differences(p_tenant_id)
        ) d
        limit p_limit;
end $$;
comment on function copilot_internal.verify_conversations(uuid, integer) is 'What public.verify_conversations does.';

create function public.verify_conversations(p_tenant_id uuid default null, p_limit integer default 10000)
    returns table (check_name text, tenant_id uuid, id uuid, expected text, actual text)
    language sql stable rows 10
begin atomic
    select * from copilot_internal.verify_conversations(p_tenant_id, p_limit);
end;
comment on function public.verify_conversations(uuid, integer) is
    'Recounts what conversations, paths, compactions and contexts note of themselves: no rows is exact, else at most '
    'p_limit differences. Reads everything of the tenant, or of all. For service_role.';

-- maintain.sql
-- Upkeep: what time does to conversations. Each task is bounded and safe to repeat; pg_cron or a worker calls it.

-- A stream that broke off leaves its draft open. What was written of it stays.
create function copilot_internal.close_drafts(p_limit integer) returns bigint
    language sql volatile
begin atomic
    with closed as (
        update copilot_internal.conversation_messages m
        set finished_at = pg_catalog.clock_timestamp(), metadata = m.metadata || '{"aborted": true}'
        where (m.id, m.tenant_id) in (
            select d.id, d.tenant_id from copilot_internal.conversation_messages d
            where d.finished_at is null and d.created_at < pg_catalog.clock_timestamp() - interval '1 hour'
            order by d.created_at limit p_limit for no key update skip locked)
        returning 1
    )
    select count(*) from closed;
end;
comment on function copilot_internal.close_drafts(integer) is
    'Finishes drafts that are older than an hour as aborted; returns how many. Run as the owner.';

-- Who appends does not wait for the conversation's row; what was passed over is made good here.
create function copilot_internal.repair_activity(p_limit integer) returns bigint
    language sql volatile
begin atomic
    with late as (
        select c.id, c.tenant_id, max(p.last_message_at) as last_message_at
        from copilot_internal.conversation_paths p
        join copilot_internal.conversations c on c.id = p.conversation_id and c.tenant_id = p.tenant_id
        where p.activity_day >= (pg_catalog.clock_timestamp() at time zone 'UTC')::date - 1
          and p.last_message_at > coalesce(c.last_message_at, '-infinity') and c.erasing_at is null
        group by c.id, c.tenant_id
        limit p_limit
    ), locked as (
        select c.id, c.tenant_id, l.last_message_at
        from copilot_internal.conversations c join late l on l.id = c.id and l.tenant_id = c.tenant_id
        for no key update of c skip locked
    ), repaired as (
        update copilot_internal.conversations c
        set last_message_at = greatest(c.last_message_at, l.last_message_at)
        from locked l where l.id = c.id and l.tenant_id = c.tenant_id
        returning 1
    )
    select count(*) from repaired;
end;
comment on function copilot_internal.repair_activity(integer) is
    'Brings the last activity of conversations up to that of their paths; returns how many. Run as the owner.';

-- A day after no sandbox can run any more, one that no killer came for is billed by the same rule.
create function copilot_internal.release_forgotten(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_context copilot_internal.execution_contexts;
    v_done bigint := 0;
begin
    for v_context in
        select c.* from copilot_internal.execution_contexts c
        where c.released_at is null and c.terminated_at is not null
          and c.max_expires_at < clock_timestamp() - interval '1 day'
        union all
        select c.* from copilot_internal.execution_contexts c
        where c.terminated_at is null and c.expires_at < clock_timestamp() - interval '1 day'
          and c.max_expires_at < clock_timestamp() - interval '1 day'
        limit p_limit
    loop
        perform from copilot_internal.release_context(v_context, null, null, null);
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.release_forgotten(integer) is
    'Bills contexts whose sandboxes must have ended a day ago; returns how many. Run as the owner.';

create function copilot_internal.maintain_conversations(p_limit integer default 10000)
    returns table (task text, done bigint)
    language plpgsql volatile security definer rows 7 set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.require_server('maintain conversations');
    perform copilot_internal.check_limit(p_limit, 100000);
    -- Money first: what comes after it locks rows.
    task := 'release';
    done := copilot_internal.release_forgotten(least(p_limit, 1000));
    return next;
    task := 'redact';
    done := copilot_internal.redact_late_costs(p_limit);
    return next;
    task := 'drafts';
    done := copilot_internal.close_drafts(p_limit);
    return next;
    task := 'activity';
    done := copilot_internal.repair_activity(p_limit);
    return next;
    task := 'archive';
    done := copilot_internal.archive_inactive(least(p_limit, 1000));
    return next;
    task := 'retention';
    done := copilot_internal.mark_expired(least(p_limit, 1000));
    return next;
    task := 'erase';
    done := copilot_internal.continue_erasures(p_limit);
    return next;
end $$;
comment on function copilot_internal.maintain_conversations(integer) is 'What public.maintain_conversations does.';

create function public.maintain_conversations(p_limit integer default 10000)
    returns table (task text, done bigint)
    language sql volatile rows 7
begin atomic
    select * from copilot_internal.maintain_conversations(p_limit);
end;
comment on function public.maintain_conversations(integer) is
    'Upkeep of conversations, about p_limit rows a task: bills forgotten sandboxes, closes drafts, archives and erases '
    'by the settings, goes on with erasures. It empties costs that come late. Safe to call at any time. For '
    'service_role.';

-- facades.sql
-- What is called in public. Each function there has the rights of its caller and calls the one of the same name in
-- copilot_internal, which has the owner's and asks first who calls. Those that have none in public get it here, with
-- the same arguments, result and comment. A function of the library has two names: a facade in SQL would be planned
-- anew by each statement.

do $facades$
declare
    v_function record;
    v_arguments text;
begin
    for v_function in
        select p.oid, p.proname, p.proretset, p.probin, p.prosrc,
               case p.provolatile when 's' then 'stable' else 'volatile' end as volatility,
               pg_catalog.pg_get_function_arguments(p.oid) as arguments,
               pg_catalog.pg_get_function_result(p.oid) as result,
               pg_catalog.obj_description(p.oid, 'pg_proc') as comment
        from pg_catalog.pg_depend d
        join pg_catalog.pg_proc p on p.oid = d.objid
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.deptype = 'e'
          and d.refclassid = 'pg_catalog.pg_extension'::regclass
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations')
          and (p.prosecdef or p.proname in ('get_path_messages', 'resolve_path_messages'))
          and p.prorettype <> 'trigger'::regtype
          and p.pronamespace = 'copilot_internal'::regnamespace
          and not exists (select from pg_catalog.pg_proc f
                          where f.proname = p.proname and f.pronamespace = 'public'::regnamespace)
        order by p.proname
    loop
        select pg_catalog.string_agg(pg_catalog.format('%I', a.name), ', ' order by a.place) into v_arguments
        from pg_catalog.pg_proc p
        cross join lateral pg_catalog.unnest(p.proargnames) with ordinality a (name, place)
        where p.oid = v_function.oid and a.place <= p.pronargs;
        execute pg_catalog.format('create function public.%I(%s) returns %s language ',
                v_function.proname, v_function.arguments, v_function.result)
            || case when v_function.probin is not null
                    then pg_catalog.format('c %s rows 50 as %L, %L',
                        v_function.volatility, v_function.probin, v_function.prosrc)
                    else pg_catalog.format('sql %s %s begin atomic select %s copilot_internal.%I(%s); end',
                        v_function.volatility, case when v_function.proretset then 'rows 100' else '' end,
                        case when v_function.proretset then '* from' else '' end, v_function.proname,
                        coalesce(v_arguments, ''))
                    end;
        execute pg_catalog.format('comment on function public.%I is %L', v_function.proname, v_function.comment);
    end loop;
end $facades$;

-- upkeep_grants.sql
-- What is granted on, and which rows are shown of, the tables and functions of contexts, configs, compaction, execution
-- contexts, retention, erasure and metrics. Read by grants.sql.

create function copilot_internal.upkeep_grants()
    returns table (privileges text, object text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        -- Read by people through row level security, but for what a summary and its kept messages tell.
        ('select', 'copilot_internal.conversation_configs, copilot_internal.conversation_contexts, '
            'public.conversation_contexts_view', array['authenticated', 'service_role']),
        ('select (id, "timestamp", conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, '
            'tokens_before, tokens_after, tokens_saved, messages_before, messages_after, messages_removed, '
            'messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd, compression_ratio, success, '
            'state, through_position, base_operation_id, cost_record_id, applied_at, reverted_at, reverted_by, '
            'revert_reason)',
            'copilot_internal.compaction_operations', array['authenticated']),
        ('select', 'copilot_internal.compaction_operations, copilot_internal.execution_contexts, '
            'copilot_internal.conversation_erasures, public.execution_contexts_view', array['service_role']),
        -- The application's own stores write these; the rest is written by the functions alone.
        ('insert, update, delete', 'copilot_internal.conversation_configs', array['service_role']),
        ('insert, update', 'copilot_internal.conversation_contexts', array['service_role']),
        ('insert (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at, user_id, sandbox_type, '
            'region, resource_usage, trace_id, span_id), '
            'update (sandbox_status, terminated_at, error_message, resource_usage)',
            'copilot_internal.execution_contexts', array['service_role']),
        ('select', 'metrics.conversations, metrics.cost_by_path, metrics.compaction_operations, '
            'metrics.execution_contexts', array['authenticated', 'service_role', 'metrics_reader']),
        ('execute', 'function '
            'public.merge_conversation_context(uuid, uuid, text[], text, text, text), '
            'copilot_internal.merge_conversation_context(uuid, uuid, text[], text, text, text), '
            'public.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, integer, '
            'integer, uuid, text, integer, uuid, text, jsonb, integer), '
            'copilot_internal.apply_compaction(uuid, uuid, uuid, uuid, text, text, jsonb, uuid[], uuid, '
            'integer, integer, uuid, text, integer, uuid, text, jsonb, integer), '
            'public.get_conversations_needing_compaction(integer, timestamptz, timestamptz, integer, '
            'integer), '
            'copilot_internal.get_conversations_needing_compaction(integer, timestamptz, timestamptz, '
            'integer, integer), public.claim_paths_for_compaction(integer, interval, integer, bigint, '
            'timestamptz, timestamptz), copilot_internal.claim_paths_for_compaction(integer, interval, '
            'integer, bigint, timestamptz, timestamptz), public.record_compaction_operation(uuid, uuid, '
            'uuid, uuid, text, text, integer, integer, integer, integer, integer, integer, integer, '
            'boolean, numeric, boolean, text, jsonb), copilot_internal.record_compaction_operation(uuid, '
            'uuid, uuid, uuid, text, text, integer, integer, integer, integer, integer, integer, '
            'integer, boolean, numeric, boolean, text, jsonb), public.acquire_execution_context(uuid, '
            'uuid, uuid, uuid, text, text, interval, numeric, text, text, text), '
            'copilot_internal.acquire_execution_context(uuid, uuid, uuid, uuid, text, text, interval, '
            'numeric, text, text, text), public.activate_execution_context(uuid, text), '
            'copilot_internal.activate_execution_context(uuid, text), '
            'public.touch_execution_context(uuid, integer), '
            'copilot_internal.touch_execution_context(uuid, integer), '
            'public.terminate_execution_context(uuid, text), '
            'copilot_internal.terminate_execution_context(uuid, text), '
            'public.fail_execution_context(uuid, text), copilot_internal.fail_execution_context(uuid, '
            'text), public.claim_expired_execution_contexts(integer, interval), '
            'copilot_internal.claim_expired_execution_contexts(integer, interval), '
            'public.get_expired_execution_contexts(integer), '
            'copilot_internal.get_expired_execution_contexts(integer), '
            'public.cleanup_old_terminated_contexts(integer, integer), '
            'copilot_internal.cleanup_old_terminated_contexts(integer, integer), '
            'public.release_execution_context(uuid, numeric, numeric, numeric), '
            'copilot_internal.release_execution_context(uuid, numeric, numeric, numeric), '
            'public.export_user_conversations(uuid, uuid, text, integer), '
            'copilot_internal.export_user_conversations(uuid, uuid, text, integer), '
            'public.verify_conversations(uuid, integer), copilot_internal.verify_conversations(uuid, '
            'integer), public.maintain_conversations(integer), '
            'copilot_internal.maintain_conversations(integer)',
            array['service_role']),
        ('execute', 'function '
            'public.archive_conversation(uuid, uuid, boolean, uuid), '
            'copilot_internal.archive_conversation(uuid, uuid, boolean, uuid), '
            'public.erase_conversation(uuid, uuid, uuid), copilot_internal.erase_conversation(uuid, '
            'uuid, uuid), public.erase_message(uuid, uuid, uuid, uuid), '
            'copilot_internal.erase_message(uuid, uuid, uuid, uuid), '
            'public.erase_user_conversations(uuid, uuid), '
            'copilot_internal.erase_user_conversations(uuid, uuid), '
            'public.get_compaction_metrics(timestamptz, timestamptz, uuid), '
            'copilot_internal.get_compaction_metrics(timestamptz, timestamptz, uuid), '
            'public.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid), '
            'copilot_internal.get_compaction_strategy_breakdown(timestamptz, timestamptz, uuid), '
            'public.get_effective_conversation_config(uuid, uuid), '
            'copilot_internal.get_effective_conversation_config(uuid, uuid), '
            'public.get_recent_compaction_operations(integer, uuid), '
            'copilot_internal.get_recent_compaction_operations(integer, uuid), '
            'public.revert_compaction(uuid, uuid, uuid), copilot_internal.revert_compaction(uuid, uuid, '
            'uuid), public.set_conversation_config(text, uuid, uuid, jsonb, uuid), '
            'copilot_internal.set_conversation_config(text, uuid, uuid, jsonb, uuid)',
            array['authenticated', 'service_role'])
    ) as g (privileges, object, roles)
$$;
comment on function copilot_internal.upkeep_grants() is
    'What grant_conversation_roles() grants of contexts and upkeep.';

-- The filter is of the policy for authenticated; without, people see nothing.
create function copilot_internal.upkeep_policies() returns table (name text, filter text)
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        ('conversation_configs', 'config_level = ''global'' or tenant_id = any ('
            '(select copilot_internal.caller_tenants())::uuid[]) '
            'and (config_level = ''tenant'' or user_id = (select copilot_internal.caller_user()))'),
        ('conversation_contexts', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_contexts.tenant_id)'),
        ('compaction_operations', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = compaction_operations.tenant_id)'),
        ('execution_contexts', null),
        ('conversation_erasures', null)
    ) as p (name, filter)
$$;
comment on function copilot_internal.upkeep_policies() is 'The tables of contexts and upkeep, with what people see.';

-- grants.sql
-- Row level security, grants, and what a dump holds: as in the core, nothing is left to default privileges. Functions
-- are granted by their names: each has one signature, in public and in copilot_internal.

create function copilot_internal.conversation_grants()
    returns table (privileges text, object text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        -- Read by people through row level security.
        ('select', 'copilot_internal.conversations, copilot_internal.conversation_paths, '
            'copilot_internal.conversation_messages', array['authenticated', 'service_role']),
        ('select', 'copilot_internal.conversation_path_segments', array['service_role']),
        -- The application's own tables may refer to these.
        ('references', 'copilot_internal.conversations, copilot_internal.conversation_messages',
            array['service_role']),
        -- The application's stores write these columns; numbers, counters, segments and states are the functions'.
        ('insert (tenant_id, user_id, share_audience, tenant_access, authorization_model, authorization_spec, title, '
            'persona_id, jurisdictions, active_path_id, archived_at, expires_at, trace_id, root_span_name, '
            'root_span_id, metadata, last_message_at), '
            'update (share_audience, tenant_access, authorization_model, authorization_spec, title, persona_id, '
            'jurisdictions, active_path_id, archived_at, expires_at, trace_id, root_span_name, root_span_id, '
            'metadata, updated_at, last_message_at)', 'copilot_internal.conversations', array['service_role']),
        ('insert (conversation_id, tenant_id, parent_path_id, branch_point_message_id, name, description, is_primary, '
            'is_active), update (name, description, is_active, merged_to_path_id, merged_at, '
            'merge_summary_message_id, merge_mode, updated_at), delete', 'copilot_internal.conversation_paths',
            array['service_role']),
        ('insert (conversation_id, path_id, tenant_id, user_id, role, content, parts, metadata, token_count, '
            'message_type, trace_id, root_span_name, root_span_id), update (metadata)',
            'copilot_internal.conversation_messages', array['service_role']),
        -- A default is its writer's to call.
        ('execute', 'function copilot_internal.new_id()', array['service_role'])
    ) as g (privileges, object, roles)
$$;
comment on function copilot_internal.conversation_grants() is
    'What grant_conversation_roles() grants of conversations, paths and messages.';

create function copilot_internal.conversation_policies() returns table (name text, filter text)
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select * from (values
        ('conversations', 'tenant_id = any ((select copilot_internal.caller_tenants())::uuid[]) '
            'and erasing_at is null '
            'and (user_id = (select copilot_internal.caller_user()) or effective_audience <> ''private'')'),
        ('conversation_paths', 'exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_paths.tenant_id)'),
        ('conversation_path_segments', null),
        ('conversation_messages', 'deleted_at is null and exists (select from copilot_internal.conversations c '
            'where c.id = conversation_id and c.tenant_id = conversation_messages.tenant_id)')
    ) as p (name, filter)
$$;
comment on function copilot_internal.conversation_policies() is
    'The tables of conversations, paths and messages, with what people see. A policy asks the one of conversations.';

create function copilot_internal.conversation_function_roles() returns table (name text, roles text[])
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select f.name, array['service_role'] || case f.is_for_people when true then '{authenticated}' else '{}' end::text[]
    from (values
        ('create_conversation', true), ('list_conversations', true), ('set_conversation_sharing', true),
        ('can_read_conversation', true), ('append_message', true), ('append_plain_message', true),
        ('append_messages', false),
        ('finish_message', false), ('get_path_messages', true), ('get_path_context', true),
        ('branch_from_message', true), ('set_active_path', true), ('ensure_primary_path', true),
        ('update_path', true), ('merge_path', true), ('delete_message', true), ('resolve_path_messages', true),
        ('get_path_ancestors', true), ('pin_message', true), ('unpin_message', true), ('get_pinned_messages', true),
        ('get_pinned_message_count', true), ('conversation_store_healthcheck', false), ('current_tenant_id', true)
    ) as f (name, is_for_people)
$$;
comment on function copilot_internal.conversation_function_roles() is
    'Who may call the functions of conversations, paths and messages. The functions ask again.';

create function copilot_internal.members_of_conversations()
    returns table (kind text, object text, relation regclass, name text)
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when d.classid = 'pg_proc'::regclass then 'function' when c.relkind = 'v' then 'view' else 'table' end,
           case when d.classid = 'pg_proc'::regclass then d.objid::regprocedure::text
                else d.objid::regclass::text end,
           case when d.classid = 'pg_class'::regclass then d.objid::regclass end,
           coalesce(p.proname, c.relname)
    from pg_depend d
    left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    left join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
    where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
      and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate_conversations')
      and (p.oid is not null or c.relkind in ('r', 'v'))
$$;
comment on function copilot_internal.members_of_conversations() is
    'The tables, views and functions of pg_tollgate_conversations.';

create function copilot_internal.grant_conversation_roles() returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_grant record;
    v_policy record;
begin
    for v_grant in
        select g.privileges, g.object, r.role
        from (
            select * from copilot_internal.conversation_grants()
            union all
            select * from copilot_internal.upkeep_grants()
            union all
            select 'execute', 'function ' || m.object, f.roles
            from copilot_internal.members_of_conversations() m
            join copilot_internal.conversation_function_roles() f on f.name = m.name and m.kind = 'function'
            union all
            select 'select', m.object, array['authenticated', 'service_role']
            from copilot_internal.members_of_conversations() m
            where m.kind = 'view' and m.name in ('conversations_view', 'conversation_messages_view',
                                                 'conversation_paths_view')
        ) g
        cross join lateral unnest(g.roles) as r (role)
        where exists (select from pg_roles p where p.rolname = r.role)
    loop
        execute format('grant %s on %s to %I', v_grant.privileges, v_grant.object, v_grant.role);
    end loop;
    for v_policy in
        select p.name, t.name as relation, p.role, p.rest
        from (
            select * from copilot_internal.conversation_policies()
            union all
            select * from copilot_internal.upkeep_policies()
        ) t
        cross join lateral (values
            ('authenticated_read', 'authenticated', 'for select to authenticated using (' || t.filter || ')'),
            -- For a service_role that was made without BYPASSRLS.
            ('service_role_all', 'service_role', 'to service_role using (true) with check (true)')
        ) as p (name, role, rest)
        where p.rest is not null
          and exists (select from pg_roles r where r.rolname = p.role)
          and not exists (select from pg_policy o
                          where o.polrelid = ('copilot_internal.' || t.name)::regclass and o.polname = p.name)
    loop
        execute format('create policy %I on copilot_internal.%I %s', v_policy.name, v_policy.relation, v_policy.rest);
    end loop;
end $$;
comment on function copilot_internal.grant_conversation_roles() is
    'As grant_api_roles(), for what pg_tollgate_conversations has: for the extension''s owner, when one of the roles '
    'was made, or made again, after it.';

do $$
declare
    v_member record;
begin
    for v_member in select * from copilot_internal.members_of_conversations() loop
        execute pg_catalog.format('alter %s %s owner to tollgate_owner', v_member.kind, v_member.object);
        -- Whatever default privileges have granted is taken back first.
        execute pg_catalog.format('revoke all on %s %s from public, anon, authenticated, service_role, '
            'metrics_reader, pg_read_all_data', case v_member.kind when 'function' then 'function' else 'table' end,
            v_member.object);
        if v_member.kind = 'table' then
            execute pg_catalog.format('alter table %s enable row level security', v_member.object);
            perform pg_catalog.pg_extension_config_dump(v_member.relation, '');
        end if;
    end loop;
end $$;

select copilot_internal.grant_conversation_roles();
