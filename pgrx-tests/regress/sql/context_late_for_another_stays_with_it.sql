-- Of two sandboxes that come too late for one context each is billed, though an erasure takes a step in between.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner') \gset
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select terminated from terminate_execution_context(:'context');
select cost_status, replayed from release_execution_context(:'context');
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select activated from activate_execution_context(:'context', 'late');
select cost_usd > 0 as billed, replayed
from release_execution_context((select id from copilot_internal.execution_contexts where sandbox_id = 'late'), 100);
select done from erase_conversation(:'tenant', :'chat');
select deleted_count from cleanup_old_terminated_contexts(0);
select * from verify_conversations();
select activated from activate_execution_context(:'context', 'later');
select cost_usd > 0 as billed, replayed
from release_execution_context((select id from copilot_internal.execution_contexts where sandbox_id = 'later'), 200);
select sandbox_id, duration_seconds from copilot_internal.e2b_cost_records order by sandbox_id;
select * from verify_conversations();
-- When no sandbox can come any more, all of it goes.
update copilot_internal.execution_contexts set created_at = created_at - interval '2 hours', released_at = released_at - interval '1 hour';
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select count(*) from copilot_internal.execution_contexts;
select * from verify_conversations();
select * from copilot_internal.verify();
