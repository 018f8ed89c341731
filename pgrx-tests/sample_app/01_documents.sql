-- An application's own table, run as Supabase's role postgres: rows belong to tenants, people work in their current one,
-- and a document may be written only while there is money to answer questions about it.
create table public.documents (
    id uuid primary key default gen_random_uuid(),
    tenant_id uuid not null references copilot_internal.tenants (id) on delete cascade,
    title text not null,
    summary text,
    created_at timestamptz not null default now()
);
create index documents_tenant_id_idx on public.documents (tenant_id);
alter table public.documents enable row level security;

create policy documents_read on public.documents for select to authenticated
    using (tenant_id = (select public.get_current_tenant_id()));
create policy documents_insert on public.documents for insert to authenticated
    with check (tenant_id = (select public.get_current_tenant_id()) and public.has_quota(tenant_id, 'llm', 0.01));

grant select, insert on public.documents to authenticated;
grant select, insert, update, delete on public.documents to service_role;
