// socket.io-client against the program: node sockets.mjs PROGRAM
//
// The package is looked for in the folder INTEROP_NODE, since nothing is
// installed into the checkout.

import { mkdtempSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

import { check as checkThat, start as startProgram, until } from './program.mjs'

const { io } = createRequire(process.env.INTEROP_NODE + '/')('socket.io-client')

const key = 'interop'
const many = 2000
const transportsByName = { websocket: ['websocket'], polling: ['polling'], default: ['polling', 'websocket'] }
const program = process.argv[2]

const check = (name, ...holds) => checkThat(`socket.io-client ${name}`, ...holds)
const start = options => startProgram(program, { key, ...options })

async function rest(server, method, path, body) {
  const answer = await fetch(server.url + path, {
    method, body: JSON.stringify(body),
    headers: { 'X-Session-API-Key': key, 'Content-Type': 'application/json' },
  })
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const post = (server, conversation, content) =>
  rest(server, 'POST', `/api/conversations/${conversation}/events`, { action: 'message', args: { content } })

const messages = events => events.filter(e => e.action === 'message').map(e => [e.id, e.args.content])

// stored is [[id, content]] of all messages.
async function stored(server, conversation) {
  const found = []
  for (let start = 0; ;) {
    const page = await rest(server, 'GET', `/api/conversations/${conversation}/events?start_id=${start}&limit=100`)
    found.push(...messages(page.events))
    if (!page.has_more) return found
    start = page.events.at(-1).id + 1
  }
}

function connect(server, transports, query, more) {
  return io(server.url, {
    ...more, transports, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 300, randomizationFactor: 0,
    query: { latest_event_id: -1, session_api_key: key, ...query },
  })
}

// refused is what a client is told that is not let in.
async function refused(server, transports, query) {
  const socket = connect(server, transports, query)
  const told = await Promise.race([
    new Promise(done => socket.on('connect_error', e => done({ message: e.message, data: e.data }))),
    new Promise(done => socket.on('connect', () => done('it was let in'))),
    sleep(5000, 'nothing', { ref: false }),
  ])
  socket.close()
  return told
}

// follow is everything a client does with one conversation, over a restart.
async function follow(name, transports, server, restart) {
  const socket = connect(server, transports, { conversation_id: 'many' })
  const events = []
  let connects = 0
  socket.on('oh_event', e => events.push(e))
  socket.on('connect', () => connects++)
  // As the web UI does: come back after the last event that was seen.
  socket.on('disconnect', () => {
    socket.io.opts.query.latest_event_id = Math.max(...events.map(e => e.id).filter(Number.isInteger))
  })
  const sees = content => messages(events).some(([, text]) => text === content)

  let want = await stored(server, 'many')
  await until(() => connects === 1 && messages(events).length >= want.length)
  check(`${name}: replays ${many} events in order`, want.length >= many && isDeepStrictEqual(messages(events), want),
    `${messages(events).length} of ${want.length}`)
  if (name === 'default') {
    check(`${name}: upgrades to websocket`, await until(() => socket.io.engine.transport.name === 'websocket'))
  }

  await post(server, 'many', `${name} by HTTP`)
  check(`${name}: an event that is added comes live`, await until(() => sees(`${name} by HTTP`)))

  const acknowledged = await socket.timeout(10_000)
    .emitWithAck('oh_user_action', { action: 'message', args: { content: `${name} by socket` } })
    .then(() => true, e => String(e))
  check(`${name}: oh_user_action is acknowledged`, acknowledged === true, acknowledged)
  check(`${name}: and comes back`, await until(() => sees(`${name} by socket`)))

  // Add events while the server goes down, then some more.
  const burst = (async server => {
    try {
      for (let i = 0; ; i++) await post(server, 'many', `${name} burst ${i}`)
    } catch { /* it is down */ }
  })(server)
  await until(() => sees(`${name} burst 20`))
  await server.stop()
  await burst
  server = await restart()
  await post(server, 'many', `${name} after the restart`)
  check(`${name}: comes back after a restart`, await until(() => connects === 2), connects)
  await post(server, 'many', `${name} last`)
  await until(() => sees(`${name} last`))
  want = await stored(server, 'many')
  await until(() => messages(events).length >= want.length)
  check(`${name}: resumes with nothing lost`, isDeepStrictEqual(messages(events), want), [messages(events).length, want.length])
  const ids = events.map(e => e.id).filter(Number.isInteger)
  check(`${name}: resumes with nothing doubled`, new Set(ids).size === ids.length, [new Set(ids).size, ids.length])
  socket.close()
  return server
}

const data = mkdtempSync(join(process.env.INTEROP_TEMP, 'data-'))
let server = await start({ data })
const { port } = server
for (let i = 0; i < many; i++) await post(server, 'many', String(i))
for (const [name, transports] of Object.entries(transportsByName)) {
  let told = await refused(server, transports, {})
  check(`${name}: is told that no conversation is named`, told.message === 'No conversation_id in query params', told)
  told = await refused(server, transports, { conversation_id: 'many', session_api_key: 'wrong' })
  check(`${name}: is told that the key is wrong`, told.message === 'invalid_session_api_key', told)
  server = await follow(name, transports, server, () => start({ data, port }))
}
await server.stop()

// Without settings no conversation is opened: the refusal carries data.
server = await start({ flags: ['--settings', 'none'] })
await post(server, 'c', 'x')
for (const [name, transports] of Object.entries(transportsByName)) {
  const told = await refused(server, transports, { conversation_id: 'c' })
  check(`${name}: a refusal has its data`,
    isDeepStrictEqual(told, { message: 'Settings not found', data: { msg_id: 'CONFIGURATION$SETTINGS_NOT_FOUND' } }), told)
}
await server.stop()

// A client is in the world that its path or a header names. When that is deleted it is
// put out, and does not make it anew by coming back.
server = await start({})
const world = { url: server.url + '/_local/worlds/a' }
for (const [name, transports] of Object.entries(transportsByName)) {
  await post(world, 'c', `${name} inside`)
  const ways = { path: { path: '/_local/worlds/a/socket.io/' }, header: { extraHeaders: { 'X-Local-World': 'a' } } }
  for (const [way, more] of Object.entries(ways)) {
    const socket = connect(server, transports, { conversation_id: 'c' }, more)
    const events = []
    let left
    socket.on('oh_event', e => events.push(e))
    socket.on('disconnect', why => left = why)
    ways[way] = { events, left: () => left }
    check(`${name}: is in a world by its ${way}`, await until(() => messages(events).some(m => m[1] === `${name} inside`)), messages(events))
  }
  await fetch(world.url, { method: 'DELETE', headers: { 'X-Session-API-Key': key } })
  for (const [way, { left }] of Object.entries(ways)) {
    check(`${name}: is put out of a world by its ${way}`, await until(() => left() === 'io server disconnect'), left())
  }
  await sleep(1000) // they would come back after 100 ms
  const { worlds } = await rest(server, 'GET', '/_local/worlds')
  check(`${name}: makes no world anew`, worlds.length === 0, worlds)
}
await server.stop()
process.exit(0)
