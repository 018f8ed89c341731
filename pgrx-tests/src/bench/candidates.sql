-- A million paths of a hundred thousand conversations; two thousand of the paths have grown in the last week. And the
-- messages of as many conversations, as the seed counts them.
create function bench.id(p_kind integer, p_number integer) returns uuid language sql immutable as $$
    select (lpad(to_hex(p_kind), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid
$$;
set session_replication_role = replica;
insert into copilot_internal.conversations (id, tenant_id, created_at, last_message_at)
    select bench.id(1, n), bench.id(0, 1), now(), now() from generate_series(1, 100000) n;
insert into copilot_internal.conversation_paths (id, conversation_id, tenant_id, depth, is_primary, created_at,
    last_sequence, last_message_id, last_message_at, open_message_count, open_token_count)
    select bench.id(2, n), bench.id(1, 1 + n % 100000), bench.id(0, 1), 0, n <= 100000, now() - interval '100 days',
           o.own, bench.id(3, n), now() - case when n % 500 = 0 then interval '1 day' else interval '60 days' end,
           o.own, o.own * 50
    from generate_series(1, 1000000) n
    cross join lateral (select case when n % 500 = 0 then 60 + n % 70 when n % 3 = 0 then 55 else 4 end as own) o;
create table bench.conversations (
    id uuid primary key, tenant_id uuid not null, archived_at timestamptz, last_message_at timestamptz,
    last_compaction_at timestamptz);
insert into bench.conversations select bench.id(1, n), bench.id(0, 1), null, now() - interval '1 day', null
    from generate_series(1, 100000) n;
create table bench.messages (conversation_id uuid not null, created_at timestamptz not null default now());
insert into bench.messages select bench.id(1, 1 + n % 100000) from generate_series(1, 2000000) n;
create index on bench.messages (conversation_id, created_at);
reset session_replication_role;
