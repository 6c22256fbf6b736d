// What people do with the page at /, against the program:
//
//   node page.mjs PROGRAM BROWSER [PICTURE]
//
// Whatever is done, nothing may be refused by the policy of a page, asked of
// another host, or told as an error on the console. Packages are looked for in
// the folder INTEROP_NODE, since nothing is installed into the checkout.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'

import { check, start, until } from '../interop/program.mjs'

const require = createRequire(process.env.INTEROP_NODE + '/')
const { chromium } = require('playwright-core')
const axe = require('axe-core').source

const [program, executablePath, picture] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const server = await start(program, { flags: ['--agent', 'echo'] })
const hostile = `"'><script>window.ran = 1</script><img src=x onerror="window.ran = 1">\u202e`

async function call(method, path, body, headers = {}) {
  const answer = await fetch(server.url + path, { method, headers: { 'Content-Type': 'application/json', ...headers }, body: body && JSON.stringify(body) })
  return answer.json().catch(() => null)
}
const message = text => ({ action: 'message', args: { content: text } })
const say = (id, text, headers) => call('POST', `/api/conversations/${id}/events`, message(text), headers)

// open returns a tab, and in told what nothing may do.
async function open(options = {}, url = server.url) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 800 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const told = []
  page.on('console', m => { if (m.type() === 'error') told.push(`console: ${m.text()}`) })
  page.on('pageerror', e => told.push(`exception: ${e.message}`))
  page.on('dialog', d => told.push(`dialog: ${d.message()}`))
  page.on('request', r => { if (/^http/.test(r.url()) && !r.url().startsWith(url)) told.push(`another host: ${r.url()}`) })
  await page.exposeFunction('tellPolicy', text => told.push(`policy: ${text}`))
  await page.addInitScript(() => addEventListener('securitypolicyviolation', e => window.tellPolicy(`${e.violatedDirective} ${e.blockedURI}`)))
  await page.goto(url + '/_local/')
  return { context, page, told }
}

// sees checks what see returns, once it is as wanted.
async function sees(name, see, want = true) {
  let seen
  await until(async () => isDeepStrictEqual(seen = await see().catch(e => e.message), want)) // between two pages there is none
  check(name, isDeepStrictEqual(seen, want), { seen, want })
}

// accessible checks a page by axe: what WCAG 2.2 AA asks for.
async function accessible(page, name) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  check(`${name}: axe finds nothing`, violations.length === 0, violations.map(v => [v.id, v.impact, ...v.nodes.map(n => n.html)]))
}

const made = (await call('POST', '/api/conversations', {})).conversation_id
await say(made, 'fix the greeting in main.go')
await say('hello', hostile, { 'X-Evil': `<script>window.ran = 1</script>` })
await call('POST', '/api/conversations/hello/events', { action: 'message', args: { contnet: 'Hi' } })
await call('GET', `/api/${encodeURIComponent(hostile)}`)
await call('PATCH', '/api/conversations/hello', { title: hostile })

// Every page, in the light and in the dark, wide and narrow.
const views = {
  overview: '/', conversations: '/_local/page/conversations', conversation: '/_local/page/conversations/hello', event: '/_local/page/conversations/hello/0',
  requests: '/_local/page/requests', request: '/_local/page/requests/4', faults: '/_local/page/faults', clock: '/_local/page/clock', worlds: '/_local/page/worlds', delete: '/_local/page/delete/hello', reset: '/_local/page/reset', 'no page': '/_local/page/none',
}
await call('POST', '/_local/faults', [{ name: 'shown', match: { operation: 'GetSettings', header: { 'X-Evil': hostile } }, do: { status: 503 } }])
for (const colorScheme of ['light', 'dark']) {
  const { context, page, told } = await open({ colorScheme })
  for (const [name, path] of Object.entries(views)) {
    await page.goto(server.url + path)
    await accessible(page, `${name}, ${colorScheme}`)
    await page.setViewportSize({ width: 360, height: 640 })
    await sees(`${name}, ${colorScheme}: 360 pixels are enough`, () => page.evaluate(() => document.documentElement.scrollWidth <= 360))
    await page.setViewportSize({ width: 1180, height: 800 })
    if (name === 'overview') await sees(`${colorScheme} is what the system wants`, () => page.evaluate(() => getComputedStyle(document.body).backgroundColor), { light: 'rgb(255, 255, 255)', dark: 'rgb(21, 24, 28)' }[colorScheme])
  }
  check(`${colorScheme}: nothing of what was sent ran`, await page.evaluate(() => window.ran === undefined))
  check(`${colorScheme}: nothing else happened`, told.every(t => /status of 404/.test(t)), told)
  await context.close()
}
await call('DELETE', '/_local/faults')

const { context, page, told } = await open()
await context.grantPermissions(['clipboard-read', 'clipboard-write'])
const rows = () => page.locator('main tbody tr')
const at = () => new URL(page.url()).pathname
const cells = n => page.locator(`main tbody tr td:nth-child(${n})`).allInnerTexts()

// What happens is seen as it happens.
await page.getByRole('link', { name: 'Conversations', exact: true }).click()
await page.locator(`#c-${made} a`).click()
await page.getByLabel('Say as the user').fill('Is it live?')
await page.keyboard.press('Enter')
await sees('a message, and what an agent answers', async () => (await cells(5)).some(t => t.includes('Is it live?')) && (await cells(3)).includes('agent'))
await say(made, 'It is.')
await sees('an event comes by itself', async () => (await cells(5)).includes('It is.'))
await sees('… and is told', async () => /new$/.test(await page.locator('#status').innerText()))
await page.keyboard.press('Escape')
await page.getByRole('heading', { level: 1 }).click()
await page.keyboard.press('p')
await say(made, 'while it is paused')
await call('GET', '/api/options/models')
await sees('p pauses', async () => (await page.locator('#status').innerText()).startsWith('Paused') && !(await cells(5)).includes('while it is paused'))
await page.getByRole('button', { name: 'Go on' }).click()
await sees('… and a button goes on', async () => (await cells(5)).includes('while it is paused'))
await page.getByRole('button', { name: 'Stop' }).click()
await sees('it stops', () => page.locator('#facts .state').innerText(), 'STOPPED')
await call('POST', `/api/conversations/${made}/start`, {})
await sees('… and another starts it', () => page.locator('#facts .state').innerText(), 'RUNNING')

// By keys alone: the filter, a row, its curl line.
await page.goto(server.url + '/_local/page/requests')
await page.keyboard.press('Tab')
await sees('the first key leads to the content', () => page.evaluate(() => document.activeElement.textContent), 'Skip to the content')
await page.keyboard.press('?')
await sees('? tells the keys', () => page.locator('dialog[open]').count(), 1)
await accessible(page, 'keys')
await page.keyboard.press('Escape')
await page.keyboard.press('/')
await page.keyboard.type('AddEvent')
await page.keyboard.press('Tab')
await page.keyboard.type('422')
await page.keyboard.press('Enter')
await page.waitForURL(/operation=AddEvent/)
await sees('the filter', async () => [await rows().count(), await cells(5)], [1, ['422']])
await call('GET', '/api/options/agents')
await call('POST', '/api/conversations/hello/events', {})
await sees('… also of what comes', () => cells(5), ['422', '422'])
await page.goto(server.url + '/_local/page/requests?operation=AddEvent&status=2xx')
await page.keyboard.press('j')
await page.keyboard.press('ArrowDown')
await page.keyboard.press('k')
await page.keyboard.press('Enter')
await page.waitForURL(/requests\/\d+$/)
await sees('a row opens: request and answer', async () => [await page.locator('#asked + * + pre, #asked + pre').innerText().then(t => t.includes('while it is paused')), await page.locator('.halves section').count()], [true, 2])
await page.getByRole('button', { name: 'Copy as curl' }).click()
await sees('it is copied', () => page.locator('#status').innerText(), 'Copied')
const line = await page.evaluate(() => navigator.clipboard.readText())
check('… and asks again', execFileSync('sh', ['-c', line.replace(/^curl /, 'curl --silent ')], { encoding: 'utf8' }) === '{"success":true}', line)

// A fault, and what has become of it.
await page.getByRole('link', { name: 'Faults', exact: true }).click()
await page.getByRole('button', { name: 'Add rate-limit' }).click()
await sees('a preset is added', async () => [await page.locator('#f-fault-1 td').nth(5).innerText(), at()], ['0', '/_local/page/faults'])
await call('GET', '/api/options/models')
await call('GET', '/api/options/models')
await sees('its count rises', () => page.locator('#f-fault-1 td').nth(5).innerText(), '2')
await page.getByLabel('As JSON').fill('{"do":{"status":7}}')
await page.getByLabel('As JSON').locator('xpath=ancestor::form').getByRole('button').click()
await sees('what is wrong with a rule is told', async () => (await page.getByRole('alert').innerText()).includes('body.do.status'))
await page.getByRole('button', { name: 'Take out fault-1' }).click()
await sees('it is taken out', () => rows().filter({ hasText: 'fault-1' }).count(), 0)

// An hour in a moment.
await page.getByRole('link', { name: 'Clock', exact: true }).click()
await page.getByRole('button', { name: 'Freeze' }).click()
const now = async () => Date.parse((await page.locator('#hand dd').first().innerText()).split(',')[0])
await sees('the clock stands', async () => (await page.locator('#hand dd').first().innerText()).endsWith('frozen'))
const before = await now()
await page.getByRole('button', { name: '1h', exact: true }).click()
await sees('an hour is over', async () => Math.round((await now() - before) / 1000), 3600)
await call('POST', '/_local/clock', { advance: '1h' })
await sees('… also one that another moves', async () => Math.round((await now() - before) / 1000), 7200)
await page.getByRole('button', { name: 'As at the start' }).click()
await sees('it goes on', async () => (await page.locator('#hand dd').first().innerText()).endsWith('frozen'), false)
check('nothing else happened', told.every(t => /status of 422/.test(t)), told.splice(0))

// A world of its own, at a host of its own.
await page.getByRole('link', { name: 'Worlds', exact: true }).click()
await page.getByLabel('Name', { exact: true }).fill('Not a name')
await page.keyboard.press('Enter')
await sees('what is wrong with the name of a world is told', async () => (await page.getByRole('alert').innerText()).includes('want 1 to 63'))
await page.getByLabel('Name', { exact: true }).fill('shop')
await page.keyboard.press('Enter')
await sees('a world is made', () => cells(1), ['shop'])
const address = new URL(await page.getByRole('link', { name: 'shop', exact: true }).getAttribute('href'))
const world = await open({}, address.origin)
await world.page.getByRole('link', { name: 'Conversations', exact: true }).click()
await sees('… which is empty', async () => [address.hostname, await world.page.locator('header b').innerText(), await world.page.locator('main tbody tr').count()], ['shop.localhost', 'openhands-local: shop', 0])
await world.page.getByRole('button', { name: 'New conversation' }).click()
await say('hello', 'of no world')
await world.page.getByLabel('Say as the user').fill('Of this world')
await world.page.keyboard.press('Enter')
await sees('… and lives by itself', async () => (await world.page.locator('tbody').innerText()).includes('Of this world'))
check('… nothing else happened', world.told.length === 0, world.told)
await world.context.close()
await page.reload()
await sees('its conversations are counted', () => cells(2), ['1'])
await page.getByRole('link', { name: 'Delete shop' }).click()
await page.getByRole('button', { name: 'Delete' }).click()
await sees('it is deleted', () => rows().count(), 0)
check('nothing else happened in the worlds', told.every(t => /status of 422/.test(t)), told.splice(0))

// Ten thousand events at once.
await page.goto(server.url + '/_local/page/conversations/hello')
await page.evaluate(() => {
  let last = performance.now()
  window.longest = 0
  const frame = now => {
    window.longest = Math.max(window.longest, now - last)
    last = now
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
})
for (let sent = 0; sent < 10_000;) await Promise.all(Array.from({ length: 100 }, () => say('hello', `event ${++sent} of many`)))
await say('hello', 'the last of many')
await sees('10,000 events: the latest are shown', async () => [(await cells(5))[0], await rows().count()], ['the last of many', 200])
const longest = await page.evaluate(() => window.longest)
check('… and the page goes on', longest < 3000, longest)
console.log(`the longest time between two frames: ${Math.round(longest)} ms`)
check('10,000 events: nothing else happened', told.length === 0, told)

// What cannot be taken back is asked first.
await page.getByRole('link', { name: 'Reset', exact: true }).click()
await page.getByRole('link', { name: 'Leave it as it is' }).click()
await sees('a reset can be left', async () => (await call('GET', '/api/conversations')).results.length, 2)
await page.getByRole('link', { name: 'Reset', exact: true }).click()
await page.getByRole('button', { name: 'Reset' }).click()
await sees('a reset', async () => [at(), (await call('GET', '/api/conversations')).results.length], ['/_local/', 0])
await context.close()

// Without a script there is all but what comes by itself.
{
  const { context, page, told } = await open({ javaScriptEnabled: false })
  await page.getByRole('link', { name: 'Conversations', exact: true }).click()
  await page.getByRole('button', { name: 'New conversation' }).click()
  await page.getByLabel('Say as the user').fill('No script')
  await page.getByRole('button', { name: 'Send' }).click()
  await sees('without a script: a message', async () => (await page.locator('tbody').innerText()).includes('No script'))
  await page.getByRole('link', { name: 'Delete…' }).click()
  await page.getByRole('button', { name: 'Delete' }).click()
  await sees('without a script: a conversation is deleted', async () => [new URL(page.url()).pathname, await page.locator('tbody tr').count()], ['/_local/page/conversations', 0])
  check('without a script: nothing else happened', told.length === 0, told)
  await context.close()
}
await server.stop()
await scenario()

// With a key.
{
  const key = 'k&y + more'
  const server = await start(program, { key })
  const { context, page, told } = await open({}, server.url)
  await accessible(page, 'login')
  await page.getByLabel('Key', { exact: true }).fill('wrong')
  await page.keyboard.press('Enter')
  await sees('a wrong key is told', () => page.getByRole('alert').innerText(), 'The key is wrong.')
  await page.getByLabel('Key', { exact: true }).fill(key)
  await page.keyboard.press('Enter')
  await sees('the key lets in', async () => [new URL(page.url()).pathname, await page.getByRole('heading', { level: 1 }).innerText()], ['/_local/', 'This server'])
  await page.getByRole('link', { name: 'Requests', exact: true }).click()
  await sees('… and to what comes by itself', () => page.locator('#status').innerText(), 'Live')
  check('with a key: nothing else happened', told.every(t => /status of 401/.test(t)), told)
  await context.close()
  await server.stop()
}
await browser.close()

// scenario is the README's: a client loses its connection while it is sent what
// was stored, which the page shows, and a test of it fails until it is mended.
async function scenario() {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
  const blocks = readme.split(/^```/m)
  const js = begin => blocks.findLast(b => b.startsWith('js\n' + begin)).slice('js\n'.length)
  const folder = mkdtempSync(join(process.env.INTEROP_TEMP, 'scenario-'))
  symlinkSync(join(process.env.INTEROP_NODE, 'node_modules'), join(folder, 'node_modules'))
  const asWritten = js('// client.mjs')
  writeFileSync(join(folder, 'client.test.mjs'), js('// client.test.mjs'))

  const server = await start(program, {})
  const client = asWritten.replace('http://localhost:3000', server.url)
  check('scenario: the client is for the server of the README', client !== asWritten)
  writeFileSync(join(folder, 'client.mjs'), client)
  const { context, page, told } = await open({ deviceScaleFactor: 1 }, server.url)
  for (const content of ['one', 'two', 'three']) {
    await fetch(server.url + '/api/conversations/replayed/events', { method: 'POST', body: JSON.stringify(message(content)) })
  }
  const run = async (name, want) => {
    const child = spawn('node', ['client.mjs', 'replayed'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = []
    child.stdout.on('data', text => lines.push(...String(text).trim().split('\n')))
    await sees(name, async () => lines.slice(0, want.length), want)
    child.kill()
  }
  await run('scenario: the client is sent what was stored', ['0 one', '1 two', '2 three'])
  await page.getByRole('link', { name: 'Faults', exact: true }).click()
  await page.getByRole('button', { name: 'Add lost-in-replay' }).click()
  const shown = blocks.find(b => b.includes('\nlost: ')).trim().split('\n')
  await run('scenario: it loses its connection', shown)
  await sees('scenario: the page counts it', () => page.locator('#f-fault-1 td').nth(5).innerText(), '1')
  await page.getByRole('link', { name: 'Requests', exact: true }).click()
  await sees('scenario: the page tells where', async () => [await page.getByText('event 1 fault fault-1').count(), await page.getByText('event 0').count()], [1, 4])
  if (picture) {
    await page.goto(server.url + '/_local/page/requests?conversation=replayed')
    await page.setViewportSize({ width: 1080, height: 640 })
    await page.waitForFunction(() => document.getElementById('status').textContent === 'Live')
    await page.screenshot({ path: picture })
  }
  check('scenario: nothing else happened', told.length === 0, told)
  await context.close()
  await server.stop()

  const test = () => promisify(execFile)(program, ['exec', '--', 'node', '--test'], { cwd: folder }).then(() => 0, e => e.code)
  check('scenario: the test fails', await test() === 1)
  const mended = client.replace(/^  socket\.on\('oh_event'.*\n/m, js("  socket.on('oh_event'"))
  writeFileSync(join(folder, 'client.mjs'), mended)
  check('scenario: … until the client is mended', mended !== client && await test() === 0)
}
