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
