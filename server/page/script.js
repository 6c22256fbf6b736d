// What the pages do by themselves: rows that come, keys, copying. All of them
// are read and used without it.

const most = 200 // rows of a list, and of those that wait to be shown
const status = document.getElementById('status')
let paused = false

// say tells everybody, also who does not see, and not more often than they can hear.
let said = 0
let saying = ''
function say(text) {
  saying = text
  const wait = said + 2000 - Date.now()
  if (wait > 0) return setTimeout(() => saying === text && say(text), wait)
  said = Date.now()
  status.textContent = text
}

// follow shows what a stream sends: HTML that the server has made, escaped. A row
// takes the place of the one with its id, or comes first.
function follow(list) {
  let waiting = []
  let frame = 0
  let came = 0
  const show = () => {
    frame = 0
    if (paused) return
    const few = waiting.length < 20
    for (const row of waiting) {
      const old = row.id && document.getElementById(row.id)
      if (!old) {
        row.classList.toggle('fresh', few)
        list.prepend(row)
        came++
      } else {
        const inside = old.contains(document.activeElement)
        old.replaceWith(row)
        if (inside) row.querySelector('a, button')?.focus()
      }
    }
    waiting = []
    while (list.children.length > most) list.lastElementChild.remove()
    if (came > 0) say(`${came} new`)
  }
  const soon = () => { frame ||= requestAnimationFrame(show) }
  const source = new EventSource(list.dataset.stream)
  source.onmessage = message => {
    const part = document.createElement('template')
    part.innerHTML = message.data
    waiting = waiting.concat([...part.content.children]).slice(-most)
    soon()
  }
  source.addEventListener('gone', message => {
    waiting = waiting.filter(row => row.id !== message.data)
    document.getElementById(message.data)?.remove()
  })
  source.onopen = () => say('Live')
  source.onerror = () => say(source.readyState === EventSource.CLOSED ? 'Not live any more: reload the page' : 'The server is gone: waiting for it')
  addEventListener('pagehide', () => source.close())
  addEventListener('pageshow', event => event.persisted && location.reload())
  addEventListener('resumed', soon)
}
const lists = document.querySelectorAll('[data-stream]')
lists.forEach(follow)

const pauses = document.getElementById('pause')
pauses.hidden = lists.length === 0
pauses.onclick = pause
function pause() {
  paused = !paused
  pauses.textContent = paused ? 'Go on' : 'Pause'
  if (!paused) dispatchEvent(new Event('resumed'))
  say(paused ? 'Paused' : 'Live')
}

const help = document.getElementById('help')
help.hidden = false
help.onclick = () => document.getElementById('keys').showModal()

for (const button of document.querySelectorAll('[data-copy]')) {
  button.hidden = false
  button.onclick = async () => {
    const text = document.getElementById(button.dataset.copy)
    try {
      await navigator.clipboard.writeText(text.textContent)
      say('Copied')
    } catch { // an address that browsers do not trust
      getSelection().selectAllChildren(text)
      say('Selected: copy it')
    }
  }
}

const links = () => [...document.querySelectorAll('main tbody a')].filter((a, i, all) => i === 0 || a.closest('tr') !== all[i - 1].closest('tr'))

function move(step) {
  const all = links()
  const now = all.findIndex(a => a.closest('tr').contains(document.activeElement))
  all[Math.min(Math.max(now < 0 && step < 0 ? 0 : now + step, 0), all.length - 1)]?.focus()
}

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog')) return
  const inRow = event.target.closest('main tbody tr')
  const key = { '/': () => document.querySelector('[data-filter], main input:not([type=hidden]), main textarea')?.focus(),
    '?': help.onclick, p: lists.length > 0 && pause, j: () => move(1), k: () => move(-1),
    ArrowDown: inRow && (() => move(1)), ArrowUp: inRow && (() => move(-1)) }[event.key]
  if (!key) return
  event.preventDefault()
  key()
})
