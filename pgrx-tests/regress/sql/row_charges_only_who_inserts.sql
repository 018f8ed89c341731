-- charge_on_insert: a caller without the server's rights charges their own tenant, themselves, and each row.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set vic b0000000-0000-4000-8000-000000000003
\set SHOW_CONTEXT never
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann'), (:'other', 'Other', null);
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'bob', 'member'), (:'tenant', :'vic', 'viewer');
create table public.jobs (tenant_id uuid, user_id uuid, cost numeric, request text);
create trigger charge after insert on public.jobs for each row
    execute function copilot_internal.charge_on_insert('tenant_id', 'llm', 'cost', 'user_id', 'request');
create table public.pings (tenant_id uuid, request text);
create trigger charge after insert on public.pings for each row
    execute function copilot_internal.charge_on_insert('tenant_id', 'llm', '0.5', '', 'request');
create role golden_editor nologin;
create role golden_editors_heir nologin in role authenticated;
grant insert, select on public.jobs, public.pings to authenticated, service_role, golden_editor, golden_editors_heir;
create view charged as select right(user_id::text, 1) as "user", cost_usd, request_id from copilot_internal.quota_charges order by recorded_at, id;

-- A role that the application has made is not the server, whatever it says it is.
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001", "role": "golden_editor"}';
set local role golden_editor;
insert into public.jobs values (:'other', null, 99);
rollback;
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001", "role": "golden_editor"}';
set local role golden_editor;
insert into public.jobs values (:'tenant', :'ann', 1);
rollback;
-- One that has authenticated is a person.
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000001", "role": "golden_editors_heir"}';
set local role golden_editors_heir;
insert into public.jobs values (:'tenant', null, 1);
reset role;
table charged;
rollback;

-- A limit of the user's is not passed by leaving the user out, nor where the table has none.
select set_quota('user', :'bob', 'llm', 1, 'lifetime', :'tenant') is not null as made;
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000002"}';
set local role authenticated;
insert into public.jobs values (:'tenant', null, 0.6);
insert into public.pings values (:'tenant', null);
rollback;

-- A request id that the client chose: each row is charged, and the server's ids are its own.
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.01, 'llm', null, 'job 1');
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000002"}';
set local role authenticated;
insert into public.jobs values (:'tenant', null, 0.02, 'job 1'), (:'tenant', null, 0.02, null), (:'tenant', null, 0.02, null);
savepoint s;
insert into public.jobs values (:'tenant', null, 0.02, 'job 1');
rollback to s;
insert into public.pings select :'tenant', 'same' from generate_series(1, 3);
rollback to s;
commit;
table charged;
-- The server repeats itself at no cost, as ever.
set role service_role;
insert into public.jobs values (:'tenant', null, 0.03, 'job 2'), (:'tenant', null, 0.03, 'job 2');
reset role;
select count(*), sum(cost_usd) from copilot_internal.quota_charges where request_id = 'job 2';

-- A viewer spends nothing.
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000003"}';
set local role authenticated;
insert into public.jobs values (:'tenant', :'vic', 0.01);
rollback;

-- Others may wait for a transaction of a user: it charges a bounded number of rows, whatever it rolls back.
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000002"}';
set local role authenticated;
savepoint s;
insert into public.jobs select :'tenant', :'bob', 0.00001 from generate_series(1, 600);
rollback to s;
insert into public.jobs select :'tenant', :'bob', 0.00001 from generate_series(1, 400);
savepoint s;
insert into public.jobs values (:'tenant', :'bob', 0.00001);
rollback to s;
rollback;
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000002"}';
set local role authenticated;
insert into public.jobs values (:'tenant', :'bob', 0.00001);
reset role;
set local role service_role;
insert into public.jobs select :'tenant', null, 0.00001 from generate_series(1, 1001);
rollback;

-- At commit nobody knows who inserted.
create constraint trigger charge_late after insert on public.pings deferrable initially deferred for each row
    execute function copilot_internal.charge_on_insert('tenant_id', 'llm', '0.5');
drop trigger charge on public.pings;
begin;
set local request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000002"}';
set local role authenticated;
insert into public.pings values (:'other');
reset role;
commit;
table public.pings;
drop table public.jobs, public.pings;
drop role golden_editor, golden_editors_heir;
