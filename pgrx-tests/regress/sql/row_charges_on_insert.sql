-- charge_on_insert: a row of the application's own table charges its tenant, and a refused charge refuses the row.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann'), (:'other', 'Other', :'bob');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
select count(set_quota('tenant', t, 'llm', 1, 'lifetime')) as made from unnest(array[:'tenant', :'other']::uuid[]) t;
create view spent as select right(tenant_id::text, 1) as tenant, current_spend_usd from metrics.quota_status where period = 'lifetime' order by 1;
create table public.chats (id integer primary key, tenant_id uuid, user_id uuid, cost numeric, prompt json);
create trigger charge after insert on public.chats for each row
    execute function copilot_internal.charge_on_insert('tenant_id', 'llm', 'cost', 'user_id', 'id');
-- The amount may be the same for every row; the rest may be left out.
create table public.pings (tenant uuid);
create trigger charge before insert on public.pings for each row
    execute function copilot_internal.charge_on_insert('tenant', 'llm', '0.25');
grant select, insert on public.chats, public.pings to authenticated, service_role, anon;
grant select on spent to service_role;
\set SHOW_CONTEXT never

set role service_role;
insert into public.chats values (1, :'tenant', :'ann', 0.3, '"\u0000"'), (2, :'tenant', null, 0.1, null);
select user_id = :'ann' as ann, cost_usd, request_id from copilot_internal.quota_charges order by cost_usd;
-- All the rows of a statement, or none; rolled back, given back.
insert into public.chats values (3, :'other', null, 0.9), (4, :'tenant', null, 0.61);
select count(*) from public.chats;
table spent;
begin;
insert into public.pings values (:'tenant'), (:'tenant');
table spent;
rollback;
table spent;
-- Rows that are turned away cost nothing; a row that is deleted has cost what it has.
insert into public.chats values (2, :'tenant', null, 5) on conflict do nothing;
copy public.chats from stdin;
5	a0000000-0000-4000-8000-000000000001	\N	0.1	\N
6	a0000000-0000-4000-8000-000000000002	\N	0.2	\N
\.
table spent;
\set VERBOSITY sqlstate
insert into public.chats values (7, :'tenant', null, 0.51);
insert into public.pings values (:'tenant'), (:'tenant'), (:'tenant');
insert into public.chats values (7, null, null, 0.1);
insert into public.chats values (7, :'tenant', null, null);
insert into public.chats values (7, :'tenant', null, -1);
insert into public.chats values (7, :'tenant', null, 'NaN');
-- The request id of a row that was charged for something else.
insert into public.chats values (7, :'tenant', null, 0.01);
reset role;
delete from public.chats where id = 7;
set role service_role;
insert into public.chats values (7, :'tenant', null, 0.02);
insert into public.chats values (7, :'tenant', null, 0.01);
table spent;

-- People can charge a tenant that they belong to, and themselves.
reset role;
begin;
set local role authenticated;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001"}';
insert into public.chats values (11, :'tenant', :'ann', 0.01);
insert into public.chats values (12, :'tenant', null, 0.01);
savepoint s;
insert into public.chats values (13, :'other', null, 0.01);
rollback to s;
insert into public.chats values (13, :'tenant', :'bob', 0.01);
rollback to s;
\set VERBOSITY default
insert into public.chats values (13, :'tenant', null, 0.9);
\set VERBOSITY sqlstate
rollback to s;
-- It is no way round to the functions.
select copilot_internal.charge_on_insert();
rollback to s;
select * from check_and_record_quota_atomic('tenant', :'tenant', 0.01);
rollback to s;
set local request.jwt.claims = '';
insert into public.chats values (13, :'tenant', null, 0.01);
rollback to s;
set local role anon;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001"}';
insert into public.chats values (13, :'tenant', null, 0.01);
rollback to s;
commit;
select count(*) from public.chats where id > 10;
-- Of the platform's quota they learn that it exists.
select set_quota('platform', null, 'llm', 0, 'lifetime') is not null as made;
begin;
set local role authenticated;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001"}';
\set VERBOSITY default
insert into public.chats values (13, :'tenant', null, 0.001);
\set VERBOSITY sqlstate
rollback;
delete from copilot_internal.cost_quotas where scope = 'platform';

-- What does not fit together is said at the first row.
create table public.wrong (tenant text, cost numeric, own spent);
create trigger charge before insert on public.wrong for each row execute function copilot_internal.charge_on_insert('tenant', 'llm', 'cost');
insert into public.wrong values (:'tenant', 1);
create or replace trigger charge before insert on public.wrong for each row execute function copilot_internal.charge_on_insert('missing', 'llm', '1');
insert into public.wrong values (:'tenant', 1);
create or replace trigger charge before insert on public.wrong for each row execute function copilot_internal.charge_on_insert('tenant');
insert into public.wrong values (:'tenant', 1);
create or replace trigger charge before insert on public.pings for each row execute function copilot_internal.charge_on_insert('tenant', 'all', '1');
insert into public.pings values (:'tenant');
create or replace trigger charge before insert on public.pings for each statement execute function copilot_internal.charge_on_insert('tenant', 'llm', '1');
insert into public.pings values (:'tenant');
create or replace trigger charge before update on public.pings for each row execute function copilot_internal.charge_on_insert('tenant', 'llm', '1');
insert into public.pings values (:'tenant');
update public.pings set tenant = tenant where true;
-- A type of one's own could bring a cast that would run with the owner's rights.
create type public.trap as enum ('x');
create function public.spring(public.trap) returns text language sql as $$ select 'sprung by ' || current_user $$;
create cast (public.trap as text) with function public.spring(public.trap);
create table public.trapped (tenant uuid, request public.trap);
create trigger charge before insert on public.trapped for each row execute function copilot_internal.charge_on_insert('tenant', 'llm', '0.01', '', 'request');
insert into public.trapped values (:'tenant', 'x');
