-- What the columns of conversations, paths and messages hold. A view's columns say what those of its table say.

comment on table copilot_internal.conversations is 'A chat of a tenant. What it says lies in its paths.';
comment on column copilot_internal.conversations.id is 'The conversation.';
comment on column copilot_internal.conversations.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversations.user_id is 'Its owner; NULL is the server''s own.';
comment on column copilot_internal.conversations.share_audience is
    'Who may read it besides its owner: private, tenant or public.';
comment on column copilot_internal.conversations.tenant_access is
    'What members of the tenant may do where it is shared with them: view or edit.';
comment on column copilot_internal.conversations.authorization_model is
    'supabase_rbac, or openfga, where the application decides and SQL allows at most the fallback.';
comment on column copilot_internal.conversations.authorization_spec is
    'What the application''s own model needs, as JSON.';
comment on column copilot_internal.conversations.effective_audience is 'The audience that row level security goes by.';
comment on column copilot_internal.conversations.title is 'Its title.';
comment on column copilot_internal.conversations.persona_id is 'The application''s persona.';
comment on column copilot_internal.conversations.jurisdictions is
    'Codes of jurisdictions, as the application has them.';
comment on column copilot_internal.conversations.active_path_id is
    'The path that the user is on. If there is none, readers take the primary one.';
comment on column copilot_internal.conversations.archived_at is 'From then on it is read-only and not listed.';
comment on column copilot_internal.conversations.expires_at is
    'A temporary conversation is not listed from then on, and erased.';
comment on column copilot_internal.conversations.erasing_at is 'Since then it is hidden, and its rows go.';
comment on column copilot_internal.conversations.trace_id is 'Trace of the request that made it.';
comment on column copilot_internal.conversations.root_span_name is 'Name of that trace''s first span.';
comment on column copilot_internal.conversations.root_span_id is 'Id of that trace''s first span.';
comment on column copilot_internal.conversations.metadata is 'What the application adds, as JSON.';
comment on column copilot_internal.conversations.request_id is 'Idempotency key of its creation.';
comment on column copilot_internal.conversations.request_digest is 'What that request asked for, as a SHA-256.';
comment on column copilot_internal.conversations.created_at is 'When it was made.';
comment on column copilot_internal.conversations.updated_at is 'When its row changed last.';
comment on column copilot_internal.conversations.last_message_at is
    'When its latest message was written, to about a second.';
comment on column copilot_internal.conversations.activity_at is
    'Its latest message, or its creation: lists are ordered by it.';

comment on table copilot_internal.conversation_paths is
    'A line of messages in a conversation: the primary one, or a branch.';
comment on column copilot_internal.conversation_paths.id is 'The path.';
comment on column copilot_internal.conversation_paths.conversation_id is 'Its conversation.';
comment on column copilot_internal.conversation_paths.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversation_paths.parent_path_id is
    'The path that wrote the message it branches from; NULL is a path that inherits nothing.';
comment on column copilot_internal.conversation_paths.branch_point_message_id is 'The last message that it inherits.';
comment on column copilot_internal.conversation_paths.branch_sequence is 'That message''s number in the parent.';
comment on column copilot_internal.conversation_paths.replaces_message_id is 'The message that the branch edits.';
comment on column copilot_internal.conversation_paths.inherited_count is 'How many messages it inherits.';
comment on column copilot_internal.conversation_paths.depth is
    'How many branches lie between it and a path without parent.';
comment on column copilot_internal.conversation_paths.name is 'Its name.';
comment on column copilot_internal.conversation_paths.description is 'What it is about.';
comment on column copilot_internal.conversation_paths.is_primary is
    'Whether it is the one that the conversation began with.';
comment on column copilot_internal.conversation_paths.is_active is 'Whether it takes messages.';
comment on column copilot_internal.conversation_paths.archived_at is 'When it was archived with its conversation.';
comment on column copilot_internal.conversation_paths.merged_to_path_id is 'The path that it was merged into.';
comment on column copilot_internal.conversation_paths.merged_at is 'When it was merged.';
comment on column copilot_internal.conversation_paths.merge_summary_message_id is 'The message that sums it up there.';
comment on column copilot_internal.conversation_paths.merge_mode is 'How it was merged: summary, full or selective.';
comment on column copilot_internal.conversation_paths.merge_request_id is 'Idempotency key of its merge.';
comment on column copilot_internal.conversation_paths.merge_first_sequence is
    'The number of its first copy on the other path.';
comment on column copilot_internal.conversation_paths.merge_count is 'How many copies it has there.';
comment on column copilot_internal.conversation_paths.created_at is 'When it was made.';
comment on column copilot_internal.conversation_paths.updated_at is
    'When its row changed last, other than by messages.';
comment on column copilot_internal.conversation_paths.last_sequence is 'The number of its latest message.';
comment on column copilot_internal.conversation_paths.last_message_id is 'Its latest message.';
comment on column copilot_internal.conversation_paths.last_message_at is 'When that was written.';
comment on column copilot_internal.conversation_paths.open_message_count is 'How many messages a model is shown now.';
comment on column copilot_internal.conversation_paths.open_token_count is
    'How many tokens these have. Where no count was given, a token is four bytes.';
comment on column copilot_internal.conversation_paths.size_class is
    'The binary logarithm of open_message_count, rounded down.';
comment on column copilot_internal.conversation_paths.activity_day is 'The day (UTC) of its latest message.';
comment on column copilot_internal.conversation_paths.compaction_checked_at is
    'When somebody last looked whether to compact it.';
comment on column copilot_internal.conversation_paths.compaction_claimed_until is
    'Until then a worker has it for compaction.';
comment on column copilot_internal.conversation_paths.last_compaction_at is 'When it was compacted last.';
comment on column copilot_internal.conversation_paths.removal_count is
    'How often a message that it shows was deleted or erased: a summary is of what its writer has read.';
comment on column copilot_internal.conversation_paths.last_erasure_at is
    'When a message that it shows was last erased.';
comment on column copilot_internal.conversation_paths.request_id is 'Idempotency key of the branch.';

comment on table copilot_internal.conversation_path_segments is
    'The parts of other paths that a path inherits, in reading order. They never change.';
comment on column copilot_internal.conversation_path_segments.tenant_id is 'The tenant that the path belongs to.';
comment on column copilot_internal.conversation_path_segments.path_id is 'The path that inherits.';
comment on column copilot_internal.conversation_path_segments.to_position is
    'Number along the path of the part''s last message.';
comment on column copilot_internal.conversation_path_segments.source_path_id is 'The path that wrote the part.';
comment on column copilot_internal.conversation_path_segments.shift is
    'What to add to a message''s own number for its number along the path.';

comment on table copilot_internal.conversation_messages is
    'A message, on the path that wrote it. Once finished its text does not change.';
comment on column copilot_internal.conversation_messages.id is 'The message.';
comment on column copilot_internal.conversation_messages.conversation_id is 'Its conversation.';
comment on column copilot_internal.conversation_messages.path_id is 'The path that wrote it.';
comment on column copilot_internal.conversation_messages.tenant_id is 'The tenant that it belongs to.';
comment on column copilot_internal.conversation_messages.user_id is
    'The user who wrote it; NULL is a model or the server.';
comment on column copilot_internal.conversation_messages.role is 'system, user, assistant, tool or developer.';
comment on column copilot_internal.conversation_messages.content is 'Its text.';
comment on column copilot_internal.conversation_messages.parts is
    'Its parts, such as calls of tools and attachments, as JSON.';
comment on column copilot_internal.conversation_messages.metadata is 'What the application adds, as JSON.';
comment on column copilot_internal.conversation_messages.token_count is 'Its tokens, as the caller counted them.';
comment on column copilot_internal.conversation_messages.sequence_in_path is
    'Its number on its path: 1, 2, 3 … without gaps.';
comment on column copilot_internal.conversation_messages.message_type is
    'standard, merge_summary, branch_point or system.';
comment on column copilot_internal.conversation_messages.is_pinned is 'Whether it stays in every context.';
comment on column copilot_internal.conversation_messages.pinned_at is 'When it was pinned.';
comment on column copilot_internal.conversation_messages.pinned_by is 'The user who pinned it.';
comment on column copilot_internal.conversation_messages.finished_at is
    'When its text was complete; NULL is a draft that holds the place of an answer.';
comment on column copilot_internal.conversation_messages.deleted_at is
    'When it was deleted: it is hidden from people and models, and its text is still there.';
comment on column copilot_internal.conversation_messages.deleted_by is 'The user who deleted it.';
comment on column copilot_internal.conversation_messages.erased_at is 'When its text was erased.';
comment on column copilot_internal.conversation_messages.copied_from_message_id is 'The message that a merge copied.';
comment on column copilot_internal.conversation_messages.request_id is 'Idempotency key.';
comment on column copilot_internal.conversation_messages.trace_id is 'Trace of the request that wrote it.';
comment on column copilot_internal.conversation_messages.root_span_name is 'Name of that trace''s first span.';
comment on column copilot_internal.conversation_messages.root_span_id is 'Id of that trace''s first span.';
comment on column copilot_internal.conversation_messages.created_at is
    'When its number was given. It never runs backwards along a path.';

comment on column public.conversation_messages_view.is_branch_point is 'Whether a path branches from it.';
comment on column public.conversation_messages_view.branched_to_paths is 'The paths that branch from it, oldest first.';
comment on column public.conversation_paths_view.message_count is 'How many messages it has written, deleted ones too.';
comment on column public.conversation_paths_view.branch_count is 'How many active paths branch from it.';

do $comments$
declare
    v_column record;
begin
    for v_column in
        select v.name as view, a.attname as name, pg_catalog.col_description(t.oid, s.attnum) as comment
        from (values ('conversations'), ('conversation_messages'), ('conversation_paths'), ('conversation_contexts'),
                     ('execution_contexts')) as v (name)
        join pg_catalog.pg_class t on t.relname = v.name and t.relnamespace = 'copilot_internal'::regnamespace
        join pg_catalog.pg_class w on w.relname = v.name || '_view' and w.relnamespace = 'public'::regnamespace
        join pg_catalog.pg_attribute a on a.attrelid = w.oid and a.attnum > 0
        join pg_catalog.pg_attribute s on s.attrelid = t.oid and s.attname = a.attname
        where pg_catalog.col_description(w.oid, a.attnum) is null
    loop
        execute pg_catalog.format('comment on column public.%I.%I is %L', v_column.view || '_view', v_column.name,
            v_column.comment);
    end loop;
end $comments$;
