// @openhands/typescript-client against the agent server's line:
//
//	node client.mjs PROGRAM NODE_MODULES
//
// The client looks for a browser's WebSocket, so it is given that of the package
// ws that it depends on. It asks for no stored events when it comes back: what it
// has missed is in its getEvents.

import { connect, createServer } from 'node:net'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual } from 'node:util'

import { check as checkThat, start, until } from '../program.mjs'

const [program, modules] = process.argv.slice(2)
const client = join(modules, '@openhands/typescript-client/dist/index.js')
globalThis.window = { WebSocket: createRequire(pathToFileURL(client))('ws') }
const { ConversationManager, RemoteConversation, RemoteWorkspace } = await import(pathToFileURL(client))

const check = (name, ...holds) => checkThat(`typescript-client: ${name}`, ...holds)
const apiKey = 'interop'
const server = await start(program, { key: apiKey, flags: ['--line', 'agent', '--agent', `script:${join(import.meta.dirname, 'agent.yaml')}`] })

// A line to the server that can be cut.
const lines = new Set()
const proxy = createServer(near => {
  const far = connect(server.port, '127.0.0.1')
  lines.add(near)
  for (const [from, to] of [[near, far], [far, near]]) {
    from.pipe(to)
    from.on('error', () => to.destroy()).on('close', () => to.destroy())
  }
  near.on('close', () => lines.delete(near))
})
await new Promise(done => proxy.listen(0, '127.0.0.1', done))
const cut = () => lines.forEach(line => line.resetAndDestroy())

const agent = { kind: 'Agent', llm: { model: 'gpt-4o', usage_id: 'agent' }, tools: [] }
const text = event => event.llm_message.content.map(part => part.text).join('')
const repeats = ids => ids.length - new Set(ids).size

// follow makes a conversation whose socket, and nothing else, takes the line.
async function follow(id, host = server.url) {
  const seen = []
  const errors = []
  const conversation = new RemoteConversation(agent, new RemoteWorkspace({ host, workingDir: 'project', apiKey }), {
    conversationId: id, callback: event => seen.push(event), onError: error => errors.push(String(error)),
  })
  await conversation.start()
  await conversation.startWebSocketClient()
  check('follow: the whole state comes first', await until(() => seen[0]?.key === 'full_state'), seen)
  const status = wanted => until(() => seen.findLast(e => e.key === 'execution_status')?.value === wanted)
  return { conversation, seen, errors, status }
}

const manager = new ConversationManager({ host: server.url, apiKey })
check('server: its version is one that the client supports', (await manager.server.getServerInfo()).version === '1.58.2')

// Create, send, run, follow.
const made = await manager.createConversation(agent, { workingDir: 'project' })
check('create: it is idle', await made.state.getExecutionStatus() === 'idle', await made.state.modelDump())
let { conversation, seen, errors, status } = await follow(made.id)
await conversation.sendMessage('hello')
await conversation.run()
check('run: it finishes', await status('finished'), seen)
await until(() => seen.at(-1).key === 'full_state')
const said = seen.filter(e => e.kind === 'MessageEvent').map(e => [e.source, text(e)])
check('follow: what is said comes by the socket', isDeepStrictEqual(said, [['user', 'hello'], ['agent', 'You said: hello']]), said)
check('run: the final response', await conversation.getAgentFinalResponse() === 'You said: hello', await conversation.getAgentFinalResponse())
const stored = await conversation.state.events.search({ limit: 100 })
const live = seen.filter(e => e.key !== 'full_state')
check('follow: the socket tells what is stored', isDeepStrictEqual(live.map(e => e.id), stored.items.map(e => e.id)), [live, stored])
check('events: count', await conversation.state.events.count() === stored.items.length)
check('events: by kind', (await conversation.state.events.search({ kind: 'MessageEvent' })).items.length === 2)
check('events: one', (await conversation.state.events.getEventById(stored.items[0].id)).id === stored.items[0].id)
check('events: several', isDeepStrictEqual((await conversation.state.events.getEventsById([stored.items[1].id, made.id])).map(e => e?.id), [stored.items[1].id, undefined]))

// Confirm.
await conversation.setConfirmationPolicy({ kind: 'AlwaysConfirm' })
for (const accept of [true, false]) {
  seen.length = 0
  await conversation.sendMessage('remove a.txt')
  await conversation.run()
  check(`confirm ${accept}: the call waits`, await status('waiting_for_confirmation'), seen)
  const call = seen.find(e => e.kind === 'ActionEvent')
  await conversation.sendConfirmationResponse(accept, 'not now')
  if (accept) {
    check('confirm: the call goes on', await status('finished') && seen.some(e => e.kind === 'ObservationEvent' && e.action_id === call.id), seen)
  } else {
    const rejection = await until(() => seen.some(e => e.kind === 'UserRejectObservation' && e.action_id === call.id && e.rejection_reason === 'not now'))
    check('confirm: the call is rejected', rejection, seen)
    await conversation.run()
    check('confirm: the agent knows', await status('finished') && text(seen.findLast(e => e.kind === 'MessageEvent')) === 'a.txt stays.', seen)
  }
}
await conversation.setConfirmationPolicy({ kind: 'NeverConfirm' })

// Pause.
await conversation.sendMessage('never ends')
await conversation.run()
check('pause: it runs', await status('running'), seen)
check('run: another one is refused', await conversation.run().then(() => 'taken', e => e.status) === 409)
await conversation.pause()
check('pause: it is paused', await status('paused') && await until(() => seen.some(e => e.kind === 'PauseEvent')), seen)
check('follow: nothing goes wrong', errors.length === 0, errors)
await conversation.close()

// The connection is lost in mid-stream.
const counting = await manager.createConversation(agent, { workingDir: 'project' })
;({ conversation, seen, errors, status } = await follow(counting.id, `http://127.0.0.1:${proxy.address().port}`))
await counting.sendMessage('count')
await counting.run()
const actions = () => seen.filter(e => e.kind === 'ActionEvent').length
await until(() => actions() >= 3)
const before = actions()
cut()
check('reconnect: the connection is lost in mid-stream', before < 15, before)
check('reconnect: it comes back in mid-stream', await until(() => seen.filter(e => e.key === 'full_state').length === 2) && await counting.state.refresh().then(s => s.execution_status) === 'running', seen.length)
check('reconnect: it goes on to the end', await status('finished'), seen)
const events = await conversation.state.events.getEvents()
const answer = { actions: events.filter(e => e.kind === 'ActionEvent').map(e => e.action.thought), said: text(events.findLast(e => e.kind === 'MessageEvent')) }
check('reconnect: nothing is lost', isDeepStrictEqual(answer, { actions: Array.from({ length: 20 }, (_, i) => String(i + 1)), said: 'Counted.' }), answer)
check('reconnect: nothing is doubled', repeats(events.map(e => e.id)) + repeats(seen.map(e => e.id)) === 0, [repeats(events.map(e => e.id)), repeats(seen.map(e => e.id))])
check('reconnect: something was missed, so that there is something to lose', actions() < 20, actions())
await conversation.close()

// List, title, delete.
await manager.updateConversation(counting.id, { title: 'Numbers' })
check('title: it is kept', (await manager.getConversation(counting.id)).title === 'Numbers')
const all = (await manager.getAllConversations()).map(c => c.id)
check('list: both are there', isDeepStrictEqual(all.toSorted(), [made.id, counting.id].toSorted()), all)
check('list: count', await manager.countConversations() === 2)
check('list: by status', isDeepStrictEqual((await manager.searchConversations({ status: 'paused' })).items.map(c => c.id), [made.id]))
await manager.deleteConversation(made.id)
check('delete: it is gone', await manager.getConversation(made.id).then(() => 'there', e => e.status) === 404)
check('delete: of several it is null', isDeepStrictEqual((await manager.getConversations([made.id, counting.id])).map(c => c?.id), [undefined, counting.id]))
await server.stop()
process.exit(0)
