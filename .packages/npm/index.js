// A real OpenHands API server for tests: what index.d.ts says.
'use strict'

const { spawn } = require('node:child_process')
const { createInterface } = require('node:readline')

/** @typedef {import('./index.d.ts')} Types */
/** @typedef {import('./index.d.ts').Flags} Flags */
/** @typedef {import('./index.d.ts').Server} Server */
/** @typedef {import('./index.d.ts').Event} Event */
/** @typedef {import('./index.d.ts').Query} Query */

/** @type {Types['program']} */
function program() {
  const name = `@openhands-local/${process.platform}-${process.arch}`
  try {
    return require.resolve(`${name}/openhands-local${process.platform === 'win32' ? '.exe' : ''}`)
  } catch {
    throw new Error(`openhands-local: the package ${name} is not there: is it left out (--omit=optional), or from another machine?`)
  }
}

/** @type {Types['startServer']} */
async function startServer({ key = '', ...flags } = {}) {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('OPENHANDS_LOCAL_') && name !== 'SESSION_API_KEY')
  const child = spawn(program(), ['serve', ...words({ addr: 'localhost:0', data: 'memory', ...flags }), '--ready-file=-', '--until-eof'], {
    env: { ...Object.fromEntries(environment), ...(key && { SESSION_API_KEY: key }) },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve, reject) => child.on('exit', resolve).on('error', reject))
  const ready = await Promise.race([
    new Promise(resolve => createInterface(child.stdout).once('line', resolve)),
    ended.then(code => { throw new Error(`openhands-local ended with ${code}, and said why on standard error`) }),
  ])
  // Who forgot to stop it can end all the same: the server ends then.
  for (const part of [child, child.stdin, child.stdout]) /** @type {{ unref?(): void }} */ (part).unref?.()
  const server = connect(JSON.parse(ready).url, { key })
  const stop = async () => {
    child.ref()
    child.stdin.end()
    await ended
  }
  return { ...server, stop }
}

/** @type {(flags: Flags) => string[]} */
function words(flags) {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = '--' + name.replace(/[A-Z]/g, upper => '-' + upper.toLowerCase())
    if (value === true) return [flag]
    if (value === false || value === undefined) return []
    return [value].flat().map(v => `${flag}=${v}`)
  })
}

/** @type {Types['connect']} */
function connect(url, { key = '' } = {}) {
  const base = url.replace(/\/$/, '')
  /** @type {Record<string, string>} */
  const headers = key ? { 'X-Session-API-Key': key } : {}

  /** @type {Server['call']} */
  async function call(method, path, body, { timeout = 30_000 } = {}) {
    const answer = await fetch(base + path, {
      method, signal: AbortSignal.timeout(timeout),
      ...(body === undefined ? { headers } : { headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw Object.assign(new Error(`${method} ${path} answers ${answer.status}: ${text}`), { status: answer.status, body: text })
    return text === '' ? undefined : JSON.parse(text)
  }

  /** @type {Server['waitForEvent']} */
  async function waitForEvent(conversation, match, { timeout = 10_000, start = 0 } = {}) {
    const path = `/_local/conversations/${encodeURIComponent(conversation)}/stream?start_id=${start}`
    const matches = typeof match === 'function' ? match : (/** @type {Event} */ event) => has(event, match)
    const seen = []
    const over = new AbortController()
    const timer = setTimeout(() => over.abort(), timeout)
    try {
      const answer = await fetch(base + path, { headers, signal: over.signal })
      if (!answer.ok || !answer.body) throw new Error(`GET ${path} answers ${answer.status}: ${await answer.text()}`)
      let rest = ''
      for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + part).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          if (!line.startsWith('data: ')) continue
          const event = JSON.parse(line.slice('data: '.length))
          if (matches(event)) return event
          seen.push(`${event.id} ${event.source} ${event.action ?? event.observation}`)
        }
      }
    } catch (error) {
      if (!over.signal.aborted) throw error
    } finally {
      clearTimeout(timer)
      over.abort()
    }
    const wanted = typeof match === 'function' ? 'what was asked for' : JSON.stringify(match)
    throw new Error(`no event of ${conversation} with ${wanted} within ${timeout} ms; there came: ${seen.join(', ') || 'none'}`)
  }

  const find = async (/** @type {Query} */ query = {}, more = {}, timeout = 30_000) => {
    const values = Object.entries({ ...query, ...more }).map(([name, value]) => [name, String(value)])
    return (await call('GET', `/_local/requests?${new URLSearchParams(values)}`, undefined, { timeout })).requests
  }
  /** @type {Server['requests']} */
  const requests = {
    find: query => find(query),
    wait: (query, { min = 1, timeout = 10_000 } = {}) =>
      find(query, { min, wait: `${timeout}ms` }, timeout + 5_000).catch(error => {
        throw error.status === 404 ? new Error(JSON.parse(error.body).detail) : error
      }),
    clear: () => call('DELETE', '/_local/requests'),
  }

  const add = (/** @type {object[]} */ ...rules) => call('POST', '/_local/faults', rules)
  const all = async () => (await call('GET', '/_local/faults')).faults
  /** @type {Server['faults']} */
  const faults = {
    add: async (...rules) => void await add(...rules),
    preset: async (...names) => void await add(...names.map(preset => ({ preset }))),
    all,
    used: async name => (await all()).find((/** @type {{ name: string }} */ rule) => rule.name === name)?.used ?? 0,
    clear: () => call('DELETE', '/_local/faults'),
  }

  const move = async (/** @type {object} */ how) => void await call('POST', '/_local/clock', how)
  /** @type {Server['clock']} */
  const clock = {
    now: async () => new Date((await call('GET', '/_local/clock')).now),
    freeze: () => move({ freeze: true }),
    resume: () => move({ resume: true }),
    advance: by => move({ advance: typeof by === 'string' ? by : `${by}ms` }),
    set: to => move({ set: typeof to === 'string' ? to : to.toISOString() }),
    reset: () => call('DELETE', '/_local/clock'),
  }

  const reset = async () => {
    await call('POST', '/_local/reset')
    await requests.clear()
  }
  const world = (/** @type {string} */ name) => connect(`${base}/_local/worlds/${name}`, { key })
  return { url: base, call, reset, world, waitForEvent, requests, faults, clock }
}

/** @type {(value: any, wanted: any) => boolean} */
function has(value, wanted) {
  if (typeof wanted !== 'object' || wanted === null || Array.isArray(wanted)) return JSON.stringify(value) === JSON.stringify(wanted)
  return typeof value === 'object' && value !== null && Object.keys(wanted).every(name => name in value && has(value[name], wanted[name]))
}

module.exports = { connect, program, startServer }
