// Vercel AI SDK: every call of a wrapped model is reserved first, and recorded with what the provider reported.
//
//   const model = wrapLanguageModel({ model: openai('gpt-4o'), middleware: metered(tollgate, { tenant }) })

import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4GenerateResult, LanguageModelV4Middleware,
  LanguageModelV4StreamPart } from '@ai-sdk/provider'
import type { Json } from './database.types.ts'
import type { Tollgate } from './supabase.ts'

interface Payer { tenant: string; user?: string }

/** The call was not made. `status` is one of QuotaStatus. */
export class QuotaRefused extends Error {
  status: string
  retryAfterSeconds: number | null
  constructor(status: string, reason: string | null, retryAfterSeconds: number | null) {
    super(reason ?? status)
    this.status = status
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export function metered(tollgate: Tollgate, payer: Payer): LanguageModelV4Middleware {
  return {
    specificationVersion: 'v4',
    async wrapGenerate({ doGenerate, params, model }) {
      const call = await reserve(tollgate, payer, model, params)
      const result = await orRelease(call, doGenerate)
      await call.record(result)
      return result
    },
    async wrapStream({ doStream, params, model }) {
      const call = await reserve(tollgate, payer, model, params)
      const result = await orRelease(call, doStream)
      return { ...result, stream: recorded(result.stream, call) }
    },
  }
}

type Call = Awaited<ReturnType<typeof reserve>>
type Answer = Pick<LanguageModelV4GenerateResult, 'usage' | 'providerMetadata'>

async function reserve(tollgate: Tollgate, payer: Payer, model: LanguageModelV4, params: LanguageModelV4CallOptions) {
  const names = { p_model_provider: model.provider, p_model_name: model.modelId }
  // A token is at least a byte. Null output tokens are the most that the model can give.
  const bytes = new TextEncoder().encode(JSON.stringify([params.prompt, params.tools])).length
  const tokens = { p_input_tokens: bytes, p_output_tokens: params.maxOutputTokens ?? null }
  const { data: estimate } = await tollgate
    .rpc('estimate_llm_cost', { ...names, ...tokens, p_tenant_id: payer.tenant })
    .select('pricing_found, estimated_cost_usd::text').single().throwOnError()
  if (!estimate.pricing_found) throw new QuotaRefused('UNPRICED', `${model.modelId} has no price`, null)
  const ofPayer = { p_tenant_id: payer.tenant, p_user_id: payer.user, p_request_id: crypto.randomUUID() }
  const { data: hold } = await tollgate
    .rpc('reserve_quota', { ...ofPayer, p_resource_type: 'llm', p_amount_usd: estimate.estimated_cost_usd })
    .single().throwOnError()
  if (!hold.reservation_id) throw new QuotaRefused(hold.status, hold.reason, hold.retry_after_seconds)
  const p_reservation_id = hold.reservation_id
  let billed = false
  return {
    async record({ usage, providerMetadata }: Answer) {
      billed = true
      // The provider's own object says most, and what stands beside it the tier. The same request id makes a retry harmless.
      const p_usage = { usage: usage.raw ?? usage, providerMetadata } as Json
      const record = { ...names, ...ofPayer, p_reservation_id, p_usage }
      for (let wait = 100; ; wait *= 4) {
        const { error } = await tollgate.rpc('record_llm_usage', record)
        if (!error) return
        if (wait > 5_000) throw new Error(`a billed call is not recorded: ${error.message}`, { cause: record })
        await new Promise((resolve) => setTimeout(resolve, wait))
      }
    },
    /** Gives the money back at once, unless the call was billed. Should it fail, the hold expires by itself. */
    async release(p_reason: string) {
      if (!billed) await tollgate.rpc('release_reservation', { p_reservation_id, p_reason })
    },
  }
}

async function orRelease<Result>(call: Call, work: () => PromiseLike<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    await call.release('the call failed')
    throw error
  }
}

/** The same stream. It records when usage arrives, and releases when it ends, fails or is cancelled without any. */
function recorded(stream: ReadableStream<LanguageModelV4StreamPart>, call: Call) {
  const reader = stream.getReader()
  return new ReadableStream<LanguageModelV4StreamPart>({
    async pull(controller) {
      const { done, value } = await orRelease(call, () => reader.read())
      if (value?.type === 'finish' && wasBilled(value)) await call.record(value)
      if (!done) return controller.enqueue(value)
      await call.release('the stream ended without usage')
      controller.close()
    },
    async cancel(reason) {
      await call.release('the stream was cancelled')
      await reader.cancel(reason)
    },
  })
}

/** Only a call that failed before it counted anything was not. */
function wasBilled({ usage, finishReason }: Extract<LanguageModelV4StreamPart, { type: 'finish' }>) {
  const counted = usage.raw ?? usage.inputTokens.total ?? usage.outputTokens.total
  return counted !== undefined || !['error', 'interrupted'].includes(finishReason.unified)
}
