/**
 * What the page knows. Contract: one object; every part reads it, and only app.js and the part that
 * owns a field write to it.
 */

export const state = {
  /** @type {object|null} The Inspection of the data shown. */
  data: null,
  /** How the data are read: columns and missing steps, as every request repeats them. */
  reading: {},
  /** @type {string|null} Id of the series shown. */
  series: null,
  h: 12,
  /** @type {number[]} Coverage of the ranges, in per cent. */
  level: [80, 95],
  /** @type {number|null} Null takes it from the frequency. */
  season: null,
  scale: "linear",
  /** @type {{history: object, forecast: object}|null} Columns of the series shown. */
  shown: null,
  /**
   * Fine-tuned, by framework; shown are the columns of the series shown.
   *
   * @type {Map<string, {job: string, series?: string, shown?: object, sentences?: string[],
   *   steps: number|null, visible: boolean, ranges: boolean, verdicts: object[]|null, card: object}>}
   */
  tuned: new Map(),
};

/** Which data, as every request says it. */
export function source() {
  return {
    data: state.data.data,
    ...state.reading,
    ...(state.season && { season_length: [state.season] }),
  };
}

/** The request for a forecast with the settings of the page. */
export const forecastRequest = () => ({ ...source(), h: state.h, level: state.level });

/** The rows of one series in a table of columns. */
export function rowsOf(columns, series) {
  const keep = columns.unique_id.flatMap((id, i) => (String(id) === series ? [i] : []));
  return Object.fromEntries(
    Object.entries(columns).map(([name, values]) => [name, keep.map((i) => values[i])]),
  );
}
