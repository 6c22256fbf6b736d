// What a user does in the web UI, against the program:
//
//   node webui.mjs PROGRAM FRONTEND BROWSER [PICTURE]
//
// After each thing the page must be as wanted, and nothing else may have
// happened: no toast but the wanted ones, no failed request, no error on the
// console, no request to another host. Packages are looked for in the folder
// INTEROP_NODE, since nothing is installed into the checkout.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import { check, start, until } from '../interop/program.mjs'

const { chromium } = createRequire(process.env.INTEROP_NODE + '/')('playwright-core')

const [program, frontend, executablePath, picture] = process.argv.slice(2)
const scripts = join(import.meta.dirname, '../../server/agent/scripts')

// The build has a page without content that React finds to differ from what
// it makes of it: on every load, whoever serves it.
const ofTheBuild = /Minified React error #418;/

// A Tab is a page of its own browser context, and what has happened there.
class Tab {
  events = []
  pending = new Set() // requests without an answer

  static async open(browser, server, name) {
    const tab = new Tab()
    const context = await browser.newContext({ viewport: { width: 1280, height: 940 }, locale: 'en-US' })
    const page = await context.newPage()
    page.setDefaultTimeout(30_000)
    const { host } = new URL(server.url)
    const tell = text => tab.events.push(text)
    const local = url => { if (/^(http|ws)/.test(url) && new URL(url).host !== host) tell(`request to another host: ${url}`) }
    page.on('console', m => { if (m.type() === 'error') tell(`console: ${m.text()}`) })
    page.on('pageerror', e => { if (!ofTheBuild.test(e.message)) tell(`exception: ${e.message}`) })
    page.on('request', r => {
      local(r.url())
      tab.pending.add(r)
    })
    page.on('requestfinished', r => tab.pending.delete(r))
    page.on('requestfailed', r => {
      tab.pending.delete(r)
      tell(`failed: ${r.method()} ${r.url()}: ${r.failure().errorText}`)
    })
    page.on('response', r => { if (r.status() >= 400) tell(`${r.status()}: ${r.request().method()} ${r.url()}`) })
    page.on('websocket', w => {
      local(w.url())
      w.on('socketerror', e => tell(`socket: ${e}`))
    })
    await page.exposeFunction('tellToast', text => tell(`toast: ${text}`))
    await page.addInitScript(() => new MutationObserver(records => {
      for (const added of records.flatMap(r => [...r.addedNodes])) {
        if (added.nodeType !== Node.ELEMENT_NODE) continue
        for (const toast of [added, ...added.querySelectorAll('*')].filter(e => e.role === 'status')) window.tellToast(toast.textContent)
      }
    }).observe(document, { childList: true, subtree: true }))
    return Object.assign(tab, { context, page, name, server })
  }

  // does checks one thing that a user does: want is what the page then shows,
  // as see reads it, once every request is answered; events is what happens
  // besides.
  async does(what, action, see = () => true, want = true, events = []) {
    let seen
    try {
      await action()
      await until(async () => isDeepStrictEqual(seen = await see(), want) && this.events.length >= events.length && this.pending.size === 0)
    } catch (e) {
      seen = e.message
    }
    const happened = this.events.splice(0)
    const holds = isDeepStrictEqual(seen, want) && isDeepStrictEqual(happened, events) && this.pending.size === 0
    check(`${this.name}: ${what}`, holds, { seen, want, happened, events, pending: [...this.pending].map(r => r.url()) })
    if (holds) return
    const file = join(process.env.INTEROP_FAILED, 'webui-failed.png')
    await this.page.screenshot({ path: file })
    console.log(`the page as it was: ${file}`)
    console.log(this.server.log())
    process.exit(1) // the rest follows from this
  }

  // messages is what the chat shows, one line each.
  messages = async () => (await this.page.locator('.fast-smooth-scroll').first().innerText()).split('\n').map(l => l.trim()).filter(Boolean)

  state = () => this.page.getByText(/^Agent (is|has|encountered)/).last().innerText()

  at = () => new URL(this.page.url()).pathname

  // begins opens the home page by a path and starts a conversation.
  async begins(path) {
    const { page } = this
    await this.does('opens', () => page.goto(this.server.url + path),
      async () => [this.at(), await page.getByTestId('home-screen').isVisible(), await page.getByRole('dialog').count()], ['/', true, 0])
    await this.does('starts a conversation', () => page.getByTestId('header-launch-button').click(),
      async () => [this.at().startsWith('/conversations/'), await this.state(), await page.getByTestId('RUNNING-indicator').count()],
      [true, waiting, 1])
  }

  async say(text) {
    await this.page.getByTestId('chat-input').locator('textarea').fill(text)
    await this.page.keyboard.press('Enter')
  }

  // card is the only conversation in the panel at the left.
  card = () => this.page.getByTestId('conversation-panel').getByTestId('conversation-card')

  async menu(item) {
    await this.card().getByTestId('ellipsis-button').click()
    await this.page.getByTestId(item).click()
  }
}

const waiting = 'Agent is awaiting user input...'
const fix = 'fix the greeting in main.go'
const fixed = [fix, 'Microagent ready', 'I look at what is there.', 'Ran ls', 'The greeting in main.go has a typo.', 'Edited main.go',
  'Now the tests.', 'Ran go test ./...', `Done as you said (fix): main.go greets with hello, and the tests pass. Anything else?`]
const asked = ['remove main.go', 'Running rm main.go']

// repository is a folder with changes that are not committed.
function repository() {
  const folder = mkdtempSync(join(process.env.INTEROP_TEMP, 'repository-'))
  const git = (...args) => execFileSync('git', ['-C', folder, '-c', 'user.name=interop', '-c', 'user.email=interop@localhost', ...args])
  git('init', '--quiet')
  git('commit', '--quiet', '--allow-empty', '--message', 'begin')
  for (const name of ['README.md', 'main.go', 'main_test.go']) writeFileSync(join(folder, name), name)
  return folder
}

// session is a conversation from its begin to its end.
async function session(browser, name, key) {
  const server = await start(program, { key, flags: ['--frontend', frontend, '--workspace', repository(), '--agent', `script:${scripts}/session.yaml`] })
  const tab = await Tab.open(browser, server, name)
  const { page, at } = tab
  const indicators = () => page.getByTestId('conversation-panel').locator('[data-testid$=-indicator]').evaluateAll(all => all.map(e => e.dataset.testid))

  await tab.begins(key ? `/_local/login?key=${encodeURIComponent(key)}` : '/')
  const conversation = at()
  await tab.does('sees the answer', () => tab.say(fix), tab.messages, fixed)
  await tab.does('sees that the agent waits', () => {}, tab.state, waiting)
  await tab.does('sees the changed files', () => {},
    async () => (await page.locator('main').innerText()).split('\n').filter(l => /^\w+\.(md|go)$/.test(l)), ['README.md', 'main.go', 'main_test.go'])
  if (picture && !key) {
    await page.getByText('Edited').locator('..').getByRole('button').click()
    await page.getByTestId('chat-input').locator('textarea').blur()
    await page.mouse.move(0, 0)
    await page.screenshot({ path: picture })
  }
  await tab.does('sees all of it once after a reload', () => page.reload(), tab.messages, fixed)
  await tab.does('opens the list', () => page.getByTestId('toggle-conversation-panel').click(), indicators, ['RUNNING-indicator'])
  await tab.does('renames', async () => {
    await tab.menu('edit-button')
    await tab.card().locator('input').fill('The greeting')
    await page.keyboard.press('Enter')
  }, () => page.getByTestId('conversation-card-title').allInnerTexts(), ['The greeting', 'The greeting'], ['toast: Conversation title updated successfully'])
  await tab.does('stops', async () => {
    await tab.menu('stop-button')
    await page.getByRole('button', { name: 'Confirm action' }).click()
  }, async () => [at(), await indicators()], ['/', ['STOPPED-indicator']])
  await tab.does('reopens', () => tab.card().click(),
    async () => [at(), await tab.messages(), await page.getByTestId('RUNNING-indicator').count()], [conversation, fixed, 1])
  await tab.does('is asked', () => tab.say(asked[0]), tab.messages, [...fixed, ...asked, 'Do you want to continue with this action?'])
  await tab.does('confirms', () => page.getByTestId('action-confirm-button').click(), tab.messages, [...fixed, asked[0], 'Ran rm main.go', 'main.go is gone.'])
  await tab.does('deletes', async () => {
    await page.getByTestId('toggle-conversation-panel').click()
    await tab.menu('delete-button')
    await page.getByRole('button', { name: 'Confirm action' }).click()
  }, async () => [at(), await tab.card().count()], ['/', 0])
  await tab.context.close()
  await server.stop()
}

// failures is a conversation in which things go wrong. The page tells so, and
// goes on.
async function failures(browser) {
  const server = await start(program, { flags: ['--frontend', frontend, '--agent', `script:${scripts}/failures.yaml`] })
  const tab = await Tab.open(browser, server, 'failures')
  await tab.begins('/')
  await tab.does('sees that a task was rejected', () => tab.say('run the tests'), tab.state, 'Agent has rejected the task.')
  await tab.does('sees why a model fails', () => tab.say('hello'),
    () => tab.page.getByText('AuthenticationError: the model refuses the key').count(), 1)
  await tab.does('still has it all', () => {}, tab.messages,
    ['run the tests', 'Microagent ready', 'I run the tests.', 'Ran go test ./...', 'Agent encountered an error.', 'REJECT', 'hello'])
  await tab.context.close()
  await server.stop()
}

const browser = await chromium.launch({ executablePath })
await session(browser, 'session', '')
await session(browser, 'session with a key', 'k&y + more')
await failures(browser)
await browser.close()
