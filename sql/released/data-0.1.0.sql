--
-- PostgreSQL database dump
--


-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Data for Name: compaction_operations; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.compaction_operations (id, "timestamp", conversation_id, path_id, tenant_id, user_id, strategy, triggered_by, tokens_before, tokens_after, messages_before, messages_after, messages_summarized, pinned_preserved, duration_ms, used_llm, cost_usd, success, error, metadata, state, through_position, summary, summary_parts, summary_role, kept_message_ids, base_operation_id, head_message_count, head_token_count, cost_record_id, applied_at, reverted_at, reverted_by, revert_reason, emptied_at, request_id, trace_id, span_id) FROM stdin;
\.


--
-- Data for Name: tenants; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.tenants (id, name, slug, type, plan, owner_id, created_by, settings, deleted_at, created_at, updated_at) FROM stdin;
00000000-0000-0000-0000-000000000001	tenant	\N	team	free	\N	\N	{}	\N	2026-11-28 21:06:02.280348+00	2026-11-28 21:06:02.280348+00
00000000-0000-0000-0000-000000000002	tenant	\N	team	free	\N	\N	{}	\N	2026-11-28 21:06:02.281646+00	2026-11-28 21:06:02.281646+00
cf6cc5ff-1152-40ac-aa79-c8a7ab838ca6	Personal	personal-0b4193c6	personal	free	00000000-0000-0000-0000-0000000000f1	\N	{}	\N	2026-11-28 21:06:02.283505+00	2026-11-28 21:06:02.283505+00
\.


--
-- Data for Name: conversation_configs; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_configs (id, tenant_id, user_id, config_level, merge_compression_strategy, merge_max_messages, merge_preserve_pinned, path_compression_strategy, path_max_messages, path_sliding_window_size, path_compression_threshold, auto_compact_enabled, compaction_interval_minutes, path_token_threshold, pinned_max_messages, archive_after, erase_after, updated_at, updated_by) FROM stdin;
\.


--
-- Data for Name: conversations; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversations (id, tenant_id, user_id, share_audience, tenant_access, authorization_model, authorization_spec, title, persona_id, jurisdictions, active_path_id, archived_at, expires_at, erasing_at, trace_id, root_span_name, root_span_id, metadata, request_id, request_digest, created_at, updated_at, last_message_at) FROM stdin;
21a223fa-b416-841b-b032-00b495d0001d	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	tenant	view	supabase_rbac	{}	a chat	\N	{}	21a223fa-b417-8d0d-9cfb-5ab06db800cf	\N	\N	\N	\N	\N	\N	{}	\N	\N	2026-11-28 21:06:02.390264+00	2026-11-28 21:06:02.393862+00	2026-11-28 21:06:02.393862+00
\.


--
-- Data for Name: conversation_contexts; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_contexts (conversation_id, tenant_id, active_node_ids, summary, trace_id, root_span_name, root_span_id, updated_at) FROM stdin;
\.


--
-- Data for Name: conversation_erasures; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_erasures (id, tenant_id, kind, conversation_id, message_id, user_id, requested_by, requested_at, completed_at, row_count, cursor, request_id_digest, cost_record_count, costs_settled_at) FROM stdin;
\.


--
-- Data for Name: conversation_paths; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_paths (id, conversation_id, tenant_id, parent_path_id, branch_point_message_id, branch_sequence, replaces_message_id, inherited_count, depth, name, description, is_primary, is_active, archived_at, merged_to_path_id, merged_at, merge_summary_message_id, merge_mode, merge_request_id, merge_first_sequence, merge_count, created_at, updated_at, last_sequence, last_message_id, last_message_at, open_message_count, open_token_count, compaction_checked_at, compaction_claimed_until, last_compaction_at, removal_count, last_erasure_at, request_id) FROM stdin;
21a223fa-b417-8d0d-9cfb-5ab06db800cf	21a223fa-b416-841b-b032-00b495d0001d	00000000-0000-0000-0000-000000000001	\N	\N	\N	\N	0	0	Main	\N	t	t	\N	\N	\N	\N	\N	\N	\N	\N	2026-11-28 21:06:02.391242+00	2026-11-28 21:06:02.391242+00	3	21a223fa-b41b-8dea-8093-f926ed11af6e	2026-11-28 21:06:02.395894+00	3	12	-infinity	\N	\N	0	\N	\N
21a223fa-b41e-81de-83e8-26164085c47f	21a223fa-b416-841b-b032-00b495d0001d	00000000-0000-0000-0000-000000000001	21a223fa-b417-8d0d-9cfb-5ab06db800cf	21a223fa-b41b-8dea-8093-f926ed11af6e	3	\N	3	1	\N	\N	f	t	\N	\N	\N	\N	\N	\N	\N	\N	2026-11-28 21:06:02.39848+00	2026-11-28 21:06:02.39848+00	0	\N	\N	3	12	-infinity	\N	\N	0	\N	\N
\.


--
-- Data for Name: conversation_messages; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_messages (id, conversation_id, path_id, tenant_id, user_id, role, content, parts, metadata, token_count, sequence_in_path, message_type, is_pinned, pinned_at, pinned_by, finished_at, deleted_at, deleted_by, erased_at, copied_from_message_id, request_id, trace_id, root_span_name, root_span_id, created_at) FROM stdin;
21a223fa-b419-83ab-9503-2d8c46fb7e8b	21a223fa-b416-841b-b032-00b495d0001d	21a223fa-b417-8d0d-9cfb-5ab06db800cf	00000000-0000-0000-0000-000000000001	\N	assistant	said at some length	\N	{}	\N	1	standard	f	\N	\N	2026-11-28 21:06:02.393862+00	\N	\N	\N	\N	\N	\N	\N	\N	2026-11-28 21:06:02.393862+00
21a223fa-b41b-803a-bcef-023c73989cbb	21a223fa-b416-841b-b032-00b495d0001d	21a223fa-b417-8d0d-9cfb-5ab06db800cf	00000000-0000-0000-0000-000000000001	\N	assistant	said at some length	\N	{}	\N	2	standard	f	\N	\N	2026-11-28 21:06:02.395258+00	\N	\N	\N	\N	\N	\N	\N	\N	2026-11-28 21:06:02.395258+00
21a223fa-b41b-8dea-8093-f926ed11af6e	21a223fa-b416-841b-b032-00b495d0001d	21a223fa-b417-8d0d-9cfb-5ab06db800cf	00000000-0000-0000-0000-000000000001	\N	assistant	said at some length	\N	{}	\N	3	standard	t	2026-11-28 21:06:02.397288+00	00000000-0000-0000-0000-0000000000f1	2026-11-28 21:06:02.395894+00	\N	\N	\N	\N	\N	\N	\N	\N	2026-11-28 21:06:02.395894+00
\.


--
-- Data for Name: conversation_path_segments; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_path_segments (tenant_id, path_id, to_position, source_path_id, shift) FROM stdin;
00000000-0000-0000-0000-000000000001	21a223fa-b41e-81de-83e8-26164085c47f	3	21a223fa-b417-8d0d-9cfb-5ab06db800cf	0
\.


--
-- Data for Name: conversation_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.conversation_rollups (tenant_id, conversation_id, path_id, source, cost_usd, record_count, unpriced_count) FROM stdin;
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-000000000000	llm	0.000630	20	0
\.


--
-- Data for Name: cost_corrections; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.cost_corrections (id, tenant_id, record_id, source, user_id, conversation_id, provider, name, cost_usd, charge_nanos, request_id, reason, charged_at, occurred_at, recorded_at, provider_cost_usd, path_id) FROM stdin;
\.


--
-- Data for Name: cost_quotas; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.cost_quotas (id, scope, scope_id, tenant_id, resource_type, limit_usd, period, time_zone, mode, warning_threshold, metadata, event_thresholds, suspended, created_at, updated_at) FROM stdin;
d255e570-57e2-4912-85a6-b6a216e171b3	tenant	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000001	all	150	month	UTC	hard	0.8	{}	{0.8,1.0}	f	2026-11-28 21:06:02.285479+00	2026-11-28 21:06:02.285479+00
a4b59adc-950e-459a-b1dd-74e626b03d61	tenant	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000001	e2b	50	month	UTC	hard	0.8	{}	{0.8,1.0}	f	2026-11-28 21:06:02.291639+00	2026-11-28 21:06:02.291639+00
f7e1bcb0-d949-4c3b-973b-1cf7b307f52c	tenant	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000001	llm	100	month	UTC	hard	0.8	{}	{0.8,1.0}	f	2026-11-28 21:06:02.291687+00	2026-11-28 21:06:02.291687+00
09cf39c0-e980-4b01-93ac-f279a6a02909	tenant	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000001	llm	10	year	Europe/Berlin	soft	0.5	{}	{0.8,1.0}	f	2026-11-28 21:06:02.312401+00	2026-11-28 21:06:02.312401+00
d34c51c2-6b53-49ae-a9c7-3dea71157500	user	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-000000000001	all	10	lifetime	UTC	hard	0.8	{}	{0.8,1.0}	f	2026-11-28 21:06:02.312594+00	2026-11-28 21:06:02.312594+00
fd408339-e14d-4eae-891e-1be654c3d415	platform	\N	\N	all	1000	lifetime	UTC	hard	0.8	{}	{0.8,1.0}	f	2026-11-28 21:06:02.312763+00	2026-11-28 21:06:02.312763+00
1d73ce9e-93cd-4b9b-a620-4d84ac410d14	tenant	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000001	e2b	2	lifetime	UTC	hard	0.8	{}	{0.1,0.2,1}	f	2026-11-28 21:06:02.312893+00	2026-11-28 21:06:02.313141+00
\.


--
-- Data for Name: cost_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.cost_rollups (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count, input_tokens, output_tokens, duration_seconds, provider_cost_usd) FROM stdin;
00000000-0000-0000-0000-000000000001	2026-11-25	llm	p	m	00000000-0000-0000-0000-0000000000f1	0.000240	5	0	80	80	0	0.000240
00000000-0000-0000-0000-000000000002	2026-11-28	llm	p	unknown	00000000-0000-0000-0000-000000000000	0	1	1	1	1	0	0
00000000-0000-0000-0000-000000000001	2026-11-28	charge			00000000-0000-0000-0000-000000000000	0.5	1	0	0	0	0	0.5
00000000-0000-0000-0000-000000000001	2026-11-24	llm	p	m	00000000-0000-0000-0000-0000000000f1	0.000117	2	0	39	39	0	0.000117
00000000-0000-0000-0000-000000000001	2026-11-26	llm	p	m	00000000-0000-0000-0000-0000000000f1	0.000138	4	0	46	46	0	0.000138
00000000-0000-0000-0000-000000000001	2026-11-28	e2b		t	00000000-0000-0000-0000-000000000000	0.25	1	0	0	0	1	0.25
00000000-0000-0000-0000-000000000001	2026-11-27	llm	p	m	00000000-0000-0000-0000-0000000000f1	0.000105	5	0	35	35	0	0.000105
00000000-0000-0000-0000-000000000001	2026-11-28	llm	p	m	00000000-0000-0000-0000-0000000000f1	0.000030	4	0	10	10	0	0.000030
00000000-0000-0000-0000-000000000000	2026-11-28	charge			00000000-0000-0000-0000-000000000000	0.25	1	0	0	0	0	0.25
\.


--
-- Data for Name: default_quotas; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.default_quotas (id, plan, resource_type, period, limit_usd, time_zone, mode, warning_threshold, event_thresholds) FROM stdin;
f74d414b-7be5-4896-b2ab-f02048a9b45a	\N	e2b	month	7	UTC	hard	0.8	{0.8,1.0}
bf54d527-bf38-4c76-a1b2-773d2d7cf685	gold	llm	month	9	UTC	hard	0.8	{0.8,1.0}
\.


--
-- Data for Name: e2b_cost_estimates; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.e2b_cost_estimates (id, sandbox_type, region, operation_type, confidence_level, estimated_cost_usd, effective_from, effective_to, tenant_id, from_history) FROM stdin;
03d94b83-f083-4c6f-9dcc-34b1d629e1a4	t	us-east-1	standard_session	conservative	0.5	2026-11-28 21:06:02.293239+00	\N	\N	f
\.


--
-- Data for Name: e2b_cost_records; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.e2b_cost_records (id, tenant_id, user_id, conversation_id, path_id, sandbox_id, sandbox_type, region, duration_seconds, vcpu_seconds, memory_gib_seconds, cost_usd, cost_status, charge_nanos, pricing, request_id, reservation_id, charged_at, occurred_at, recorded_at, metadata, provider, disk_gib_seconds, gpu_seconds, creations, egress_gib, provider_cost_usd) FROM stdin;
00000000-0284-8326-81f9-bb18afe052bc	00000000-0000-0000-0000-000000000001	\N	\N	\N	s	t	\N	1	\N	\N	0.25	priced	250000000	{"lines": [{"cost_usd": "0.25", "quantity": "1", "component": "duration_seconds", "usd_per_unit": "0.25"}], "source": "operator", "price_id": "afa6a321-2fe2-44ee-8d08-3d2fe533c94b", "total_usd": "0.25"}	folded	\N	2026-11-28 21:06:02.34974+00	2026-11-28 21:06:02.34974+00	2026-11-28 21:06:02.34974+00	{}	e2b	\N	\N	\N	\N	0.25
00000000-0285-86a7-8354-f000d036d580	00000000-0000-0000-0000-000000000001	\N	\N	\N	s	t	\N	2	\N	\N	0.5	priced	500000000	{"lines": [{"cost_usd": "0.5", "quantity": "2", "component": "duration_seconds", "usd_per_unit": "0.25"}], "source": "operator", "price_id": "afa6a321-2fe2-44ee-8d08-3d2fe533c94b", "total_usd": "0.5"}	pending	\N	2026-11-28 21:06:02.382024+00	2026-11-28 21:06:02.382024+00	2026-11-28 21:06:02.382024+00	{}	e2b	\N	\N	\N	\N	0.5
\.


--
-- Data for Name: e2b_pricing; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.e2b_pricing (id, tenant_id, sandbox_type, region, per_second_usd, vcpu_second_usd, memory_gib_second_usd, effective_from, effective_to, created_at, provider, disk_gib_second_usd, gpu_second_usd, creation_usd, egress_gib_usd) FROM stdin;
afa6a321-2fe2-44ee-8d08-3d2fe533c94b	\N	t	\N	0.25	\N	\N	2020-01-01 00:00:00+00	\N	2026-11-28 21:06:02.293458+00	e2b	\N	\N	\N	\N
\.


--
-- Data for Name: erasures; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.erasures (user_id, tenant_id, pseudonym, salt, started_at) FROM stdin;
\.


--
-- Data for Name: execution_contexts; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.execution_contexts (id, tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, created_at, last_used_at, expires_at, terminated_at, error_message, resource_usage, user_id, sandbox_type, region, reservation_id, estimated_cost_usd, ready_at, max_expires_at, creating_until, termination_reason, kill_claimed_until, released_at, duration_seconds, cost_record_id, late_for_context_id, request_id, trace_id, span_id) FROM stdin;
cdbb3357-eaab-4c77-8ac3-e58ada9e2d4a	00000000-0000-0000-0000-000000000001	21a223fa-b416-841b-b032-00b495d0001d	21a223fa-b41e-81de-83e8-26164085c47f	box	ready	2026-11-28 21:06:02.403298+00	2026-11-28 21:06:02.410778+00	2026-11-28 21:51:02.409181+00	\N	\N	\N	00000000-0000-0000-0000-0000000000f1	standard	\N	00000000-0285-8a6c-a264-ec0296da6ab2	0.081675034803	2026-11-28 21:06:02.408032+00	2026-11-29 21:06:02.403298+00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
\.


--
-- Data for Name: llm_cost_estimates; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.llm_cost_estimates (id, model_provider, model_name, operation_type, confidence_level, estimated_cost_usd, effective_from, effective_to, tenant_id, from_history) FROM stdin;
d30c5b79-dd97-4554-8f9b-ea6738140d0f	p	m	chat	conservative	0.5	2026-11-28 21:06:02.292996+00	\N	\N	f
2441b6f0-186e-430d-b7a1-95914c2bc0ba	p	m	chat	conservative	0.000057	2026-11-28 21:06:02.372713+00	\N	00000000-0000-0000-0000-000000000001	t
1d17a0c8-aaa3-467f-a45a-8bfbee38211a	p	m	chat	optimistic	0.000003	2026-11-28 21:06:02.37283+00	\N	00000000-0000-0000-0000-000000000001	t
83cc7b33-6cbb-4634-a958-9fce6b239f37	p	m	chat	typical	0.00003	2026-11-28 21:06:02.372845+00	\N	00000000-0000-0000-0000-000000000001	t
\.


--
-- Data for Name: llm_cost_records; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.llm_cost_records (id, tenant_id, user_id, conversation_id, path_id, task, model_provider, model_name, input_tokens, output_tokens, usage, service_tier, cost_usd, cost_status, charge_nanos, pricing, request_id, reservation_id, charged_at, occurred_at, recorded_at, trace_id, span_id, metadata, provider_cost_usd, reported_cost_usd) FROM stdin;
00000000-0283-8d85-a1c0-125dd2c61bdb	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	1	1	\N	\N	0.000003	priced	3000	{"lines": [{"tokens": 1, "cost_usd": "0.000001", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 1, "cost_usd": "0.000002", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000003"}	folded 1	\N	2026-11-28 16:06:02.336894+00	2026-11-28 16:06:02.336894+00	2026-11-28 21:06:02.338441+00	\N	\N	{}	0.000003	\N
00000000-0283-8dee-a1fb-a8df8f78418d	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	2	2	\N	\N	0.000006	priced	6000	{"lines": [{"tokens": 2, "cost_usd": "0.000002", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 2, "cost_usd": "0.000004", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000006"}	folded 2	\N	2026-11-28 11:06:02.341935+00	2026-11-28 11:06:02.341935+00	2026-11-28 21:06:02.341954+00	\N	\N	{}	0.000006	\N
00000000-0283-8e34-83af-7b2d2c361c09	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	3	3	\N	\N	0.000009	priced	9000	{"lines": [{"tokens": 3, "cost_usd": "0.000003", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 3, "cost_usd": "0.000006", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000009"}	folded 3	\N	2026-11-28 06:06:02.34239+00	2026-11-28 06:06:02.34239+00	2026-11-28 21:06:02.342401+00	\N	\N	{}	0.000009	\N
00000000-0283-8e78-82d9-130aee93bb1f	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	4	4	\N	\N	0.000012	priced	12000	{"lines": [{"tokens": 4, "cost_usd": "0.000004", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 4, "cost_usd": "0.000008", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000012"}	folded 4	\N	2026-11-28 01:06:02.342674+00	2026-11-28 01:06:02.342674+00	2026-11-28 21:06:02.342682+00	\N	\N	{}	0.000012	\N
00000000-0283-8ebc-81c1-ed2545a22bf7	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	5	5	\N	\N	0.000015	priced	15000	{"lines": [{"tokens": 5, "cost_usd": "0.000005", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 5, "cost_usd": "0.00001", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000015"}	folded 5	\N	2026-11-27 20:06:02.342905+00	2026-11-27 20:06:02.342905+00	2026-11-28 21:06:02.342909+00	\N	\N	{}	0.000015	\N
00000000-0283-8f00-81c0-d554cfdd2ba2	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	6	6	\N	\N	0.000018	priced	18000	{"lines": [{"tokens": 6, "cost_usd": "0.000006", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 6, "cost_usd": "0.000012", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000018"}	folded 6	\N	2026-11-27 15:06:02.34314+00	2026-11-27 15:06:02.34314+00	2026-11-28 21:06:02.343144+00	\N	\N	{}	0.000018	\N
00000000-0283-8f44-8144-db94d52c0a57	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	7	7	\N	\N	0.000021	priced	21000	{"lines": [{"tokens": 7, "cost_usd": "0.000007", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 7, "cost_usd": "0.000014", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000021"}	folded 7	\N	2026-11-27 10:06:02.343383+00	2026-11-27 10:06:02.343383+00	2026-11-28 21:06:02.343393+00	\N	\N	{}	0.000021	\N
00000000-0283-8f88-823e-76e1e2722290	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	8	8	\N	\N	0.000024	priced	24000	{"lines": [{"tokens": 8, "cost_usd": "0.000008", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 8, "cost_usd": "0.000016", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000024"}	folded 8	\N	2026-11-27 05:06:02.343615+00	2026-11-27 05:06:02.343615+00	2026-11-28 21:06:02.343618+00	\N	\N	{}	0.000024	\N
00000000-0283-8fcc-82aa-26c2b74dac9d	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	9	9	\N	\N	0.000027	priced	27000	{"lines": [{"tokens": 9, "cost_usd": "0.000009", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 9, "cost_usd": "0.000018", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000027"}	folded 9	\N	2026-11-27 00:06:02.343879+00	2026-11-27 00:06:02.343879+00	2026-11-28 21:06:02.343884+00	\N	\N	{}	0.000027	\N
00000000-0284-8011-a28d-3dc32adc4080	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	10	10	\N	\N	0.00003	priced	30000	{"lines": [{"tokens": 10, "cost_usd": "0.00001", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 10, "cost_usd": "0.00002", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.00003"}	folded 10	\N	2026-11-26 19:06:02.344144+00	2026-11-26 19:06:02.344144+00	2026-11-28 21:06:02.344153+00	\N	\N	{}	0.00003	\N
00000000-0284-8055-82a6-161639c21032	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	11	11	\N	\N	0.000033	priced	33000	{"lines": [{"tokens": 11, "cost_usd": "0.000011", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 11, "cost_usd": "0.000022", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000033"}	folded 11	\N	2026-11-26 14:06:02.344484+00	2026-11-26 14:06:02.344484+00	2026-11-28 21:06:02.344495+00	\N	\N	{}	0.000033	\N
00000000-0284-8099-812a-5123e4fb743d	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	12	12	\N	\N	0.000036	priced	36000	{"lines": [{"tokens": 12, "cost_usd": "0.000012", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 12, "cost_usd": "0.000024", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000036"}	folded 12	\N	2026-11-26 09:06:02.344778+00	2026-11-26 09:06:02.344778+00	2026-11-28 21:06:02.344787+00	\N	\N	{}	0.000036	\N
00000000-0284-80dd-82e9-366b32196448	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	13	13	\N	\N	0.000039	priced	39000	{"lines": [{"tokens": 13, "cost_usd": "0.000013", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 13, "cost_usd": "0.000026", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000039"}	folded 13	\N	2026-11-26 04:06:02.345076+00	2026-11-26 04:06:02.345076+00	2026-11-28 21:06:02.345083+00	\N	\N	{}	0.000039	\N
00000000-0284-8121-82b9-b9b2b310bd38	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	14	14	\N	\N	0.000042	priced	42000	{"lines": [{"tokens": 14, "cost_usd": "0.000014", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 14, "cost_usd": "0.000028", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000042"}	folded 14	\N	2026-11-25 23:06:02.345333+00	2026-11-25 23:06:02.345333+00	2026-11-28 21:06:02.345337+00	\N	\N	{}	0.000042	\N
00000000-0284-8165-81fa-fb88593133d0	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	15	15	\N	\N	0.000045	priced	45000	{"lines": [{"tokens": 15, "cost_usd": "0.000015", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 15, "cost_usd": "0.00003", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000045"}	folded 15	\N	2026-11-25 18:06:02.345652+00	2026-11-25 18:06:02.345652+00	2026-11-28 21:06:02.34566+00	\N	\N	{}	0.000045	\N
00000000-0284-81a9-8269-7e98881630b1	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	16	16	\N	\N	0.000048	priced	48000	{"lines": [{"tokens": 16, "cost_usd": "0.000016", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 16, "cost_usd": "0.000032", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000048"}	folded 16	\N	2026-11-25 13:06:02.345943+00	2026-11-25 13:06:02.345943+00	2026-11-28 21:06:02.34595+00	\N	\N	{}	0.000048	\N
00000000-0284-81ed-83bb-6f3180c86ac0	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	17	17	\N	\N	0.000051	priced	51000	{"lines": [{"tokens": 17, "cost_usd": "0.000017", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 17, "cost_usd": "0.000034", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000051"}	folded 17	\N	2026-11-25 08:06:02.347257+00	2026-11-25 08:06:02.347257+00	2026-11-28 21:06:02.347286+00	\N	\N	{}	0.000051	\N
00000000-0284-8232-a1c2-889b8fce526c	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	18	18	\N	\N	0.000054	priced	54000	{"lines": [{"tokens": 18, "cost_usd": "0.000018", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 18, "cost_usd": "0.000036", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000054"}	folded 18	\N	2026-11-25 03:06:02.347667+00	2026-11-25 03:06:02.347667+00	2026-11-28 21:06:02.347677+00	\N	\N	{}	0.000054	\N
00000000-0284-8276-a307-f8e35048f77c	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	19	19	\N	\N	0.000057	priced	57000	{"lines": [{"tokens": 19, "cost_usd": "0.000019", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 19, "cost_usd": "0.000038", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000057"}	folded 19	\N	2026-11-24 22:06:02.347998+00	2026-11-24 22:06:02.347998+00	2026-11-28 21:06:02.348007+00	\N	\N	{}	0.000057	\N
00000000-0284-82ba-a0dd-27f2e779a551	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	20	20	\N	\N	0.00006	priced	60000	{"lines": [{"tokens": 20, "cost_usd": "0.00002", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 20, "cost_usd": "0.00004", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.00006"}	folded 20	\N	2026-11-24 17:06:02.348315+00	2026-11-24 17:06:02.348315+00	2026-11-28 21:06:02.348324+00	\N	\N	{}	0.00006	\N
00000000-0284-82fe-8362-f171ac05ccfd	00000000-0000-0000-0000-000000000002	\N	\N	\N	\N	p	unknown	1	1	\N	\N	\N	unpriced	0	\N	\N	\N	2026-11-28 21:06:02.348703+00	2026-11-28 21:06:02.348703+00	2026-11-28 21:06:02.348703+00	\N	\N	{}	\N	\N
00000000-0285-8130-836f-ea38b338233b	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	1	1	\N	\N	0.000003	priced	3000	{"lines": [{"tokens": 1, "cost_usd": "0.000001", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 1, "cost_usd": "0.000002", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000003"}	pending 1	\N	2026-11-28 16:06:02.375513+00	2026-11-28 16:06:02.375513+00	2026-11-28 21:06:02.375543+00	\N	\N	{}	0.000003	\N
00000000-0285-8174-813e-3d51c6834fa8	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	2	2	\N	\N	0.000006	priced	6000	{"lines": [{"tokens": 2, "cost_usd": "0.000002", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 2, "cost_usd": "0.000004", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000006"}	pending 2	\N	2026-11-28 11:06:02.375979+00	2026-11-28 11:06:02.375979+00	2026-11-28 21:06:02.375989+00	\N	\N	{}	0.000006	\N
00000000-0285-81b8-81cd-b734b1c44916	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	3	3	\N	\N	0.000009	priced	9000	{"lines": [{"tokens": 3, "cost_usd": "0.000003", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 3, "cost_usd": "0.000006", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000009"}	pending 3	\N	2026-11-28 06:06:02.376276+00	2026-11-28 06:06:02.376276+00	2026-11-28 21:06:02.376282+00	\N	\N	{}	0.000009	\N
00000000-0285-81fc-8212-51ab7436fa7a	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	4	4	\N	\N	0.000012	priced	12000	{"lines": [{"tokens": 4, "cost_usd": "0.000004", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 4, "cost_usd": "0.000008", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000012"}	pending 4	\N	2026-11-28 01:06:02.37655+00	2026-11-28 01:06:02.37655+00	2026-11-28 21:06:02.376555+00	\N	\N	{}	0.000012	\N
00000000-0285-8241-a131-1c2780f384f5	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	5	5	\N	\N	0.000015	priced	15000	{"lines": [{"tokens": 5, "cost_usd": "0.000005", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 5, "cost_usd": "0.00001", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000015"}	pending 5	\N	2026-11-27 20:06:02.376845+00	2026-11-27 20:06:02.376845+00	2026-11-28 21:06:02.376851+00	\N	\N	{}	0.000015	\N
00000000-0285-8285-a165-651d567c3eec	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	6	6	\N	\N	0.000018	priced	18000	{"lines": [{"tokens": 6, "cost_usd": "0.000006", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 6, "cost_usd": "0.000012", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000018"}	pending 6	\N	2026-11-27 15:06:02.37714+00	2026-11-27 15:06:02.37714+00	2026-11-28 21:06:02.377145+00	\N	\N	{}	0.000018	\N
00000000-0285-82c9-a168-d9c8c5aa4d4e	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	7	7	\N	\N	0.000021	priced	21000	{"lines": [{"tokens": 7, "cost_usd": "0.000007", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 7, "cost_usd": "0.000014", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000021"}	pending 7	\N	2026-11-27 10:06:02.377439+00	2026-11-27 10:06:02.377439+00	2026-11-28 21:06:02.377444+00	\N	\N	{}	0.000021	\N
00000000-0285-830d-a397-e781b1fb5ac9	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	8	8	\N	\N	0.000024	priced	24000	{"lines": [{"tokens": 8, "cost_usd": "0.000008", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 8, "cost_usd": "0.000016", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000024"}	pending 8	\N	2026-11-27 05:06:02.377724+00	2026-11-27 05:06:02.377724+00	2026-11-28 21:06:02.377729+00	\N	\N	{}	0.000024	\N
00000000-0285-8351-a32a-ce04aa38a31a	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	9	9	\N	\N	0.000027	priced	27000	{"lines": [{"tokens": 9, "cost_usd": "0.000009", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 9, "cost_usd": "0.000018", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000027"}	pending 9	\N	2026-11-27 00:06:02.37799+00	2026-11-27 00:06:02.37799+00	2026-11-28 21:06:02.377995+00	\N	\N	{}	0.000027	\N
00000000-0285-8395-a021-83b9392f6bfb	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	10	10	\N	\N	0.00003	priced	30000	{"lines": [{"tokens": 10, "cost_usd": "0.00001", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 10, "cost_usd": "0.00002", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.00003"}	pending 10	\N	2026-11-26 19:06:02.378373+00	2026-11-26 19:06:02.378373+00	2026-11-28 21:06:02.378381+00	\N	\N	{}	0.00003	\N
00000000-0285-83d9-833b-5d17cb34a943	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	11	11	\N	\N	0.000033	priced	33000	{"lines": [{"tokens": 11, "cost_usd": "0.000011", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 11, "cost_usd": "0.000022", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000033"}	pending 11	\N	2026-11-26 14:06:02.378714+00	2026-11-26 14:06:02.378714+00	2026-11-28 21:06:02.378721+00	\N	\N	{}	0.000033	\N
00000000-0285-841e-a1a8-5a391f61c6e1	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	12	12	\N	\N	0.000036	priced	36000	{"lines": [{"tokens": 12, "cost_usd": "0.000012", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 12, "cost_usd": "0.000024", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000036"}	pending 12	\N	2026-11-26 09:06:02.379035+00	2026-11-26 09:06:02.379035+00	2026-11-28 21:06:02.379041+00	\N	\N	{}	0.000036	\N
00000000-0285-8462-a1da-449e0a531724	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	13	13	\N	\N	0.000039	priced	39000	{"lines": [{"tokens": 13, "cost_usd": "0.000013", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 13, "cost_usd": "0.000026", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000039"}	pending 13	\N	2026-11-26 04:06:02.379347+00	2026-11-26 04:06:02.379347+00	2026-11-28 21:06:02.379358+00	\N	\N	{}	0.000039	\N
00000000-0285-84a6-a3eb-c6093e6488f4	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	14	14	\N	\N	0.000042	priced	42000	{"lines": [{"tokens": 14, "cost_usd": "0.000014", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 14, "cost_usd": "0.000028", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000042"}	pending 14	\N	2026-11-25 23:06:02.379656+00	2026-11-25 23:06:02.379656+00	2026-11-28 21:06:02.379661+00	\N	\N	{}	0.000042	\N
00000000-0285-84ea-a143-a8fd50c1aff6	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	15	15	\N	\N	0.000045	priced	45000	{"lines": [{"tokens": 15, "cost_usd": "0.000015", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 15, "cost_usd": "0.00003", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000045"}	pending 15	\N	2026-11-25 18:06:02.379909+00	2026-11-25 18:06:02.379909+00	2026-11-28 21:06:02.379912+00	\N	\N	{}	0.000045	\N
00000000-0285-852e-a0cd-5053a21de4ac	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	16	16	\N	\N	0.000048	priced	48000	{"lines": [{"tokens": 16, "cost_usd": "0.000016", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 16, "cost_usd": "0.000032", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000048"}	pending 16	\N	2026-11-25 13:06:02.380194+00	2026-11-25 13:06:02.380194+00	2026-11-28 21:06:02.380199+00	\N	\N	{}	0.000048	\N
00000000-0285-8572-a371-86242d20cd93	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	17	17	\N	\N	0.000051	priced	51000	{"lines": [{"tokens": 17, "cost_usd": "0.000017", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 17, "cost_usd": "0.000034", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000051"}	pending 17	\N	2026-11-25 08:06:02.380565+00	2026-11-25 08:06:02.380565+00	2026-11-28 21:06:02.380572+00	\N	\N	{}	0.000051	\N
00000000-0285-85b6-a023-525d72171946	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	18	18	\N	\N	0.000054	priced	54000	{"lines": [{"tokens": 18, "cost_usd": "0.000018", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 18, "cost_usd": "0.000036", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000054"}	pending 18	\N	2026-11-25 03:06:02.380874+00	2026-11-25 03:06:02.380874+00	2026-11-28 21:06:02.380879+00	\N	\N	{}	0.000054	\N
00000000-0285-85fa-a1c3-41c6da6a8571	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	19	19	\N	\N	0.000057	priced	57000	{"lines": [{"tokens": 19, "cost_usd": "0.000019", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 19, "cost_usd": "0.000038", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.000057"}	pending 19	\N	2026-11-24 22:06:02.381171+00	2026-11-24 22:06:02.381171+00	2026-11-28 21:06:02.381176+00	\N	\N	{}	0.000057	\N
00000000-0285-8640-816b-bb4397f9ab39	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-0000000000f1	\N	\N	p	m	20	20	\N	\N	0.00006	priced	60000	{"lines": [{"tokens": 20, "cost_usd": "0.00002", "component": "input", "usd_per_token": "0.000001"}, {"tokens": 20, "cost_usd": "0.00004", "component": "output", "usd_per_token": "0.000002"}], "source": "operator", "price_id": "916ec9ac-49d8-4257-9ac4-436088e7e698", "total_usd": "0.00006"}	pending 20	\N	2026-11-24 17:06:02.381452+00	2026-11-24 17:06:02.381452+00	2026-11-28 21:06:02.381457+00	\N	\N	{}	0.00006	\N
00000000-0285-8683-a00a-8af2e40ba16e	00000000-0000-0000-0000-000000000002	\N	\N	\N	\N	p	unknown	1	1	\N	\N	\N	unpriced	0	\N	\N	\N	2026-11-28 21:06:02.381822+00	2026-11-28 21:06:02.381822+00	2026-11-28 21:06:02.381822+00	\N	\N	{}	\N	\N
\.


--
-- Data for Name: model_aliases; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.model_aliases (id, model_provider, model_name, price_provider, price_model) FROM stdin;
dc903f80-d711-4aee-aecc-1878954dd878	p	alias	p	m
\.


--
-- Data for Name: model_pricing; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.model_pricing (id, tenant_id, model_provider, model_name, input_per_million_usd, output_per_million_usd, components, effective_from, effective_to, created_at, imported, source, list_key, details, missing_since, list_name, entry, named_by) FROM stdin;
916ec9ac-49d8-4257-9ac4-436088e7e698	\N	p	m	1	2	{"cache_read_input_token_cost": 0.0000001}	2020-01-01 00:00:00+00	\N	2026-11-28 21:06:02.294455+00	f	\N	\N	{}	\N	\N	\N	\N
a444aefd-237b-4804-9c37-4d27d32cdfc7	\N	l	a	1	\N	{}	2020-01-01 00:00:00+00	2021-01-01 00:00:00+00	2026-11-28 21:06:02.297463+00	t	one	l/a	{}	\N	litellm	\N	\N
5afa1b92-d439-459f-aa42-eb8aa53daa67	\N	l	a	2	\N	{}	2021-01-01 00:00:00+00	\N	2026-11-28 21:06:02.298902+00	t	two	l/a	{}	\N	litellm	\N	\N
43dd1120-fb68-47db-841b-295d8e3a9043	\N	l	b	0.00013	\N	{}	2020-01-01 00:00:00+00	\N	2026-11-28 21:06:02.297749+00	t	one	l/b	{}	2021-01-01 00:00:00+00	litellm	\N	\N
39e057b8-6a69-4871-b21c-20251c67adce	\N	openai	gpt-4o	1000	1000	{}	2020-01-01 00:00:00+00	\N	2026-11-28 21:06:02.299161+00	f	\N	\N	{}	\N	\N	\N	\N
\.


--
-- Data for Name: pending_costs; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos) FROM stdin;
00000000-0000-0000-0000-000000000001	00000000-0285-8130-836f-ea38b338233b	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-28 16:06:02.375513+00	3000
00000000-0000-0000-0000-000000000001	00000000-0285-8174-813e-3d51c6834fa8	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-28 11:06:02.375979+00	6000
00000000-0000-0000-0000-000000000001	00000000-0285-81b8-81cd-b734b1c44916	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-28 06:06:02.376276+00	9000
00000000-0000-0000-0000-000000000001	00000000-0285-81fc-8212-51ab7436fa7a	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-28 01:06:02.37655+00	12000
00000000-0000-0000-0000-000000000001	00000000-0285-8241-a131-1c2780f384f5	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-27 20:06:02.376845+00	15000
00000000-0000-0000-0000-000000000001	00000000-0285-8285-a165-651d567c3eec	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-27 15:06:02.37714+00	18000
00000000-0000-0000-0000-000000000001	00000000-0285-82c9-a168-d9c8c5aa4d4e	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-27 10:06:02.377439+00	21000
00000000-0000-0000-0000-000000000001	00000000-0285-830d-a397-e781b1fb5ac9	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-27 05:06:02.377724+00	24000
00000000-0000-0000-0000-000000000001	00000000-0285-8351-a32a-ce04aa38a31a	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-27 00:06:02.37799+00	27000
00000000-0000-0000-0000-000000000001	00000000-0285-8395-a021-83b9392f6bfb	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-26 19:06:02.378373+00	30000
00000000-0000-0000-0000-000000000001	00000000-0285-83d9-833b-5d17cb34a943	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-26 14:06:02.378714+00	33000
00000000-0000-0000-0000-000000000001	00000000-0285-841e-a1a8-5a391f61c6e1	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-26 09:06:02.379035+00	36000
00000000-0000-0000-0000-000000000001	00000000-0285-8462-a1da-449e0a531724	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-26 04:06:02.379347+00	39000
00000000-0000-0000-0000-000000000001	00000000-0285-84a6-a3eb-c6093e6488f4	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-25 23:06:02.379656+00	42000
00000000-0000-0000-0000-000000000001	00000000-0285-84ea-a143-a8fd50c1aff6	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-25 18:06:02.379909+00	45000
00000000-0000-0000-0000-000000000001	00000000-0285-852e-a0cd-5053a21de4ac	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-25 13:06:02.380194+00	48000
00000000-0000-0000-0000-000000000001	00000000-0285-8572-a371-86242d20cd93	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-25 08:06:02.380565+00	51000
00000000-0000-0000-0000-000000000001	00000000-0285-85b6-a023-525d72171946	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-25 03:06:02.380874+00	54000
00000000-0000-0000-0000-000000000001	00000000-0285-85fa-a1c3-41c6da6a8571	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-24 22:06:02.381171+00	57000
00000000-0000-0000-0000-000000000001	00000000-0285-8640-816b-bb4397f9ab39	llm	00000000-0000-0000-0000-0000000000f1	llm	2026-11-24 17:06:02.381452+00	60000
00000000-0000-0000-0000-000000000002	00000000-0285-8683-a00a-8af2e40ba16e	llm	00000000-0000-0000-0000-000000000000	llm	2026-11-28 21:06:02.381822+00	0
00000000-0000-0000-0000-000000000001	00000000-0285-86a7-8354-f000d036d580	e2b	00000000-0000-0000-0000-000000000000	e2b	2026-11-28 21:06:02.382024+00	500000000
00000000-0000-0000-0000-000000000001	00000000-0285-870e-a1dc-6b37ccf19ac6	charge	00000000-0000-0000-0000-000000000000	llm	2026-11-28 21:06:02.382515+00	500000000
00000000-0000-0000-0000-000000000000	00000000-0285-8737-8137-4afc6110ce8c	charge	00000000-0000-0000-0000-000000000000	e2b	2026-11-28 21:06:02.382823+00	250000000
\.


--
-- Data for Name: period_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.period_rollups (tenant_id, grain, bucket, source, provider, name, cost_usd, record_count, unpriced_count, input_tokens, output_tokens, duration_seconds, provider_cost_usd) FROM stdin;
00000000-0000-0000-0000-000000000001	hour	2026-11-25 23:00:00+00	llm	p	m	0.000042	1	0	14	14	0	0.000042
00000000-0000-0000-0000-000000000001	hour	2026-11-28 21:00:00+00	charge			0.5	1	0	0	0	0	0.5
00000000-0000-0000-0000-000000000001	hour	2026-11-28 11:00:00+00	llm	p	m	0.000006	1	0	2	2	0	0.000006
00000000-0000-0000-0000-000000000002	day	2026-11-28 00:00:00+00	llm	p	unknown	0	1	1	1	1	0	0
00000000-0000-0000-0000-000000000001	day	2026-11-25 00:00:00+00	llm	p	m	0.000240	5	0	80	80	0	0.000240
00000000-0000-0000-0000-000000000001	hour	2026-11-28 01:00:00+00	llm	p	m	0.000012	1	0	4	4	0	0.000012
00000000-0000-0000-0000-000000000001	hour	2026-11-24 17:00:00+00	llm	p	m	0.00006	1	0	20	20	0	0.00006
00000000-0000-0000-0000-000000000002	month	2026-11-01 00:00:00+00	llm	p	unknown	0	1	1	1	1	0	0
00000000-0000-0000-0000-000000000001	hour	2026-11-27 05:00:00+00	llm	p	m	0.000024	1	0	8	8	0	0.000024
00000000-0000-0000-0000-000000000002	hour	2026-11-28 21:00:00+00	llm	p	unknown	0	1	1	1	1	0	0
00000000-0000-0000-0000-000000000001	hour	2026-11-28 16:00:00+00	llm	p	m	0.000003	1	0	1	1	0	0.000003
00000000-0000-0000-0000-000000000001	hour	2026-11-25 13:00:00+00	llm	p	m	0.000048	1	0	16	16	0	0.000048
00000000-0000-0000-0000-000000000001	month	2026-11-01 00:00:00+00	llm	p	m	0.000630	20	0	210	210	0	0.000630
00000000-0000-0000-0000-000000000001	hour	2026-11-27 00:00:00+00	llm	p	m	0.000027	1	0	9	9	0	0.000027
00000000-0000-0000-0000-000000000001	hour	2026-11-25 08:00:00+00	llm	p	m	0.000051	1	0	17	17	0	0.000051
00000000-0000-0000-0000-000000000001	hour	2026-11-27 15:00:00+00	llm	p	m	0.000018	1	0	6	6	0	0.000018
00000000-0000-0000-0000-000000000001	day	2026-11-26 00:00:00+00	llm	p	m	0.000138	4	0	46	46	0	0.000138
00000000-0000-0000-0000-000000000001	day	2026-11-27 00:00:00+00	llm	p	m	0.000105	5	0	35	35	0	0.000105
00000000-0000-0000-0000-000000000001	day	2026-11-24 00:00:00+00	llm	p	m	0.000117	2	0	39	39	0	0.000117
00000000-0000-0000-0000-000000000001	hour	2026-11-25 03:00:00+00	llm	p	m	0.000054	1	0	18	18	0	0.000054
00000000-0000-0000-0000-000000000001	hour	2026-11-26 14:00:00+00	llm	p	m	0.000033	1	0	11	11	0	0.000033
00000000-0000-0000-0000-000000000001	hour	2026-11-28 21:00:00+00	e2b		t	0.25	1	0	0	0	1	0.25
00000000-0000-0000-0000-000000000001	month	2026-11-01 00:00:00+00	charge			0.5	1	0	0	0	0	0.5
00000000-0000-0000-0000-000000000001	month	2026-11-01 00:00:00+00	e2b		t	0.25	1	0	0	0	1	0.25
00000000-0000-0000-0000-000000000001	day	2026-11-28 00:00:00+00	charge			0.5	1	0	0	0	0	0.5
00000000-0000-0000-0000-000000000001	day	2026-11-28 00:00:00+00	llm	p	m	0.000030	4	0	10	10	0	0.000030
00000000-0000-0000-0000-000000000001	hour	2026-11-24 22:00:00+00	llm	p	m	0.000057	1	0	19	19	0	0.000057
00000000-0000-0000-0000-000000000001	hour	2026-11-25 18:00:00+00	llm	p	m	0.000045	1	0	15	15	0	0.000045
00000000-0000-0000-0000-000000000001	hour	2026-11-28 06:00:00+00	llm	p	m	0.000009	1	0	3	3	0	0.000009
00000000-0000-0000-0000-000000000001	day	2026-11-28 00:00:00+00	e2b		t	0.25	1	0	0	0	1	0.25
00000000-0000-0000-0000-000000000001	hour	2026-11-26 19:00:00+00	llm	p	m	0.00003	1	0	10	10	0	0.00003
00000000-0000-0000-0000-000000000001	hour	2026-11-26 04:00:00+00	llm	p	m	0.000039	1	0	13	13	0	0.000039
00000000-0000-0000-0000-000000000001	hour	2026-11-26 09:00:00+00	llm	p	m	0.000036	1	0	12	12	0	0.000036
00000000-0000-0000-0000-000000000001	hour	2026-11-27 10:00:00+00	llm	p	m	0.000021	1	0	7	7	0	0.000021
00000000-0000-0000-0000-000000000001	hour	2026-11-27 20:00:00+00	llm	p	m	0.000015	1	0	5	5	0	0.000015
00000000-0000-0000-0000-000000000000	month	2026-11-01 00:00:00+00	charge			0.25	1	0	0	0	0	0.25
00000000-0000-0000-0000-000000000000	day	2026-11-28 00:00:00+00	charge			0.25	1	0	0	0	0	0.25
00000000-0000-0000-0000-000000000000	hour	2026-11-28 21:00:00+00	charge			0.25	1	0	0	0	0	0.25
\.


--
-- Data for Name: price_markups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.price_markups (id, tenant_id, model_provider, model_name, factor, effective_from, effective_to, step, on_provided) FROM stdin;
075bb1ac-ec9e-4ca2-8c70-02bcc771358f	00000000-0000-0000-0000-000000000001	\N	\N	1	2020-01-01 00:00:00+00	\N	1	f
\.


--
-- Data for Name: purged_costs; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.purged_costs (id, resource_type, charged_at, occurred_at, cost_usd, charge_nanos, provider_cost_usd) FROM stdin;
\.


--
-- Data for Name: quota_charges; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.quota_charges (id, tenant_id, user_id, resource_type, cost_usd, charge_nanos, request_id, charged_at, recorded_at, reservation_id, reason, record_id) FROM stdin;
00000000-0284-83a5-a1a4-85d3dbf4a6e5	00000000-0000-0000-0000-000000000001	\N	llm	0.5	500000000	folded	2026-11-28 21:06:02.351928+00	2026-11-28 21:06:02.351928+00	\N	\N	\N
00000000-0284-83e0-8153-c7bc2f5209fc	\N	\N	e2b	0.25	250000000	folded	2026-11-28 21:06:02.352451+00	2026-11-28 21:06:02.352451+00	\N	\N	\N
00000000-0285-870e-a1dc-6b37ccf19ac6	00000000-0000-0000-0000-000000000001	\N	llm	0.5	500000000	pending	2026-11-28 21:06:02.382515+00	2026-11-28 21:06:02.382515+00	\N	\N	\N
00000000-0285-8737-8137-4afc6110ce8c	\N	\N	e2b	0.25	250000000	pending	2026-11-28 21:06:02.382823+00	2026-11-28 21:06:02.382823+00	\N	\N	\N
\.


--
-- Data for Name: quota_events; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.quota_events (id, tenant_id, quota_id, event_type, threshold, period_start, payload, created_at, acknowledged_at, period_end, limit_nanos, spent_nanos, claimed_until) FROM stdin;
01a223fa-b40e-7057-b54c-c305056f19ab	00000000-0000-0000-0000-000000000001	1d73ce9e-93cd-4b9b-a620-4d84ac410d14	threshold	0.2	\N	{"mode": "hard", "scope": "tenant", "period": "lifetime", "scope_id": "00000000-0000-0000-0000-000000000001", "limit_usd": 2, "resource_type": "e2b", "current_spend_usd": 0.75}	2026-11-28 21:06:02.382395+00	\N	\N	2000000000	750000000	\N
01a223fa-b3c9-77da-b8d2-f9b20e7161f2	00000000-0000-0000-0000-000000000001	1d73ce9e-93cd-4b9b-a620-4d84ac410d14	limit_changed	\N	\N	{"new": {"mode": "hard", "limit_usd": 2, "suspended": false}, "old": {"mode": "hard", "limit_usd": 1, "suspended": false}, "scope": "tenant", "period": "lifetime", "scope_id": "00000000-0000-0000-0000-000000000001", "resource_type": "e2b"}	2026-11-28 21:06:02.313611+00	2026-11-28 21:06:02.385437+00	\N	2000000000	\N	2026-11-28 21:07:02.385192+00
01a223fa-b3ef-71eb-a1d5-32537234898a	00000000-0000-0000-0000-000000000001	1d73ce9e-93cd-4b9b-a620-4d84ac410d14	threshold	0.1	\N	{"mode": "hard", "scope": "tenant", "period": "lifetime", "scope_id": "00000000-0000-0000-0000-000000000001", "limit_usd": 2, "resource_type": "e2b", "current_spend_usd": 0.25}	2026-11-28 21:06:02.351539+00	\N	\N	2000000000	250000000	2026-11-28 21:07:02.386882+00
\.


--
-- Data for Name: quota_overrides; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.quota_overrides (id, quota_id, tenant_id, starts_at, ends_at, amount_usd, reason, created_at) FROM stdin;
27284cdb-f631-4d05-b25f-3598d3a13225	d255e570-57e2-4912-85a6-b6a216e171b3	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.321812+00
bef08747-6124-4ceb-adc5-e31b53338819	1d73ce9e-93cd-4b9b-a620-4d84ac410d14	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.325961+00
5e3566b9-52cc-47f0-a9e5-f9c846c5d097	a4b59adc-950e-459a-b1dd-74e626b03d61	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.328489+00
8fef9228-bef7-4d3f-98b8-407cde2bcd44	f7e1bcb0-d949-4c3b-973b-1cf7b307f52c	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.33098+00
6783aa8a-f058-4427-8bd9-53dfcd1eb1f4	09cf39c0-e980-4b01-93ac-f279a6a02909	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.333592+00
6b26d2cb-9498-428a-9c94-a8bf771a29e7	d34c51c2-6b53-49ae-a9c7-3dea71157500	00000000-0000-0000-0000-000000000001	2890-01-01 00:00:00+00	2900-01-01 00:00:00+00	1	an anniversary	2026-11-28 21:06:02.336045+00
\.


--
-- Data for Name: quota_reservations; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.quota_reservations (id, tenant_id, user_id, resource_type, request_id, requested_usd, ttl, reserved_usd, held_nanos, reserved_at, expires_at, state, charged_usd, released_usd, overrun_usd, late, reason, resolved_at, metadata) FROM stdin;
00000000-0285-8a6c-a264-ec0296da6ab2	00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	e2b	execution_context:cdbb3357-eaab-4c77-8ac3-e58ada9e2d4a	0.05445	00:45:00	0.081675034803	81675035	2026-11-28 21:06:02.404478+00	2026-11-28 22:06:02.409404+00	held	\N	\N	\N	\N	\N	\N	{}
\.


--
-- Data for Name: quota_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.quota_rollups (tenant_id, user_id, resource_type, grain, bucket, nanos) FROM stdin;
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	e2b	day	2026-11-28 00:00:00+00	250000000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	e2b	month	2026-11-01 00:00:00+00	250000000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	e2b	quarter	2026-11-28 21:00:00+00	250000000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	day	2026-11-24 00:00:00+00	117000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	day	2026-11-25 00:00:00+00	240000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	day	2026-11-26 00:00:00+00	138000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	day	2026-11-27 00:00:00+00	105000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	day	2026-11-28 00:00:00+00	500030000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	month	2026-11-01 00:00:00+00	500630000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-24 17:00:00+00	60000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-24 22:00:00+00	57000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 03:00:00+00	54000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 08:00:00+00	51000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 13:00:00+00	48000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 18:00:00+00	45000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 23:00:00+00	42000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 04:00:00+00	39000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 09:00:00+00	36000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 14:00:00+00	33000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 19:00:00+00	30000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 00:00:00+00	27000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 05:00:00+00	24000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 10:00:00+00	21000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 15:00:00+00	18000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 20:00:00+00	15000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 01:00:00+00	12000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 06:00:00+00	9000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 11:00:00+00	6000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 16:00:00+00	3000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 21:00:00+00	500000000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	day	2026-11-24 00:00:00+00	117000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	day	2026-11-25 00:00:00+00	240000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	day	2026-11-26 00:00:00+00	138000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	day	2026-11-27 00:00:00+00	105000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	day	2026-11-28 00:00:00+00	30000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	month	2026-11-01 00:00:00+00	630000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-24 17:00:00+00	60000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-24 22:00:00+00	57000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-25 03:00:00+00	54000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-25 08:00:00+00	51000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-25 13:00:00+00	48000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-25 18:00:00+00	45000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-25 23:00:00+00	42000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-26 04:00:00+00	39000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-26 09:00:00+00	36000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-26 14:00:00+00	33000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-26 19:00:00+00	30000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-27 00:00:00+00	27000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-27 05:00:00+00	24000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-27 10:00:00+00	21000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-27 15:00:00+00	18000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-27 20:00:00+00	15000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-28 01:00:00+00	12000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-28 06:00:00+00	9000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-28 11:00:00+00	6000
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	quarter	2026-11-28 16:00:00+00	3000
00000000-0000-0000-0000-000000000002	00000000-0000-0000-0000-000000000000	llm	day	2026-11-28 00:00:00+00	0
00000000-0000-0000-0000-000000000002	00000000-0000-0000-0000-000000000000	llm	month	2026-11-01 00:00:00+00	0
00000000-0000-0000-0000-000000000002	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 21:00:00+00	0
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	e2b	day	2026-11-28 00:00:00+00	500000000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	e2b	month	2026-11-01 00:00:00+00	500000000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	e2b	quarter	2026-11-28 21:00:00+00	500000000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	day	2026-11-24 00:00:00+00	117000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	day	2026-11-25 00:00:00+00	240000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	day	2026-11-26 00:00:00+00	138000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	day	2026-11-27 00:00:00+00	105000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	day	2026-11-28 00:00:00+00	500030000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	month	2026-11-01 00:00:00+00	500630000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-24 17:00:00+00	60000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-24 22:00:00+00	57000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 03:00:00+00	54000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 08:00:00+00	51000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 13:00:00+00	48000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 18:00:00+00	45000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-25 23:00:00+00	42000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 04:00:00+00	39000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 09:00:00+00	36000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 14:00:00+00	33000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-26 19:00:00+00	30000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 00:00:00+00	27000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 05:00:00+00	24000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 10:00:00+00	21000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 15:00:00+00	18000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-27 20:00:00+00	15000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 01:00:00+00	12000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 06:00:00+00	9000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 11:00:00+00	6000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 16:00:00+00	3000
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	llm	quarter	2026-11-28 21:00:00+00	500000000
\.


--
-- Data for Name: reservation_extensions; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.reservation_extensions (tenant_id, request_id, reservation_id, ttl, additional_usd, reserved_usd, expires_at, extended_at) FROM stdin;
\.


--
-- Data for Name: retired_costs; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.retired_costs (id, tenant_id, user_id, conversation_id, path_id, source, provider, name, resource_type, charged_at, occurred_at, records, cost_usd, charge_nanos, input_tokens, output_tokens, provider_cost_usd) FROM stdin;
\.


--
-- Data for Name: tenant_llm_policies; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.tenant_llm_policies (tenant_id, default_provider, default_model, allowed_providers, denied_providers, allowed_models, denied_models, egress_mode, task_overrides, user_overrides, created_at, updated_at) FROM stdin;
00000000-0000-0000-0000-000000000001	\N	\N	\N	[]	\N	["x*"]	open	{}	{"00000000-0000-0000-0000-000000000001": {"egress_mode": "blocked"}}	2026-11-28 21:06:02.292493+00	2026-11-28 21:06:02.292493+00
\.


--
-- Data for Name: tenant_memberships; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.tenant_memberships (tenant_id, user_id, role, status, joined_at) FROM stdin;
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	member	active	2026-11-28 21:06:02.281981+00
\.


--
-- Data for Name: total_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.total_rollups (tenant_id, source, provider, name, cost_usd, record_count, unpriced_count, input_tokens, output_tokens, duration_seconds, provider_cost_usd) FROM stdin;
00000000-0000-0000-0000-000000000001	e2b		t	0.25	1	0	0	0	1	0.25
00000000-0000-0000-0000-000000000001	charge			0.5	1	0	0	0	0	0.5
00000000-0000-0000-0000-000000000002	llm	p	unknown	0	1	1	1	1	0	0
00000000-0000-0000-0000-000000000001	llm	p	m	0.000630	20	0	210	210	0	0.000630
00000000-0000-0000-0000-000000000000	charge			0.25	1	0	0	0	0	0.25
\.


--
-- Data for Name: user_preferences; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.user_preferences (user_id, current_tenant_id, preferences) FROM stdin;
00000000-0000-0000-0000-0000000000f1	00000000-0000-0000-0000-000000000001	{}
\.


--
-- Data for Name: user_rollups; Type: TABLE DATA; Schema: copilot_internal; Owner: tollgate_owner
--

COPY copilot_internal.user_rollups (tenant_id, user_id, source, cost_usd, record_count, unpriced_count) FROM stdin;
00000000-0000-0000-0000-000000000002	00000000-0000-0000-0000-000000000000	llm	0	1	1
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-0000000000f1	llm	0.000630	20	0
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	charge	0.5	1	0
00000000-0000-0000-0000-000000000001	00000000-0000-0000-0000-000000000000	e2b	0.25	1	0
00000000-0000-0000-0000-000000000000	00000000-0000-0000-0000-000000000000	charge	0.25	1	0
\.


--
-- PostgreSQL database dump complete
--


