/**
 * Everything that is asked of the server. Contract: an answer that is no success becomes a
 * {@link Failure}; a token that the server asks for is asked of the user once and kept in this tab.
 */

const BASE = "/api/v1";
const TOKEN = "explstm-token";

/** What the server said instead of an answer: one sentence, and the upload where columns may help. */
export class Failure extends Error {
  /**
   * @param {string} message One sentence for people.
   * @param {{code?: string, status?: number, upload?: object|null}} facts What programs need.
   */
  constructor(message, { code = "UNKNOWN", status = 0, upload = null } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.upload = upload;
  }
}

/** Asks the user for the token; set by {@link onTokenNeeded}. */
let askToken = async () => null;

/** @param {(wrong: boolean) => Promise<string|null>} ask How to ask for it, after a wrong one or not. */
export function onTokenNeeded(ask) {
  askToken = ask;
}

/**
 * One request, repeated with a token where the server asks for one.
 *
 * @param {string} path Below /api/v1.
 * @param {RequestInit} options As for fetch.
 * @returns {Promise<Response>} A success.
 */
export async function request(path, options = {}) {
  let response = await attempt(path, options);
  while (response.status === 401) {
    const wrong = Boolean(sessionStorage.getItem(TOKEN));
    const token = await askToken(wrong);
    if (!token) break;
    sessionStorage.setItem(TOKEN, token);
    response = await attempt(path, options);
  }
  if (response.status === 429) sessionStorage.removeItem(TOKEN);
  if (!response.ok) throw await readFailure(response);
  return response;
}

async function attempt(path, options) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  try {
    return await fetch(BASE + path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server does not answer. Is it still running?", { code: "NO_ANSWER" });
  }
}

async function readFailure(response) {
  const status = response.status;
  const body = await response.json().catch(() => null);
  const seconds = response.headers.get("Retry-After");
  if (body?.error?.code === "TOKENS_WRONG") {
    const wait = seconds ? `${seconds} seconds` : "a minute";
    return new Failure(`Too many wrong tokens came from here. Wait ${wait}, then load this page again and give the right one.`, { code: body.error.code, status });
  }
  const message = body?.error?.message ?? `The server answered with the status ${status}.`;
  return new Failure(sentence(message), { code: body?.error?.code, status, upload: body?.upload });
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const getJson = async (path, options) => (await request(path, options)).json();

/** POST of JSON. */
function post(path, body, { accept = "application/json", signal } = {}) {
  const headers = { "Content-Type": "application/json", Accept: accept };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

const postJson = async (path, body, options) => (await post(path, body, options)).json();

export const readLimits = () => getJson("/limits");
export const listSamples = () => getJson("/samples");

/** @param {object} wanted An InspectRequest: data or sample, and the columns. */
export const inspect = (wanted) => postJson("/inspect", wanted);

/** @param {File} file A file to look at; the server keeps it for a while. */
export function inspectFile(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return getJson("/inspect", { method: "POST", body: form });
}

/** Some of the series of an upload. @param {string} data Its id. @param {object} query What for. */
export function listSeries(data, query, signal) {
  return getJson(`/data/${encodeURIComponent(data)}/series?${new URLSearchParams(query)}`, { signal });
}

export const forecast = (wanted, signal) => postJson("/forecast", wanted, { signal });
export const measureGrowth = (wanted, signal) => postJson("/growth", wanted, { signal });
export const backtest = (wanted, signal) => postJson("/backtest", wanted, { signal });

/** The forecast as a file. @returns {Promise<Blob>} */
export async function forecastFile(wanted, type) {
  return (await post("/forecast", wanted, { accept: type })).blob();
}

const job = (id) => `/jobs/${encodeURIComponent(id)}`;

export const createJob = (wanted) => postJson("/jobs", wanted);
export const listJobs = () => getJson("/jobs");
export const readJob = (id) => getJson(job(id));
export const cancelJob = (id) => request(`${job(id)}/cancel`, { method: "POST" });
export const deleteJob = (id) => request(job(id), { method: "DELETE" });
export const resumeJob = (id) => getJson(`${job(id)}/resume`, { method: "POST" });
/** What came of a job, with the forecast of one series. */
export const readResult = (id, series) => getJson(`${job(id)}/result?${new URLSearchParams({ series })}`);
export const jobEvents = (id) => `${job(id)}/events`;

/** A file that a job left. @returns {Promise<Blob>} */
export async function readJobFile(id, name) {
  return (await request(`${job(id)}/files/${encodeURIComponent(name)}`)).blob();
}
