/** The forecasts that can be laid over each other, and what tells them apart without their colour. */

import { state } from "./state.js";

/** Column of the median forecast; those of its ranges begin with it. */
export const ALIAS = "ExpLSTM";

/** Levels of the ranges that can be chosen, in per cent; a job makes all of them. */
export const LEVELS = [50, 80, 95];

/**
 * In their order: name, name of the framework, variable of its colour, dash and markers of its line,
 * and hatch of its ranges, which are plain for the pretrained model. Open squares around points: both
 * are seen where the frameworks agree, as they should.
 */
export const METHODS = {
  pretrained: { name: "Forecast", color: "--chart-1", dash: "solid" },
  torch: { name: "Fine-tuned, PyTorch", framework: "PyTorch", color: "--chart-2", dash: "dash",
    marker: { symbol: "square-open", size: 9 }, hatch: "/" },
  tensorflow: { name: "Fine-tuned, TensorFlow", framework: "TensorFlow", color: "--chart-3", dash: "dot",
    marker: { symbol: "circle", size: 4 }, hatch: "\\" },
};

/** Columns of a method's forecast of the series shown. */
export const columnsOf = (method) =>
  method === "pretrained" ? state.shown.forecast : state.tuned.get(method).shown;

/** Whether the ranges of a method are drawn. */
export const hasRanges = (method) => method === "pretrained" || state.tuned.get(method).ranges;

/** Fine-tuned methods whose forecast is here. */
export const tunedMethods = () => [...state.tuned].filter(([, tuned]) => tuned.shown).map(([method]) => method);

/** What the chart shows, in the order of the methods. */
export const visibleMethods = () =>
  Object.keys(METHODS).filter((method) => method === "pretrained" || (state.tuned.get(method)?.visible && state.tuned.get(method).shown));

/** Chosen levels that a forecast has, rising. */
export const levelsOf = (columns) =>
  [...state.level].sort((a, b) => a - b).filter((level) => columns[`${ALIAS}-lo-${level}`]);
