// Each call that is billed costs 0.0035 USD, but for one.

import type { LanguageModelV4StreamPart, LanguageModelV4Usage } from '@ai-sdk/provider'
import { generateText, simulateReadableStream, streamText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { metered } from '../ai-middleware.ts'
import { connect } from '../supabase.ts'
import { failure, key, server, tell, tenant, url } from './environment.ts'

const raw = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 }
const usage: LanguageModelV4Usage = {
  inputTokens: { total: 1000, noCache: 1000, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 100, text: 100, reasoning: 0 },
  raw,
}
const unknown: LanguageModelV4Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
}
const words: LanguageModelV4StreamPart[] = [
  { type: 'stream-start', warnings: [] },
  { type: 'text-start', id: '1' },
  { type: 'text-delta', id: '1', delta: 'Hello' },
  { type: 'text-end', id: '1' },
]
const stop: LanguageModelV4StreamPart = { type: 'finish', usage, finishReason: { unified: 'stop', raw: 'stop' } }
const generated = {
  content: [{ type: 'text' as const, text: 'Hello' }], usage, warnings: [],
  finishReason: { unified: 'stop' as const, raw: 'stop' },
}

function model(behaviour: Partial<ConstructorParameters<typeof MockLanguageModelV4>[0]>, name = 'gpt-4o') {
  return new MockLanguageModelV4({ provider: 'openai.chat', modelId: name, ...behaviour })
}
function streaming(parts: LanguageModelV4StreamPart[]) {
  return model({ doStream: async () => ({ stream: simulateReadableStream({ chunks: parts }) }) })
}
const options = { maxOutputTokens: 200, maxRetries: 0, prompt: 'Hi' }
const wrap = (inner: MockLanguageModelV4, tollgate = server(), payer = { tenant }) =>
  wrapLanguageModel({ model: inner, middleware: metered(tollgate, payer) })
const ask = (inner: MockLanguageModelV4, ...wrapping: unknown[]) =>
  generateText({ model: wrap(inner, ...(wrapping as [])), ...options })

const answer = await ask(model({ doGenerate: async () => generated }))
tell('generated', { text: answer.text })

// As the AI SDK counts, where the provider gave nothing of its own.
const counted = { ...generated, usage: { ...usage, raw: undefined } }
tell('counted', { text: (await ask(model({ doGenerate: async () => counted }))).text })

// As @ai-sdk/openai says the tier that it is billed at: beside the usage. It costs 0.00595 USD.
const served = { ...generated, providerMetadata: { openai: { serviceTier: 'priority' } } }
tell('served', { text: (await ask(model({ doGenerate: async () => served }))).text })

const down = model({ doGenerate: async () => { throw new Error('the provider is down') } })
tell('failed', { message: (await failure(ask(down))).message })

const stream = streamText({ model: wrap(streaming([...words, stop])), ...options })
tell('streamed', { text: await stream.text })

const broken = model({
  doStream: async () => ({
    stream: new ReadableStream({
      start(controller) {
        words.forEach((part) => controller.enqueue(part))
        controller.error(new Error('connection lost'))
      },
    }),
  }),
})
const prompt = [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'Hi' }] }]
const { stream: half } = await wrap(broken).doStream({ prompt })
tell('broken stream', { message: (await failure(Array.fromAsync(half))).message })

const refusing = model({ doStream: async () => { throw new Error('overloaded') } })
await streamText({ model: wrap(refusing), ...options, onError: () => {} }).consumeStream()
tell('refused stream', {})

// The user goes away after the first word.
const abort = new AbortController()
const endless = model({
  doStream: async ({ abortSignal }) => ({
    stream: new ReadableStream({
      start(controller) {
        words.slice(0, 3).forEach((part) => controller.enqueue(part))
        abortSignal?.addEventListener('abort', () => controller.error(abortSignal.reason))
      },
    }),
  }),
})
const aborted = streamText({ model: wrap(endless), ...options, abortSignal: abort.signal, onError: () => {} })
for await (const word of aborted.textStream) {
  abort.abort()
  void word
}
tell('aborted', {})

// The reader goes away, and the provider is told.
let cancelled = false
const left = model({
  doStream: async () => ({
    stream: new ReadableStream({
      start: (controller) => controller.enqueue(words[0]!),
      cancel: () => void (cancelled = true),
    }),
  }),
})
const { stream: unread } = await wrap(left).doStream({ prompt })
await unread.cancel()
tell('cancelled', { cancelled })

// Ends in an error: billed when it counted something.
const wrong = { unified: 'error' as const, raw: 'error' }
for (const [what, reported] of [['billed error', usage], ['unbilled error', unknown]] as const) {
  const parts: LanguageModelV4StreamPart[] = [...words, { type: 'finish', usage: reported, finishReason: wrong }]
  await streamText({ model: wrap(streaming(parts)), ...options, onError: () => {} }).consumeStream()
  tell(what, {})
}

// The database is away for a moment when the answer is there. Once it was recorded, and the answer to that was lost.
let away = 2
const flaky = connect(url, key, async (input, init) => {
  if (!String(input).includes('record_llm_usage') || away === 0) return fetch(input, init)
  away -= 1
  if (away === 0) await fetch(input, init)
  throw new TypeError('fetch failed')
})
tell('recorded at last', { text: (await ask(model({ doGenerate: async () => generated }), flaky)).text, away })

const untouched = model({ doGenerate: async () => generated }, 'no-such-model')
const unpriced = await failure(ask(untouched))
tell('unpriced', { status: unpriced.status, calls: untouched.doGenerateCalls.length })

const strange = model({ doGenerate: async () => generated })
const stranger = await failure(ask(strange, server(), { tenant: crypto.randomUUID() }))
tell('unknown tenant', { status: stranger.status, calls: strange.doGenerateCalls.length })

await server().rpc('set_quota', { p_scope: 'tenant', p_scope_id: tenant, p_resource_type: 'llm', p_limit_usd: '0.0240' }).throwOnError()
const full = model({ doGenerate: async () => generated })
const refused = await failure(ask(full))
tell('refused', {
  status: refused.status, waits: Number(refused.retryAfterSeconds) > 0, calls: full.doGenerateCalls.length,
})
