-- What a conversation cost is recorded after its erasure too: without words, once upkeep has looked. In the end it looks
-- no more.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat from create_conversation(:'tenant', :'owner', 'A chat') \gset
select conversation_id as other from create_conversation(:'tenant', :'owner', 'Another') \gset
select count(*) from (select record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', c, p_task => 'words', p_cost_usd => 0.25) from unnest(array[:'chat', :'other']::uuid[]) c) r;
select done from erase_conversation(:'tenant', :'chat');
select done from maintain_conversations() where task = 'redact';
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'chat', p_task => 'late words', p_cost_usd => 0.5, p_metadata => '{"a": "late words"}');
select recorded from record_e2b_cost(:'tenant', 'box', 'standard', 60, :'owner', :'chat', p_metadata => '{"a": "late words"}');
select done from maintain_conversations() where task = 'redact';
select done from maintain_conversations() where task = 'redact';
select task, metadata, cost_usd from copilot_internal.llm_cost_records order by cost_usd, task;
select metadata from copilot_internal.e2b_cost_records;
-- Records that went and one that came are as many as before: the last look is at all.
select cost_record_count, costs_settled_at from copilot_internal.conversation_erasures;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'chat', p_task => 'late words', p_cost_usd => 1);
reset role;
update copilot_internal.conversation_erasures set completed_at = completed_at - interval '1 hour', cost_record_count = 4;
-- Not before all that was under way is over, in other databases too.
do $$
begin
    for v_attempt in 1 .. 3000 loop
        perform maintain_conversations();
        exit when exists (select from copilot_internal.conversation_erasures e where e.costs_settled_at is not null);
        perform pg_sleep(0.01);
    end loop;
end $$;
set role service_role;
select cost_record_count, costs_settled_at is not null as settled from copilot_internal.conversation_erasures;
select count(*) from copilot_internal.llm_cost_records where task is not null;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'chat', p_task => 'an hour later', p_cost_usd => 1);
select done from maintain_conversations() where task = 'redact';
reset role;
select * from copilot_internal.verify();
