// Reads recorded events with the types that openapi-typescript makes of the
// served contract: events.js FILE, which has one case a line.

import type { components } from "./openapi";

declare const process: { argv: string[] };
declare function require(name: "fs"): { readFileSync(path: string, encoding: "utf8"): string };

type Schemas = components["schemas"];
type Event = Schemas["Event"];

/** What is read is of its type. */
const text = (v: string) => assert(typeof v === "string", v);
const number = (v: number) => assert(typeof v === "number", v);
const truth = (v: boolean) => assert(typeof v === "boolean", v);
const object = (v: Record<string, unknown>) => assert(v !== null && typeof v === "object" && !Array.isArray(v), v);
const list = (v: unknown[]) => assert(Array.isArray(v), v);

function assert(holds: boolean, v: unknown) {
  if (!holds) throw new Error(`${JSON.stringify(v)} is of another type`);
}

/** Reads an event by its kind; whether the kind is known. */
function read(e: Event): boolean {
  number(e.id);
  assert(["agent", "user", "environment"].includes(e.source), e.source);
  return "action" in e ? readAction(e) : readObservation(e);
}

function readAction(e: Extract<Event, { action: string }>): boolean {
  switch (e.action) {
    case "null": break;
    case "run": text(e.args.command); truth(e.args.is_input); text(e.args.cwd ?? ""); number(e.args.security_risk ?? 0); break;
    case "run_ipython": text(e.args.code); truth(e.args.include_extra); break;
    case "browse": text(e.args.url); truth(e.args.return_axtree); break;
    case "browse_interactive": text(e.args.browser_actions); break;
    case "read": text(e.args.path); number(e.args.start); list(e.args.view_range ?? []); break;
    case "write": text(e.args.path); text(e.args.content); break;
    case "edit": text(e.args.path); text(e.args.new_str ?? ""); number(e.args.insert_line ?? 0); break;
    case "think": text(e.args.thought); break;
    case "finish": text(e.args.final_thought); object(e.args.outputs); break;
    case "reject": object(e.args.outputs); break;
    case "delegate": text(e.args.agent); object(e.args.inputs); break;
    case "recall": text(e.args.recall_type); text(e.args.query); break;
    case "change_agent_state": text(e.args.agent_state); break;
    case "message": text(e.args.content); list(e.args.image_urls ?? []); truth(e.args.wait_for_response); break;
    case "system": text(e.args.content); list(e.args.tools ?? []); text(e.args.openhands_version ?? ""); break;
    case "condensation": list(e.args.forgotten_event_ids ?? []); number(e.args.summary_offset ?? 0); break;
    case "condensation_request": break;
    case "call_tool_mcp": text(e.args.name); object(e.args.arguments); break;
    // @ts-expect-error: there is no such action
    case "mesage": break;
    default: {
      const other: Schemas["OtherAction"] = e; // nothing else is left
      text(other.action);
      return false;
    }
  }
  text(e.message);
  number(e.llm_metrics?.accumulated_token_usage.prompt_tokens ?? 0);
  text(e.tool_call_metadata?.function_name ?? "");
  return true;
}

function readObservation(e: Extract<Event, { observation: string }>): boolean {
  switch (e.observation) {
    case "null": break;
    case "run": text(e.extras.command); number(e.extras.metadata.exit_code); truth(e.extras.hidden); break;
    case "run_ipython": text(e.extras.code); break;
    case "browse": text(e.extras.url); list(e.extras.open_pages_urls); object(e.extras.dom_object ?? {}); break;
    case "read": text(e.extras.path); break;
    case "write": text(e.extras.path); break;
    case "edit": truth(e.extras.prev_exist); text(e.extras.diff ?? ""); break;
    case "delegate": object(e.extras.outputs); break;
    case "success": break;
    case "error": text(e.extras.error_id); break;
    case "agent_state_changed": text(e.extras.agent_state); text(e.extras.reason); break;
    case "user_rejected": break;
    case "condense": break;
    case "think": break;
    case "recall": list(e.extras.microagent_knowledge.map((k) => text(k.trigger))); object(e.extras.runtime_hosts); break;
    case "mcp": text(e.extras.name); object(e.extras.arguments); break;
    case "download": text(e.extras.file_path); break;
    // @ts-expect-error: there is no such observation
    case "agent_state_change": break;
    default: {
      const other: Schemas["OtherObservation"] = e;
      text(other.observation);
      return false;
    }
  }
  text(e.message);
  text(e.content);
  return true;
}

export const posted: Schemas["AddEventRequest"][] = [
  { action: "null" },
  { action: "message", args: { content: "Hi" } },
  { observation: "run", content: "README.md\n", extras: { command: "ls" } },
  // @ts-expect-error: a misspelt action
  { action: "mesage", args: { content: "Hi" } },
  // @ts-expect-error: a misspelt field
  { action: "message", args: { contents: "Hi" } },
  // @ts-expect-error: a field of another type
  { action: "run", args: { command: ["ls"] } },
  // @ts-expect-error: no source of events
  { action: "null", source: "somebody" },
];

/** What a socket is sent. */
export function told(m: Schemas["SocketMessage"]): string {
  if ("status_update" in m) return m.conversation_title ?? m.type;
  if ("error" in m) return m.message;
  return m.timestamp;
}

const known = new Map<string, number>();
for (const line of require("fs").readFileSync(process.argv[2]!, "utf8").split("\n").filter(Boolean)) {
  const recorded = JSON.parse(line) as { kind: string; schemas: string[]; event: Event };
  try {
    const kind = read(recorded.event) ? recorded.kind : "others";
    known.set(kind, (known.get(kind) ?? 0) + 1);
  } catch (error) { // upstream does not hold what is posted to its types
    if (recorded.schemas.length === 1) console.log(`FAIL ${recorded.kind} is read: ${error}`);
  }
}
for (const [kind, n] of known) console.log(`ok ${kind}: ${n} recorded are read by openapi.ts`);
