-- 100,000 rows, every other one of the user's tenant, in two tables alike: one has a policy that asks for the tenant, the
-- other one that names it. No index, so that every row is compared.
insert into copilot_internal.tenants (id, name, owner_id) values ('{tenant}', 'Acme', '{user}');
grant usage on schema bench to authenticated;
create table bench.asked (tenant_id uuid not null, note text not null);
create table bench.named (like bench.asked);
insert into bench.asked
    select case when n % 2 = 0 then '{tenant}'::uuid else gen_random_uuid() end, repeat('x', 100) from generate_series(1, 100000) n;
insert into bench.named table bench.asked;
alter table bench.asked enable row level security;
alter table bench.named enable row level security;
create policy own on bench.asked for select to authenticated using (tenant_id = (select public.get_current_tenant_id()));
create policy own on bench.named for select to authenticated using (tenant_id = '{tenant}');
create table bench.ids as select gen_random_uuid() as id from generate_series(1, 200000);
grant select on bench.asked, bench.named, bench.ids to authenticated;
