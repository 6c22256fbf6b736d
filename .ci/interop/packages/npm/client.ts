// A client of OpenHands, as its users write them: it tries again when the server is busy.

interface Event {
  action?: string
  message?: string
}

export class Client {
  constructor(readonly url: string) {}

  async create(): Promise<string> {
    return (await this.#call('POST', '/api/conversations', {})).conversation_id
  }

  async say(conversation: string, content: string): Promise<void> {
    await this.#call('POST', `/api/conversations/${conversation}/events`, { action: 'message', args: { content } })
  }

  async messages(conversation: string): Promise<(string | undefined)[]> {
    const { events } = await this.#call('GET', `/api/conversations/${conversation}/events?limit=100`)
    return events.filter((event: Event) => event.action === 'message').map((event: Event) => event.message)
  }

  async conversations(): Promise<number> {
    return (await this.#call('GET', '/api/conversations')).results.length
  }

  async #call(method: string, path: string, body?: unknown, tries = 3): Promise<any> {
    const answer = await fetch(this.url + path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    if (answer.status === 503 && tries > 1) return this.#call(method, path, body, tries - 1)
    if (!answer.ok) throw new Error(`${method} ${path} answers ${answer.status}`)
    return answer.json()
  }
}
