-- public.append_message does the plain case itself, and copilot_internal.append_message every case: to the same effect.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set viewer b0000000-0000-4000-8000-000000000003
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'member', 'member'), (:'tenant', :'viewer', 'viewer');
set role service_role;
create temp table chat as
    select n as name, c.conversation_id, c.path_id, null::uuid as message_id from (values ('own'), ('shared'), ('archived'), ('expired')) v (n), create_conversation(:'tenant', :'owner', n, p_share_audience => case n when 'shared' then 'tenant' else 'private' end, p_tenant_access => 'edit') c;
update chat set message_id = m.message_id from chat c cross join lateral append_message(:'tenant', c.conversation_id, 'user', 'First', :'owner', p_request_id => c.name) m where chat.name = c.name;
insert into chat select 'branch', c.conversation_id, b.path_id, null from chat c cross join lateral branch_from_message(:'tenant', c.conversation_id, c.message_id, p_activate => true) b where c.name = 'own';
insert into chat select 'closed', c.conversation_id, b.path_id, null from chat c cross join lateral branch_from_message(:'tenant', c.conversation_id, c.message_id) b where c.name = 'own';
select count(*) from chat c cross join lateral update_path(:'tenant', c.path_id, p_is_active => false) where c.name = 'closed';
select count(*) from chat c cross join lateral archive_conversation(:'tenant', c.conversation_id) where c.name = 'archived';
reset role;
update copilot_internal.conversations set expires_at = now() where title = 'expired';
grant select on chat to public;
-- What a call does is undone, and told as an error.
create function pg_temp.outcome(p_schema text, p_arguments text) returns text language plpgsql as $$
declare
    v_state text;
    v_message text;
    v_detail text;
    v_row record;
begin
    execute format('select a.path_id, a.sequence_in_path, a.effective_sequence, a.replayed, a.message_id from %I.append_message(%s) a', p_schema, p_arguments) into v_row;
    raise exception using errcode = 'TG999', message = format('%s, number %s (%s)%s: %s', (select c.name from chat c where c.path_id = v_row.path_id), v_row.sequence_in_path,
        v_row.effective_sequence, case when v_row.replayed then ', replayed' else '' end, coalesce((
            select concat_ws(' ', m.role, m.message_type, m.user_id = 'b0000000-0000-4000-8000-000000000001', length(m.content), m.parts, m.metadata, m.token_count, m.request_id, m.trace_id,
                       m.root_span_name, m.root_span_id, m.finished_at = m.created_at, m.created_at = p.last_message_at, p.last_sequence, p.open_message_count, p.open_token_count, p.last_message_id = m.id, c.last_message_at is not null)
            from copilot_internal.conversation_messages m join copilot_internal.conversation_paths p on p.id = m.path_id join copilot_internal.conversations c on c.id = m.conversation_id
            where m.id = v_row.message_id), 'not shown'));
exception when others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail;
    -- Without ids and moments.
    return regexp_replace(concat_ws(' | ', nullif(v_state, 'TG999'), v_message, nullif(v_detail, '')),
        '[0-9a-f]{8}-[0-9a-f-]{27}|[A-Z][a-z]{2} [A-Z][a-z]{2} .* [A-Z]{3}', '…', 'g');
end $$;
create temp table cases (place serial, who text, subject text, conversation text, rest text);
insert into cases (who, subject, conversation, rest) values
    ('service_role', null, 'own', $$'user', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000001'$$),
    ('service_role', null, 'own', $$'user', 'Hello'$$),
    ('service_role', null, 'own', $$'assistant', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000001', p_token_count => 7, p_parts => '[{"a": 1}]', p_metadata => '{"b": [2]}', p_request_id => 'new', p_trace_id => 't', p_root_span_name => 'n', p_root_span_id => 'i'$$),
    ('service_role', null, 'own', $$'tool', 'Hello', p_path_id => (select path_id from chat where name = 'branch'), p_parts => '[1e20]'$$),
    ('service_role', null, 'own', $$'developer', 'Hello', p_path_id => (select path_id from chat where name = 'own'), p_message_type => 'branch_point'$$),
    ('service_role', null, 'own', $$'system', 'Hello', p_message_type => 'system'$$),
    ('service_role', null, 'own', $$'assistant', null, p_draft => true$$),
    ('service_role', null, 'own', $$'assistant', 'Begun', p_draft => true, p_request_id => 'new'$$),
    ('service_role', null, 'own', $$'user', 'First', 'b0000000-0000-4000-8000-000000000001', p_request_id => 'own'$$),
    ('service_role', null, 'own', $$'user', 'Other', 'b0000000-0000-4000-8000-000000000001', p_request_id => 'own'$$),
    ('service_role', null, 'archived', $$'user', 'First', 'b0000000-0000-4000-8000-000000000001', p_request_id => 'archived'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_request_id => 'shared'$$),
    ('service_role', null, 'shared', $$'user', 'Hello', p_expected_last_message_id => (select message_id from chat where name = 'shared')$$),
    ('service_role', null, 'shared', $$'user', 'Hello', p_expected_last_message_id => 'c0000000-0000-4000-8000-000000000001'$$),
    ('service_role', null, 'own', $$null, 'Hello'$$),
    ('service_role', null, 'own', $$'person', 'Hello'$$),
    ('service_role', null, 'own', $$'user', null$$),
    ('service_role', null, 'own', $$'user', ''$$),
    ('service_role', null, 'own', $$'user', repeat('x', 1048576)$$),
    ('service_role', null, 'own', $$'user', repeat('x', 1048577)$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_metadata => null$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_metadata => '[]'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_metadata => '1'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_metadata => jsonb_build_object('a', repeat('x', 65536))$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_parts => to_jsonb(repeat('x', 4194304))$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_parts => '1e100000'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_message_type => null$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_message_type => 'letter'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_token_count => -1$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_token_count => 0$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_request_id => ''$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_request_id => repeat('x', 201)$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_trace_id => ''$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_root_span_name => repeat('ü', 200)$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_root_span_id => repeat('x', 201)$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_draft => null$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_path_id => (select path_id from chat where name = 'shared')$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_path_id => (select path_id from chat where name = 'closed')$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_user_id => '00000000-0000-0000-0000-000000000000'$$),
    ('service_role', null, 'own', $$'user', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000002'$$),
    ('service_role', null, 'own', $$'assistant', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000002'$$),
    ('service_role', null, 'shared', $$'user', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000003'$$),
    ('service_role', null, 'archived', $$'user', 'Hello'$$),
    ('service_role', null, 'expired', $$'user', 'Hello'$$),
    ('service_role', null, 'none', $$'user', 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$'user', 'Hello', p_request_id => 'mine'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$'assistant', 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$null, 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$'user', 'Hello', p_message_type => 'system'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$'user', 'Hello', p_draft => true$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000001', 'own', $$'user', 'Hello', p_user_id => 'b0000000-0000-4000-8000-000000000002'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000002', 'own', $$'user', 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000002', 'shared', $$'user', 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000003', 'shared', $$'user', 'Hello'$$),
    ('authenticated', 'b0000000-0000-4000-8000-000000000009', 'shared', $$'user', 'Hello'$$),
    ('authenticated', null, 'shared', $$'user', 'Hello'$$),
    ('anon', null, 'shared', $$'user', 'Hello'$$);
create function pg_temp.compare() returns table (place integer, arguments text, outcome text, differs text) language plpgsql as $$
declare
    v_case record;
    v_arguments text;
begin
    for v_case in select * from cases c order by c.place loop
        perform set_config('request.jwt.claims', coalesce(format('{"sub": "%s"}', v_case.subject), ''), true);
        v_arguments := format('%L, %L, %s', 'a0000000-0000-4000-8000-000000000001', coalesce(
            (select c.conversation_id from chat c where c.name = v_case.conversation), 'c0000000-0000-4000-8000-000000000009'), v_case.rest);
        execute format('set local role %I', v_case.who);
        place := v_case.place;
        arguments := concat_ws(': ', v_case.who, right(v_case.subject, 1), v_case.conversation, left(v_case.rest, 60));
        outcome := pg_temp.outcome('copilot_internal', v_arguments);
        differs := left(nullif(pg_temp.outcome('public', v_arguments), outcome), 120);
        outcome := left(outcome, 120);
        reset role;
        return next;
    end loop;
end $$;
select * from pg_temp.compare();
set role service_role;
select append_message(null, (select conversation_id from chat where name = 'own'), 'user', 'Hello');
select append_message(:'tenant', null, 'user', 'Hello');
select count(*) from copilot_internal.conversation_messages;
select * from verify_conversations();
