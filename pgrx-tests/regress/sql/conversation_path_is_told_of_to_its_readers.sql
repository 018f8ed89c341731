-- A path is told of to its readers. Others hear the same as of one that is not there, whatever else is wrong.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set stranger b0000000-0000-4000-8000-00000000000f
\set nobody 00000000-0000-0000-0000-000000000000
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'owner', 'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
select path_id as path from create_conversation(:'tenant', :'owner') \gset
create table public.said (who uuid, call text, is_there boolean, sqlstate text);
grant insert on public.said to authenticated;
create function public.ask(p_who uuid, p_call text, p_path uuid, p_is_there boolean) returns void language plpgsql as $$
declare
    v_state text := 'none';
begin
    begin
        execute format(p_call, p_path);
    exception when others then
        v_state := sqlstate;
    end;
    insert into public.said values (p_who, p_call, p_is_there, v_state);
end $$;
create table public.calls as
    select format('select %s(%L, %%L%s)', f.name, :'tenant', u.who) as call
    from (values ('get_path_messages'), ('get_path_context')) f (name),
         (values (''), (format(', p_user_id => %L', :'member')), (format(', p_user_id => %L', :'owner')),
                 (format(', p_user_id => %L', :'nobody')), (', p_user_id => null')) u (who)
    union all select 'select resolve_path_messages(%L)'
    union all select format('select get_path_messages(%L, %%L, 0)', :'tenant');
grant select on public.calls to authenticated;
set role authenticated;
select set_config('request.jwt.claims', format('{"sub": "%s"}', :'member'), false) is not null as a_member;
select count(ask(:'member', call, :'path', true)), count(ask(:'member', call, :'nobody', false)) from public.calls;
select set_config('request.jwt.claims', format('{"sub": "%s"}', :'stranger'), false) is not null as a_stranger;
select count(ask(:'stranger', call, :'path', true)), count(ask(:'stranger', call, :'nobody', false)) from public.calls;
reset role;
select call, who = :'member' as is_member, string_agg(distinct sqlstate, ' or ') as said from public.said
group by call, who order by call, who;
