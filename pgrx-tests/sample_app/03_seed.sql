-- supabase/seed.sql: a tenant to develop with.
insert into copilot_internal.tenants (id, name, slug, owner_id) values
    ('5eed0000-0000-0000-0000-000000000001', 'Acme', 'acme', '5eed0000-0000-0000-0000-0000000000f1');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values
    ('5eed0000-0000-0000-0000-000000000001', '5eed0000-0000-0000-0000-0000000000f2', 'member');
select public.set_quota('tenant', '5eed0000-0000-0000-0000-000000000001', 'llm', 5);
insert into public.documents (id, tenant_id, title) values
    ('5eed0000-0000-0000-0000-00000000d0c1', '5eed0000-0000-0000-0000-000000000001', 'Minutes');
select public.summarise_document('5eed0000-0000-0000-0000-00000000d0c1', 'They met.', 1200, 80);
