/**
 * Server-sent events over fetch, because EventSource cannot send a token. Contract: the events of
 * one connection, in order, until the server closes it.
 *
 * Source of the format: WHATWG, HTML Living Standard, section 9.2.
 */

import { request } from "./api.js";

/**
 * Listen to a stream.
 *
 * @param {string} path Below /api/v1.
 * @param {string} last Id of the last event that arrived; empty for all.
 * @param {AbortSignal} signal Ends it.
 * @yields {{id: string, name: string, data: any}}
 */
export async function* listen(path, last, signal) {
  const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
  const response = await request(path, { headers, signal });
  for await (const event of readEvents(response.body)) {
    yield { ...event, data: JSON.parse(event.data) };
  }
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
