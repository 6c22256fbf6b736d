// Holds a document to AsyncAPI: asyncapi.mjs FILE, with what it refers to beside.

import { fromFile, Parser } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
for (const d of diagnostics.filter((d) => d.severity < 2)) console.log(`FAIL asyncapi.json ${d.path.join("/")}: ${d.message}`);
const messages = document?.allMessages().all().map((m) => m.name()) ?? [];
for (const name of ["oh_event", "oh_user_action", "oh_action", "connect_error"]) {
  console.log(messages.includes(name) ? `ok asyncapi.json describes ${name}` : `FAIL asyncapi.json does not describe ${name}`);
}
