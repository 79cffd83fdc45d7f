/**
 * The page from start to end: data in, then forecast, verdict and growth, then whatever is asked.
 *
 * Contract: one request of a kind is open at a time; what comes too late is dropped.
 */

import * as api from "./api.js";
import { canLog, clearChart, countUnloggable, drawChart } from "./chart.js";
import { askForColumns, showColumns, showFindings, wireColumns } from "./columns.js";
import { announce, find, setBusy, showProblem } from "./dom.js";
import { showEarlier } from "./earlier.js";
import { awaitForecast, sayForecast, sayNoForecast } from "./forecast.js";
import { awaitGrowth, sayNoGrowth, showGrowth } from "./growth.js";
import { forgetView, keepName, keepView, keptView } from "./keep.js";
import { showNumbers } from "./numbers.js";
import { showPicker, wirePicker } from "./picker.js";
import { readSettings, setHorizon, setScale, setSeason, takeSettings, wireSettings } from "./settings.js";
import { forecastRequest, rowsOf, state } from "./state.js";
import { wireTaking } from "./take.js";
import { askForToken } from "./token.js";
import { comeBack, forgetTuned, layOver, wireTuning } from "./tune.js";
import { sayAll } from "./tuned.js";
import { extent, showReading, showSamples, wireUpload } from "./upload.js";
import { awaitVerdict, planTest, sayNoVerdict, showVerdict } from "./verdict.js";
import { rhythm } from "./words.js";

const HISTORY = 5000;
/** After so many milliseconds a server that did not answer is asked again. */
const RETRY = 3000;
const TITLE = document.title;

let asked = new AbortController();
let judged = { key: "", asked: new AbortController() };
/** How many readings of data were begun: the last one counts. */
let readings = 0;

/** Load data and show them. */
async function open(load, name, h) {
  const own = (readings += 1);
  showProblem();
  showReading(true, name);
  try {
    const inspection = await load();
    if (own !== readings) return;
    Object.assign(state, { name, reading: {} });
    adopt(inspection, h);
  } catch (error) {
    if (own !== readings) return;
    if (error.upload) Object.assign(state, { name, reading: {} });
    refuse(error);
  } finally {
    if (own === readings) showReading(false);
  }
}

/** Take an Inspection as the data shown. */
function adopt(inspection, h) {
  leaveData();
  state.data = inspection;
  const { id_col: id, time_col: time, target_col: target } = inspection.choice;
  state.reading = {
    ...state.reading,
    ...(time && { time_col: time }),
    ...(target && { target_col: target }),
    ...(id ? { id_col: id } : { one_series: true }),
  };
  state.series = inspection.page.series[0].unique_id;
  setHorizon(h);
  forgetTuned();
  keepName(inspection, state.name);
  showData();
  find("columns").open = false;
  refresh();
  find("data-name").focus();
}

/** Show again what was shown before the page was loaded anew. */
async function takeUp(view) {
  showReading(true, view.name);
  try {
    Object.assign(state, { name: view.name, reading: view.reading });
    const inspection = await api.inspect({ data: view.data, ...view.reading });
    takeSettings(view);
    state.data = inspection;
    state.series = view.series;
    setSeason();
    showData();
    refresh();
  } catch (error) {
    forgetView();
    const gone = error.status === 404;
    showProblem(gone ? `This server no longer has the data of ${view.name}: it keeps them for a limited time, and not beyond its own end. Choose the file again.` : error.message);
  } finally {
    showReading(false);
  }
}

/** Say why data cannot be read and, where other columns may help, ask for them. */
function refuse(error) {
  if (!error.upload) return showProblem(error.message);
  leaveData();
  state.data = { ...error.upload, n_series: 0 };
  showData();
  askForColumns(error);
}

/** Take away whatever was said of the data before: none of it may stand under another name. */
function leaveData() {
  asked.abort();
  stopJudging();
  state.shown = null;
  clearChart();
  awaitForecast();
  awaitVerdict();
  awaitGrowth();
}

function stopJudging() {
  judged.asked.abort();
  judged.key = "";
}

function showData() {
  const read = Boolean(state.data.page);
  find("start").hidden = true;
  find("result").hidden = false;
  find("result").classList.toggle("unread", !read);
  find("data-name").textContent = state.name;
  document.title = `${state.name} – Exponential LSTM`;
  find("data-shape").textContent = read ? `${extent(state.data)}, ${rhythm(state.data.freq)}` : "";
  showColumns(state.data, state.reading);
  if (!read) return;
  showFindings(state.data);
  showPicker();
}

/** Read the data shown in another way. */
async function reopen(reading) {
  const own = (readings += 1);
  showProblem();
  const { data } = state.data;
  state.reading = reading;
  setBusy(find("columns-form"), true);
  try {
    const inspection = await api.inspect({ data, ...reading });
    if (own === readings) adopt(inspection, state.h);
  } catch (error) {
    if (own === readings) refuse(error);
  } finally {
    setBusy(find("columns-form"), false);
  }
}

function restart() {
  readings += 1;
  leaveData();
  Object.assign(state, { data: null, reading: {}, series: null });
  state.tuned.clear();
  forgetView();
  document.title = TITLE;
  showProblem();
  find("result").hidden = true;
  find("start").hidden = false;
  find("file").focus();
  showEarlier().catch((error) => showProblem(error.message));
}

/** Forecast anew with the settings, and all that follows from it. */
async function refresh() {
  if (!readSettings()) return;
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  keepView();
  setBusy(find("forecast"), true);
  awaitGrowth();
  if (JSON.stringify(planTest()) !== judged.key) {
    stopJudging();
    awaitVerdict();
  }
  try {
    const wanted = { ...forecastRequest(), series: [state.series], history: HISTORY };
    const answer = await api.forecast(wanted, signal);
    state.shown = {
      history: rowsOf(answer.history, state.series),
      forecast: rowsOf(answer.forecast, state.series),
    };
    showProblem();
    forgetTuned();
    await layOver();
    await redraw();
    comeBack();
    announce(`${find("forecast-title").textContent}: ${find("headline").textContent}.`);
    judge();
    showGrowth(signal);
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) fail(error, signal);
  } finally {
    if (!signal.aborted) setBusy(find("forecast"), false);
  }
}

/** Say that there is no forecast; once a server that is away is back, there is one. */
function fail(error, signal) {
  const away = error.code === "NO_ANSWER";
  stopJudging();
  state.shown = null;
  clearChart();
  sayNoForecast();
  sayNoVerdict();
  sayNoGrowth();
  showProblem(away ? `${error.message} This page goes on by itself when it answers again.` : error.message);
  if (away) setTimeout(() => signal.aborted || refresh(), RETRY);
}

/** Test on the past, unless that was done already. */
function judge() {
  const key = JSON.stringify(planTest());
  if (key === judged.key) return;
  judged.asked.abort();
  judged = { key, asked: new AbortController() };
  showVerdict(judged.asked.signal);
}

async function redraw() {
  if (!state.shown) return;
  sayForecast();
  showNumbers();
  sayAll();
  await drawScaled();
}

/** Draw on the scale chosen, and say what it cannot show. */
async function drawScaled() {
  if (!state.shown) return keepView();
  const refused = state.scale === "log" && !canLog();
  if (refused) setScale("linear");
  keepView();
  const lost = state.scale === "log" ? countUnloggable() : 0;
  const notes = { linear: "Equal steps are equal amounts.", log: "Equal steps are equal ratios: steady growth is a straight line." };
  const below = lost === 1 ? "1 value at or below zero" : `${lost} values at or below zero`;
  find("scale-note").textContent = refused
    ? "A log scale shows values above zero alone, and here are none: the scale stays linear."
    : lost ? `${notes.log} ${below} cannot be shown on it.` : notes[state.scale];
  await drawChart();
}

function choose(series) {
  state.series = series;
  refresh();
}

async function begin() {
  api.onTokenNeeded(askForToken);
  wireColumns(reopen);
  wirePicker(choose);
  wireSettings(refresh, drawScaled);
  wireTaking();
  find("restart").addEventListener("click", restart);
  document.addEventListener("themechange", drawChart);
  try {
    const limits = await api.readLimits();
    find("horizon").max = limits.max_horizon;
    wireUpload(open, limits);
    wireTuning(redraw, limits.backends);
    await showSamples(open);
    const view = keptView();
    // At once, not after: by then somebody may be at work on one of the earlier jobs.
    await Promise.all([view && takeUp(view), showEarlier()]);
  } catch (error) {
    showProblem(error.message);
  }
}

begin();
