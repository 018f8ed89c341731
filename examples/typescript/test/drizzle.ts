import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { quotas, recordIfItFits } from '../drizzle.ts'
import { failure, tell, tenant } from './environment.ts'

const pool = new pg.Pool()
const db = drizzle({ client: pool })
const call = { tenant, model: 'gpt-4o', input: 1000, output: 100 }

tell('recorded', await recordIfItFits(db, { ...call, requestId: 'call-1' }))
tell('again', await recordIfItFits(db, { ...call, requestId: 'call-1' }))
tell('refused', await recordIfItFits(db, { ...call, input: 100_000_000, requestId: 'call-2' }))
const bad = await failure(recordIfItFits(db, { ...call, input: -1, requestId: 'call-3' }))
tell('bad input', { code: (bad.cause as { code: string }).code })
const [llm] = await quotas(db, tenant, 'llm')
tell('quota', { status: llm!.status, spent: llm!.current_spend_usd, ends: llm!.period_end instanceof Date })
await pool.end()
