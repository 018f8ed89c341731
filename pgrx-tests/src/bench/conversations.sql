-- One tenant, and conversations whose rows are written as a restore writes them: with their numbers.
create function bench.id(p_kind integer, p_number integer) returns uuid language sql immutable as $$
    select (lpad(to_hex(p_kind), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid
$$;
create function bench.tenant() returns uuid language sql immutable as $$
    select '{tenant}'::uuid
$$;
create function bench.words() returns text language sql immutable as $$
    select repeat('words ', 34)
$$;

insert into copilot_internal.tenants (id, name, owner_id) values (bench.tenant(), 'Acme', '{user}');

-- No key is looked up: verify_conversations() tells whether all is there.
set session_replication_role = replica;
-- Paths that branch from one another, each with so many messages of its own, the last with as many as are given. The kind
-- names the conversation, and with a thousand added its paths.
create procedure bench.chain(p_kind integer, p_paths integer, p_each integer, p_last integer) language plpgsql as $$
begin
    insert into copilot_internal.conversations (id, tenant_id, user_id, created_at)
    values (bench.id(p_kind, 1), bench.tenant(), '{user}', now());
    insert into copilot_internal.conversation_paths (id, conversation_id, tenant_id, parent_path_id,
        branch_point_message_id, branch_sequence, inherited_count, depth, is_primary, created_at, last_sequence,
        last_message_id, last_message_at, open_message_count, open_token_count)
    select bench.id(p_kind + 1000, n), bench.id(p_kind, 1), bench.tenant(),
           case when n > 1 then bench.id(p_kind + 1000, n - 1) end,
           case when n > 1 then bench.id(p_kind + 2000, (n - 1) * p_each) end, case when n > 1 then p_each end,
           (n - 1) * p_each, n - 1, n = 1, now(), o.own,
           bench.id(p_kind + 2000, (n - 1) * p_each + o.own), now(), (n - 1) * p_each + o.own,
           ((n - 1) * p_each + o.own) * (octet_length(bench.words()) / 4)
    from generate_series(1, p_paths) n
    cross join lateral (select case when n = p_paths then p_last else p_each end as own) o;
    insert into copilot_internal.conversation_path_segments (tenant_id, path_id, to_position, source_path_id, shift)
    select bench.tenant(), bench.id(p_kind + 1000, n), s * p_each, bench.id(p_kind + 1000, s), (s - 1) * p_each
    from generate_series(2, p_paths) n, generate_series(1, n - 1) s;
    insert into copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, role, content,
        sequence_in_path, created_at, finished_at)
    select bench.id(p_kind + 2000, (n - 1) * p_each + m), bench.id(p_kind, 1), bench.id(p_kind + 1000, n),
           bench.tenant(), 'user', bench.words(), m, now(), now()
    from generate_series(1, p_paths) n
    cross join lateral generate_series(1, case when n = p_paths then p_last else p_each end) m;
end $$;
-- 10,120 messages below 100 ancestors, fifty messages on as many paths, and one path to be erased.
call bench.chain(1, 101, 100, 120);
call bench.chain(2, 256, 1, 1);
call bench.chain(3, 1, 10000, 10000);

-- 400,000 messages on 2,000 paths, and 28,000 paths more.
insert into copilot_internal.conversations (id, tenant_id, created_at)
    select bench.id(4, n), bench.tenant(), now() from generate_series(1, 30000) n;
insert into copilot_internal.conversation_paths (id, conversation_id, tenant_id, depth, is_primary, created_at,
    last_sequence, last_message_id, last_message_at, open_message_count, open_token_count)
    select bench.id(5, n), bench.id(4, n), bench.tenant(), 0, true, now(), o.own,
           case when o.own > 0 then bench.id(6, n * 200) end, case when o.own > 0 then now() end, o.own,
           o.own * (octet_length(bench.words()) / 4)
    from generate_series(1, 30000) n
    cross join lateral (select case when n <= 2000 then 200 else 0 end as own) o;
insert into copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, role, content,
    sequence_in_path, created_at, finished_at)
    select bench.id(6, (n - 1) * 200 + m), bench.id(4, n), bench.id(5, n), bench.tenant(), 'user', bench.words(), m,
           now(), now()
    from generate_series(1, 2000) n, generate_series(1, 200) m;

-- The other sides: the same columns, constraints and indexes, without a function or trigger.
create table bench.messages (like copilot_internal.conversation_messages including all);
insert into bench.messages select m.* from copilot_internal.conversation_messages m;
insert into bench.messages (id, conversation_id, path_id, tenant_id, role, content, sequence_in_path)
    select bench.id(7, n), bench.id(7, 0), bench.id(8, 1), bench.tenant(), 'user', bench.words(), n
    from generate_series(1, 10120) n;
create table bench.narrow (
    tenant_id uuid not null, path_id uuid not null, to_position integer not null, source_path_id uuid not null,
    shift integer not null, primary key (path_id, to_position, tenant_id) include (source_path_id, shift));
create function bench.insert_narrow(p_number integer) returns bigint language plpgsql as $$
begin
    insert into bench.narrow select bench.tenant(), bench.id(9, p_number), n, bench.id(9, n), n - 1
    from generate_series(1, 100) n;
    return p_number;
end $$;
create sequence bench.numbers start 1000000;
reset session_replication_role;

grant usage on schema bench to service_role, authenticated;
grant select, insert on bench.messages to service_role;
grant usage on sequence bench.numbers to service_role;

-- A context that is ready.
set role service_role;
select activated
from public.acquire_execution_context(bench.tenant(), bench.id(4, 1), bench.id(5, 1), p_estimated_cost_usd => 0.01) a,
     public.activate_execution_context(a.context_id, 'box');
reset role;
