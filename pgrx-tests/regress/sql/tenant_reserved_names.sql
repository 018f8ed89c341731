-- A tenant that a person makes takes no address of the service's, of a provider's, or out of an e-mail.
\set admin b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set pg_tollgate.tenants_per_user = 10;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001", "email": "admin@example.com"}', false) is null as set;
set role authenticated;
select create_personal_tenant(:'admin', 'admin@example.com') is not null as made;
select tenant_name, tenant_slug ~ '^personal-[0-9a-f]{8}$' as slug from get_user_tenants();
select create_tenant('Acme', 'service-role');
select create_tenant('Acme', 'openai');
select create_tenant('Acme', 'www');
select create_tenant('OpenAI') is not null as made, create_tenant('admin') is not null as made, create_tenant('Admin 2') is not null as made;
select regexp_replace(tenant_slug, '-[0-9a-f]{8}$', '-…') as slug from get_user_tenants() where tenant_type <> 'personal' order by 1;
reset role;
-- The server gives them away.
set role service_role;
select create_tenant('Support', 'support') is not null as made;
select slug from copilot_internal.tenants where name = 'Support';
