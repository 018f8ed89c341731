// Drizzle: the functions through `sql`, the views of `metrics` as typed, existing views. Money is text.

import { and, eq, sql } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import { numeric, pgSchema, text, timestamp, uuid } from 'drizzle-orm/pg-core'

export const quotaStatus = pgSchema('metrics')
  .view('quota_status', {
    tenant_id: uuid(),
    resource_type: text({ enum: ['llm', 'e2b', 'all'] }),
    period: text({ enum: ['hour', 'day', 'week', 'month', 'year', 'lifetime'] }),
    status: text({ enum: ['OK', 'WARNING', 'EXCEEDED', 'SUSPENDED'] }),
    limit_usd: numeric(),
    current_spend_usd: numeric(),
    period_end: timestamp({ withTimezone: true }),
  })
  .existing()

/** Records a finished call, if it fits. */
export async function recordIfItFits(
  db: NodePgDatabase, call: { tenant: string; model: string; input: number; output: number; requestId: string },
) {
  const { rows } = await db.execute<{ recorded: boolean; cost_usd: string | null; reason: string | null }>(sql`
    select recorded, cost_usd, reason
      from record_llm_cost(p_tenant_id => ${call.tenant}, p_model_provider => 'openai', p_model_name => ${call.model},
                           p_input_tokens => ${call.input}, p_output_tokens => ${call.output},
                           p_request_id => ${call.requestId}, p_enforce => true)`)
  return rows[0]!
}

/** What a tenant's limits say now. */
export async function quotas(db: NodePgDatabase, tenant: string, resource: 'llm' | 'e2b' | 'all') {
  return db
    .select()
    .from(quotaStatus)
    .where(and(eq(quotaStatus.tenant_id, tenant), eq(quotaStatus.resource_type, resource)))
}
