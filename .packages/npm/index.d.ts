/** The value of a flag: true for one that takes none, a list for one that is repeated. */
export type Flag = string | number | boolean | readonly string[] | undefined

/**
 * Flags of `openhands-local serve --help`, in camel case: `{ strict: true, logRequests: true }`. `key` is what clients
 * have to show.
 */
export interface Flags {
  key?: string
  [flag: string]: Flag
}

/** An event as the API tells it. */
export interface Event {
  id: number
  timestamp: string
  source?: string
  message?: string
  action?: string
  observation?: string
  args?: any
  content?: string
  extras?: any
  [field: string]: unknown
}

/** One half of a Request. */
export interface Message {
  headers?: Record<string, string[]>
  /** The first 32 KiB. */
  body?: string
  /** "base64" where the body is no UTF-8. */
  encoding?: string
  bytes: number
  cut?: boolean
  /** It holds keys. */
  withheld?: boolean
}

/** A request or message of a socket, and what became of it: an entry of /_local/requests. */
export interface Request {
  seq: number
  id: string
  connection?: string
  start: string
  ms: number
  transport: string
  /** A message of the server's. */
  sent?: boolean
  method: string
  world?: string
  path: string
  query?: string
  /** Of contract; none is OpenHands 0.53.0's. */
  line?: string
  operation?: string
  conversation?: string
  status?: number
  /** -1 for none. */
  event_id: number
  lenient?: string[]
  refusal?: { loc?: string, msg?: string, error?: string }
  /** What a request for an unknown path probably meant. */
  hint?: string
  fault?: string
  waits?: string
  request: Message
  response: Message
  /** Where the answer was recorded. */
  evidence?: any
  /** What replaces the call in later contracts. */
  successor?: any
}

/** Which requests are meant. */
export interface Query {
  operation?: string
  conversation?: string
  /** 422, or "4xx". */
  status?: string | number
  method?: string
  /** With * at its end what begins so. */
  path?: string
  /** Those with a larger seq. */
  after?: number
}

/** A rule of POST /_local/faults. */
export interface Fault {
  name?: string
  match?: Record<string, unknown>
  do?: Record<string, unknown>
  times?: number
  preset?: string
}

export interface Server {
  /** The base of all paths, without a slash at the end. */
  readonly url: string
  /** Sends a request with a JSON body, and returns the answer's. A refusal throws, with status and body. */
  call(method: string, path: string, body?: unknown, options?: { timeout?: number }): Promise<any>
  /** Begins anew: no conversations, settings, clock and faults as at the start, no requests. */
  reset(): Promise<void>
  /** A server of its own within this one, made by its first request: for tests that run at once. */
  world(name: string): Server
  /**
   * Returns a conversation's first event, from `start` on, that has all fields, or that a function agrees to. Of a
   * field that is an object, what is named has to be in it. It throws after `timeout` milliseconds, with what came
   * instead.
   */
  waitForEvent(
    conversation: string,
    match: Record<string, unknown> | ((event: Event) => boolean),
    options?: { timeout?: number, start?: number },
  ): Promise<Event>
  /** What was asked: the latest requests, and messages of sockets both ways. */
  readonly requests: {
    /** Returns those that match, in their order. */
    find(query?: Query): Promise<Request[]>
    /** Returns those that match once there are `min` of them; throws what came instead after `timeout` milliseconds. */
    wait(query?: Query, options?: { min?: number, timeout?: number }): Promise<Request[]>
    /** Forgets them. */
    clear(): Promise<void>
  }
  /** What goes wrong on purpose. */
  readonly faults: {
    /** Adds rules, all or none. */
    add(...rules: Fault[]): Promise<void>
    /** Adds rules by name: those of GET /_local/faults/presets. */
    preset(...names: string[]): Promise<void>
    /** Returns all rules, with how often each was offered and used. */
    all(): Promise<(Fault & { name: string, offered: number, used: number })[]>
    /** Returns how often a rule was used. */
    used(name: string): Promise<number>
    /** Takes all out. */
    clear(): Promise<void>
  }
  /** What the times of events, the pace of agents and all that waits go by. */
  readonly clock: {
    /** Returns its time. */
    now(): Promise<Date>
    /** Stops it: nothing comes due any more. */
    freeze(): Promise<void>
    /** Lets it go on from there. */
    resume(): Promise<void>
    /** Moves it on, by "1h30m" or by milliseconds: what is due in this time has happened when it is done. */
    advance(by: string | number): Promise<void>
    /** Sets it: to a later time is an advance. */
    set(to: string | Date): Promise<void>
    /** Makes it what it was at the start. */
    reset(): Promise<void>
  }
}

/** A server that startServer started. */
export interface StartedServer extends Server {
  /** Ends it, as the end of this process does, however that comes. */
  stop(): Promise<void>
}

/**
 * Starts a server: in memory and on a free port, unless flags say otherwise. What is set in the environment for other
 * servers (OPENHANDS_LOCAL_…, SESSION_API_KEY) does not count. The log goes to standard error.
 */
export function startServer(flags?: Flags): Promise<StartedServer>

/** A server that runs already. */
export function connect(url: string, options?: { key?: string }): Server

/** The path of the program. */
export function program(): string
