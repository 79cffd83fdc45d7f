/**
 * Server-sent events over fetch, because EventSource cannot send a token. Contract: events arrive
 * in order and once; a connection that breaks is taken up after the last event that arrived.
 *
 * Source of the format: WHATWG, HTML Living Standard, section 9.2.
 */

import { request } from "./api.js";

const WAIT = 1000;
const TRIES = 100;

/**
 * Follow a stream of events until the receiver has what it wants.
 *
 * @param {string} path Below /api/v1.
 * @param {(name: string, data: any) => boolean} receive Takes each event; true ends the stream.
 * @param {AbortSignal} signal Ends it too.
 */
export async function follow(path, receive, signal) {
  let last = "";
  for (let failed = 0; failed < TRIES && !signal.aborted; failed += 1) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const response = await request(path, { headers, signal });
      for await (const event of readEvents(response.body)) {
        last = event.id || last;
        failed = 0;
        if (receive(event.name, JSON.parse(event.data))) return;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error.status >= 400 && error.status < 500)) throw error;
    }
    await new Promise((done) => setTimeout(done, WAIT * Math.min(failed + 1, 5)));
  }
  if (!signal.aborted) throw new Error("The server stopped telling how far it is.");
}

/** The events of a body, as they come. */
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (text + value).replace(/\r\n?/g, "\n").split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const event = parseEvent(part);
        if (event.data) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parseEvent(part) {
  const event = { id: "", name: "message", data: "" };
  for (const line of part.split("\n")) {
    const [, field, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
    if (field === "data") event.data += (event.data && "\n") + value;
    if (field === "event") event.name = value;
    if (field === "id") event.id = value;
  }
  return event;
}
